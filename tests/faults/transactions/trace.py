"""Tells the story of a broken promise: what all clients did and saw of it, in the order of time."""

from collections.abc import Iterator, Sequence

from tests.faults.transactions.checker import Final, Violation
from tests.faults.transactions.history import Entry, History, Place

SHOWN = 5
"""Violations told in full; the first ones are the nearest to the cause."""
NEIGHBOURS = 3
"""Records of the log shown on each side of the place."""


def trace(history: History, final: Final, violations: Sequence[Violation]) -> str:
    """A readable account of ``violations``."""
    lines = [f"{len(violations)} promises broken:"]
    lines += [f"  {one.rule}: {one.text}" for one in violations[: 4 * SHOWN]]
    for violation in violations[:SHOWN]:
        lines += ["", f"{violation.rule}: {violation.text}", *_story(history, final, violation)]
    return "\n".join(lines)


def _story(history: History, final: Final, violation: Violation) -> Iterator[str]:
    start_ns = min([one.at_ns for one in history.intentions.values()], default=0)
    events = sorted(_events(history, violation))
    first, last = (events[0][0], events[-1][0]) if events else (0, 0)
    events += [(note.at_ns, note.who, note.text) for note in history.notes if first <= note.at_ns <= last]
    for at_ns, who, text in sorted(events):
        yield f"  {(at_ns - start_ns) / 1e9:9.3f} s  {who:<14} {text}"
    if violation.place is not None:
        yield f"  in the end, {violation.place}:"
        yield from _neighbours(final, violation.place, violation.offset)


def _events(history: History, violation: Violation) -> Iterator[tuple[int, str, str]]:
    for name in violation.transactions & history.intentions.keys():
        intention = history.intentions[name]
        where = ", ".join(f"{place} ({_short(entry)})" for place, entry in intention.records)
        offsets = f", commits {intention.offsets}" if intention.offsets else ""
        yield intention.at_ns, intention.client, f"begins {name}: {where}{offsets}"
        outcome = history.outcomes.get(name)
        if outcome is not None:
            word = "committed" if outcome.committed else "aborted"
            yield outcome.at_ns, intention.client, f"{word} {name}, acknowledged at {outcome.offsets}"
    for read in history.reads:
        for offset, entry in read.records:
            is_there = (read.place, offset) == (violation.place, violation.offset)
            if entry.transaction in violation.transactions or is_there:
                yield (
                    read.at_ns,
                    read.reader,
                    f"was shown {entry.transaction} {_short(entry)} at {read.place}@{offset}",
                )


def _short(entry: Entry) -> str:
    source = "" if entry.source is None else f" of {entry.source.partition}@{entry.source.offset}"
    return f"{entry.index + 1}/{entry.count}{source}"


def _neighbours(final: Final, place: Place, offset: int) -> Iterator[str]:
    records = final.log.get(place, [])
    before = [one for one in records if one[0] < offset][-NEIGHBOURS:]
    behind = [one for one in records if one[0] >= offset][: NEIGHBOURS + 1]
    for at, entry in [*before, *behind]:
        mark = ">" if at == offset else " "
        yield f"   {mark} {at}: {entry.transaction} {_short(entry)}"
    if offset >= 0 and all(at != offset for at, _ in behind):
        yield f"   > {offset}: nothing that a read_committed reader is shown"
