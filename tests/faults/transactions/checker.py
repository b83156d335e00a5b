"""Decides whether a broker kept its promises about transactions, given what its clients did and saw.

| rule | what it says |
|---|---|
| lost | every record of a transaction whose commit was answered is there, where its acknowledgement said |
| twice | no record is there twice |
| aborted | no record of a transaction whose abort was answered is ever shown |
| partial | a transaction nobody knows the end of is there with all of its records or with none |
| invented | nothing is there that nobody meant to write |
| order | offsets ascend, a producer's records are as it sent them, a zombie's never behind its successor's |
| taken back | what a reader was shown at an offset is what stays there |
| passed over | a reader that goes from one offset to a later one is shown all that is committed in between |
| offsets | each record before the group's committed offsets was copied once, and none behind them |
| early | the copy of a record that is not there was made: a copier read what was not committed |

The log is what a read_committed reader is shown from the first offset on, after all clients have ended.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.faults.transactions.history import Copied, Entry, History, Place

Log = Mapping[Place, list[tuple[int, Entry]]]


class Violation(NamedTuple):
    """One broken promise, and the transactions and the place that its trace is about."""

    rule: str
    text: str
    transactions: frozenset[str] = frozenset()
    place: Place | None = None
    offset: int = -1


@dataclass(frozen=True)
class Copy:
    """A group that copies ``source`` to ``target``, and its committed offsets at the end."""

    group: str
    source: str
    target: str
    committed: Mapping[int, int]


@dataclass(frozen=True)
class Final:
    """What is there when all is over."""

    log: Log
    copies: list[Copy] = field(default_factory=list)


def violations_of(history: History, final: Final) -> list[Violation]:
    """All broken promises; empty when the broker kept them."""
    return [
        *_lost(history, final.log),
        *_twice(final.log),
        *_aborted(history, final.log),
        *_partial(history, final.log),
        *_invented(history, final.log),
        *_order(history, final.log),
        *_taken_back(history, final.log),
        *_passed_over(history, final.log),
        *(violation for copy in final.copies for violation in _copies(copy, final.log)),
    ]


def _lost(history: History, log: Log) -> Iterator[Violation]:
    at = {(place, offset): entry for place, records in log.items() for offset, entry in records}
    there = set(at.values())
    for transaction, outcome in history.outcomes.items():
        if not outcome.committed:
            continue
        for place, entry in history.intentions[transaction].records:
            offset = outcome.offsets.get(entry.index, -1)
            about = (frozenset({transaction}), place, offset)
            if entry not in there:
                yield Violation("lost", f"{entry} of a committed transaction is not in {place}", *about)
            elif offset >= 0 and at.get((place, offset)) != entry:
                found = at.get((place, offset))
                text = f"{entry} was acknowledged at {place}@{offset}, where there is {found}"
                yield Violation("lost", text, *about)


def _twice(log: Log) -> Iterator[Violation]:
    for place, records in log.items():
        counts = Counter(entry for _, entry in records)
        for entry, count in counts.items():
            if count > 1:
                where = [offset for offset, one in records if one == entry]
                yield Violation(
                    "twice",
                    f"{entry} is in {place} at {where}",
                    frozenset({entry.transaction}),
                    place,
                    where[1],
                )


def _shown(history: History, log: Log) -> Iterator[tuple[str, Place, int, Entry]]:
    """Everything that a read_committed reader was shown at any time, and by whom."""
    for read in history.reads:
        for offset, entry in read.records:
            yield read.reader, read.place, offset, entry
    for place, records in log.items():
        for offset, entry in records:
            yield "the last reader", place, offset, entry


def _aborted(history: History, log: Log) -> Iterator[Violation]:
    aborted = {name for name, outcome in history.outcomes.items() if not outcome.committed}
    for reader, place, offset, entry in _shown(history, log):
        if entry.transaction in aborted:
            text = f"{entry} of an aborted transaction was shown to {reader} at {place}@{offset}"
            yield Violation("aborted", text, frozenset({entry.transaction}), place, offset)


def _partial(history: History, log: Log) -> Iterator[Violation]:
    there: dict[str, set[Entry]] = defaultdict(set)
    for records in log.values():
        for _, entry in records:
            there[entry.transaction].add(entry)
    for transaction, intention in history.intentions.items():
        if transaction in history.outcomes:
            continue  # `lost` and `aborted` say more
        missing = [entry for _, entry in intention.records if entry not in there[transaction]]
        if missing and there[transaction]:
            text = (
                f"{transaction} is there in part: {missing} of {len(intention.records)} records are missing"
            )
            yield Violation("partial", text, frozenset({transaction}))


def _invented(history: History, log: Log) -> Iterator[Violation]:
    meant = {
        (place, entry) for intention in history.intentions.values() for place, entry in intention.records
    }
    for reader, place, offset, entry in _shown(history, log):
        if (place, entry) not in meant:
            text = f"{entry} at {place}@{offset}, shown to {reader}, was never to be written there"
            yield Violation("invented", text, frozenset({entry.transaction}), place, offset)


def _order(history: History, log: Log) -> Iterator[Violation]:
    first_ns: dict[tuple[str, int], int] = {}
    for transaction, intention in history.intentions.items():
        one = Entry(transaction, 0, 0)
        known = first_ns.get((one.producer, one.life), intention.at_ns)
        first_ns[one.producer, one.life] = min(known, intention.at_ns)
    for place, records in log.items():
        before: dict[str, dict[int, Entry]] = defaultdict(dict)
        last = -1
        for offset, entry in records:
            if offset <= last:
                yield Violation("order", f"{place}@{offset} comes after {last}", frozenset(), place, offset)
            last = offset
            lives = before[entry.producer]
            for life, earlier in lives.items():
                if life == entry.life:
                    is_wrong = entry.order < earlier.order
                else:  # one that took over has fenced what had begun until then
                    began = history.intentions.get(entry.transaction)
                    is_wrong = (
                        life > entry.life and bool(began) and began.at_ns < first_ns[entry.producer, life]
                    )
                if is_wrong:
                    text = f"{entry} at {place}@{offset} comes after {earlier}"
                    about = frozenset({entry.transaction, earlier.transaction})
                    yield Violation("order", text, about, place, offset)
            lives[entry.life] = entry


def _taken_back(history: History, log: Log) -> Iterator[Violation]:
    at = {(place, offset): entry for place, records in log.items() for offset, entry in records}
    for read in history.reads:
        for offset, entry in read.records:
            found = at.get((read.place, offset))
            if found != entry:
                text = f"{read.reader} was shown {entry} at {read.place}@{offset}, where there is {found} now"
                yield Violation("taken back", text, frozenset({entry.transaction}), read.place, offset)


def _passed_over(history: History, log: Log) -> Iterator[Violation]:
    """Readers begin at the first offset and never seek."""
    seen: dict[tuple[str, Place], list[int]] = defaultdict(list)
    for read in history.reads:
        seen[read.reader, read.place] += [offset for offset, _ in read.records]
    for (reader, place), offsets in seen.items():
        for earlier, later in pairwise(offsets):
            if later <= earlier:
                text = f"{reader} was shown {place}@{later} after {earlier}"
                yield Violation("order", text, frozenset(), place, later)
        shown = set(offsets)
        for offset, entry in log.get(place, ()):
            if offset not in shown and offset < offsets[-1]:
                text = f"{reader} was shown {place}@{offsets[-1]}, but never {entry} at {offset}"
                yield Violation("passed over", text, frozenset({entry.transaction}), place, offset)


def _copies(copy: Copy, log: Log) -> Iterator[Violation]:
    made: dict[Copied, list[tuple[Place, int, Entry]]] = defaultdict(list)
    for place, records in log.items():
        if place.topic == copy.target:
            for offset, entry in records:
                assert entry.source is not None
                made[entry.source].append((place, offset, entry))
    sources = {place: dict(records) for place, records in log.items() if place.topic == copy.source}
    for place, records in sources.items():
        committed = copy.committed.get(place.partition, 0)
        for offset, entry in records.items():
            copies = made.get(Copied(place.partition, offset), [])
            about = frozenset({entry.transaction, *(one.transaction for *_, one in copies)})
            which = f"{entry} at {place}@{offset}"
            if offset < committed and not copies:
                text = f"{copy.group} committed {committed} but did not copy {which}"
                yield Violation("offsets", text, about, place, offset)
            elif offset >= committed and copies:
                text = f"{copy.group} copied {which} but committed only {committed}"
                yield Violation("offsets", text, about, place, offset)
            elif offset >= committed:
                text = f"{copy.group} stopped at {committed} before {which} and what is behind it"
                yield Violation("offsets", text, about, place, offset)
                break
            elif len(copies) > 1:
                where = [f"{at}@{position}" for at, position, _ in copies]
                yield Violation("offsets", f"{copy.group} copied {which} to {where}", about, place, offset)
    for source, copies in made.items():
        place = Place(copy.source, source.partition)
        if source.offset not in sources.get(place, {}):
            about = frozenset(one.transaction for *_, one in copies)
            text = f"{copy.group} copied {place}@{source.offset}, where nothing is"
            yield Violation("early", text, about, place, source.offset)
