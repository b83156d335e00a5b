"""The transaction checker sees the faults that it is there for: each is planted in a good history."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.transactions.checker import Copy, Final, violations_of
from tests.faults.transactions.history import (
    Copied,
    Entry,
    History,
    Intention,
    Outcome,
    Place,
    Read,
    Writer,
    load,
)
from tests.faults.transactions.trace import trace

IN, OUT = Place("input", 0), Place("output", 0)
Log = dict[Place, list[tuple[int, Entry]]]


class Story:
    """Five transactions of two producers, and a group that copied what is committed.

    ``a.0.1`` is committed, ``a.0.2`` aborted, ``a.0.3`` of unknown end and there, ``b.0.1`` of unknown
    end and not there, ``b.0.2`` committed. ``c.0.1`` and ``c.0.2`` copied ten records in all.
    """

    def __init__(self) -> None:
        self.history = History()
        self.log: Log = {IN: [], OUT: []}
        self.committed = {0: 18}
        self._next = {IN: 0, OUT: 0}
        self.write("a.0.1", IN, 3, committed=True)
        self.write("a.0.2", IN, 2, committed=False)
        self.write("b.0.1", IN, 2, committed=None, is_there=False)
        self.write("a.0.3", IN, 4, committed=None, is_there=True)
        self.write("b.0.2", IN, 3, committed=True)
        sources = [offset for offset, _ in self.log[IN]]
        self.write("c.0.1", OUT, 4, committed=True, sources=sources[:4])
        self.write("c.0.2", OUT, 6, committed=True, sources=sources[4:])
        for place, records in self.log.items():
            self.history.reads.append(Read(90, "reader.0", place, records[:5]))
            self.history.reads.append(Read(91, "reader.0", place, records[5:]))

    def write(
        self,
        transaction: str,
        place: Place,
        count: int,
        *,
        committed: bool | None,
        is_there: bool = True,
        sources: list[int] | None = None,
    ) -> None:
        entries = [
            Entry(transaction, index, count, Copied(0, sources[index]) if sources else None)
            for index in range(count)
        ]
        first = self._next[place]
        at = len(self.history.intentions) * 10
        records = [(place, entry) for entry in entries]
        self.history.intentions[transaction] = Intention(at, transaction[:3], records, {})
        offsets = {index: first + index for index in range(count)}
        if committed is not None:
            self.history.outcomes[transaction] = Outcome(at + 5, committed, offsets)
        if committed or (committed is None and is_there):
            self.log[place] += [(first + index, entry) for index, entry in enumerate(entries)]
        self._next[place] += count + 1  # the marker

    def rules(self) -> set[str]:
        return {violation.rule for violation in self.violations()}

    def violations(self) -> list:  # type: ignore[type-arg]
        return violations_of(self.history, self.final)

    @property
    def final(self) -> Final:
        return Final(self.log, [Copy("copiers", "input", "output", self.committed)])


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_good_history_passes(story: Story) -> None:
    assert story.violations() == []
    assert len(story.log[IN]) == 10


def lose_a_record(story: Story) -> None:
    del story.log[IN][1]
    story.history.reads.clear()


def lose_the_tail(story: Story) -> None:
    del story.log[IN][-3:]
    story.history.reads.clear()


def move_a_record(story: Story) -> None:
    story.log[OUT] = [(offset + 30, entry) for offset, entry in story.log[OUT]]
    story.history.reads.clear()


def double_a_record(story: Story) -> None:
    story.log[OUT].append((99, story.log[OUT][-1][1]))


def show_an_aborted_record_at_the_end(story: Story) -> None:
    story.log[IN].insert(3, (4, Entry("a.0.2", 0, 2)))
    story.history.reads.clear()


def show_an_aborted_record_for_a_moment(story: Story) -> None:
    story.history.reads.insert(0, Read(40, "reader.1", IN, [(4, Entry("a.0.2", 0, 2))]))


def commit_half_a_transaction(story: Story) -> None:
    story.log[IN] = [one for one in story.log[IN] if (one[1].transaction, one[1].index) != ("a.0.3", 2)]
    story.history.reads.clear()


def commit_half_of_one_that_ended_badly(story: Story) -> None:
    story.log[IN].insert(3, (7, Entry("b.0.1", 1, 2)))
    story.history.reads.clear()


def write_what_nobody_meant(story: Story) -> None:
    story.log[IN].append((50, Entry("x.0.1", 0, 1)))


def swap_two_transactions(story: Story) -> None:
    swapped = story.log[IN]
    swapped[0], swapped[6] = (swapped[0][0], swapped[6][1]), (swapped[6][0], swapped[0][1])
    story.history.reads.clear()


def let_offsets_run_back(story: Story) -> None:
    story.log[OUT][2], story.log[OUT][1] = story.log[OUT][1], story.log[OUT][2]
    story.history.reads.clear()


def take_back_what_was_shown(story: Story) -> None:
    story.history.reads.append(Read(95, "reader.1", OUT, [(77, Entry("c.0.2", 5, 6, Copied(0, 17)))]))


def pass_over_an_open_transaction(story: Story) -> None:
    """The last stable offset was not waited for: a reader goes on behind what is committed later."""
    story.history.reads[:] = [read for read in story.history.reads if read.place == OUT]
    records = [one for one in story.log[IN] if one[1].transaction != "a.0.3"]
    story.history.reads.append(Read(92, "reader.1", IN, records))


def let_a_zombie_write(story: Story) -> None:
    """What the first life of ``a`` had begun is committed behind the records of its second one."""
    story.write("a.1.1", IN, 1, committed=True, sources=None)
    story.log[IN].append((30, Entry("a.0.4", 0, 1)))
    story.history.intentions["a.0.4"] = Intention(45, "a.0", [(IN, Entry("a.0.4", 0, 1))], {})
    story.committed = {0: 31}
    for number, source in enumerate((story.log[IN][-2][0], 30)):
        story.write(f"c.0.{number + 3}", OUT, 1, committed=True, sources=[source])


def read_backwards(story: Story) -> None:
    story.history.reads.append(Read(99, "reader.0", IN, story.log[IN][:1]))


def commit_offsets_without_the_copies(story: Story) -> None:
    """The offsets of a transaction survive, its records do not."""
    story.log[OUT] = [one for one in story.log[OUT] if one[1].transaction != "c.0.1"]
    del story.history.outcomes["c.0.1"]
    story.history.reads.clear()


def commit_copies_without_the_offsets(story: Story) -> None:
    story.committed = {0: 5}


def copy_twice(story: Story) -> None:
    """A lost offset commit: the records are read, and copied, once more."""
    story.write("c.0.3", OUT, 2, committed=True, sources=[15, 16])
    story.history.reads.clear()


def skip_a_record(story: Story) -> None:
    story.log[OUT] = [one for one in story.log[OUT] if one[1].transaction != "c.0.2"]
    del story.history.intentions["c.0.2"], story.history.outcomes["c.0.2"]
    story.write("c.0.4", OUT, 5, committed=True, sources=[offset for offset, _ in story.log[IN]][5:])
    story.history.reads.clear()


def stop_too_early(story: Story) -> None:
    skip = {16, 17}
    story.log[OUT] = [one for one in story.log[OUT] if one[1].source and one[1].source.offset not in skip]
    del story.history.intentions["c.0.2"], story.history.outcomes["c.0.2"]
    story.history.intentions["c.0.2"] = Intention(
        60, "c.0", [(OUT, one) for _, one in story.log[OUT][4:]], {}
    )
    story.history.reads.clear()
    story.committed = {0: 16}


def copy_what_was_aborted(story: Story) -> None:
    story.write("c.0.3", OUT, 1, committed=True, sources=[4])
    story.history.reads.clear()


FAULTS: dict[Callable[[Story], None], set[str]] = {
    lose_a_record: {"lost", "early"},
    lose_the_tail: {"lost", "early"},
    move_a_record: {"lost"},
    double_a_record: {"twice", "offsets"},
    show_an_aborted_record_at_the_end: {"aborted", "offsets"},
    show_an_aborted_record_for_a_moment: {"aborted", "taken back", "passed over"},
    commit_half_a_transaction: {"partial", "early"},
    commit_half_of_one_that_ended_badly: {"partial", "offsets"},
    write_what_nobody_meant: {"invented", "offsets"},
    swap_two_transactions: {"order", "lost"},
    let_offsets_run_back: {"order"},
    take_back_what_was_shown: {"taken back", "passed over"},
    pass_over_an_open_transaction: {"passed over"},
    let_a_zombie_write: {"order"},
    read_backwards: {"order"},
    commit_offsets_without_the_copies: {"offsets"},
    commit_copies_without_the_offsets: {"offsets"},
    copy_twice: {"offsets"},
    skip_a_record: {"offsets"},
    stop_too_early: {"offsets"},
    copy_what_was_aborted: {"early"},
}


@pytest.mark.parametrize("fault", list(FAULTS), ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_seen(story: Story, fault: Callable[[Story], None]) -> None:
    fault(story)
    assert story.rules() == FAULTS[fault]


def test_a_trace_tells_what_the_clients_did_and_what_is_there(story: Story) -> None:
    show_an_aborted_record_for_a_moment(story)
    told = trace(story.history, story.final, story.violations())
    assert "aborted: Entry(transaction='a.0.2'" in told
    assert "begins a.0.2: input-0 (1/2), input-0 (2/2)" in told
    assert "aborted a.0.2, acknowledged at {0: 4, 1: 5}" in told
    assert "was shown a.0.2 1/2 at input-0@4" in told
    assert "> 4: nothing that a read_committed reader is shown" in told


def test_a_history_is_read_back_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.jsonl", "a.0")
    writer.write("begin", transaction="a.0.1", records=[["input", 0], ["output", 0, 0, 7]], offsets={0: 8})
    writer.write("committed", transaction="a.0.1", acknowledged={0: 3})
    value = Entry("a.0.1", 1, 2, Copied(0, 7)).to_bytes().decode()
    writer.write("read", topic="output", partition=0, records=[[5, value]])
    writer.write("note", text="something")
    with (tmp_path / "a.jsonl").open("a") as torn:
        torn.write('{"at": 12, "who": "a.0", "do": "com')
    history = load([tmp_path / "a.jsonl"])
    assert history.intentions["a.0.1"].records == [
        (IN, Entry("a.0.1", 0, 2)),
        (OUT, Entry("a.0.1", 1, 2, Copied(0, 7))),
    ]
    assert history.intentions["a.0.1"].offsets == {0: 8}
    assert history.outcomes["a.0.1"].committed
    assert history.outcomes["a.0.1"].offsets == {0: 3}
    assert [read.records for read in history.reads] == [[(5, Entry("a.0.1", 1, 2, Copied(0, 7)))]]
    assert [note.text for note in history.notes] == ["something"]
