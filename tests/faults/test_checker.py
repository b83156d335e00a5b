"""The checker of the fault tests sees the faults that it is there for: each is planted in a good log."""

from tests.faults.checker import Entry, problems_of, value_of

LOG = [Entry(offset, "ab"[offset % 2], offset // 2) for offset in range(40)]
ACKNOWLEDGED = {0: LOG[:30]}


def planted(log: list[Entry]) -> list[str]:
    return problems_of(ACKNOWLEDGED, {0: log})


def renumbered(entries: list[Entry]) -> list[Entry]:
    return [entry._replace(offset=offset) for offset, entry in enumerate(entries)]


def test_a_good_log_passes() -> None:
    assert planted(LOG) == []


def test_what_was_not_acknowledged_may_be_missing() -> None:
    assert planted(LOG[:30]) == []
    assert planted(renumbered(LOG[:33] + LOG[34:])) == []


def test_a_lost_record() -> None:
    assert planted(LOG[:12] + LOG[13:]) == ["partition 0: acknowledged and lost: " + str(LOG[12])]


def test_a_lost_tail() -> None:
    assert len(planted(LOG[:28])) == 2


def test_a_lost_partition() -> None:
    assert len(problems_of(ACKNOWLEDGED, {})) == 30


def test_a_doubled_record() -> None:
    doubled = renumbered([*LOG[:12], LOG[10], *LOG[12:]])
    assert any("twice" in problem for problem in planted(doubled))


def test_a_doubled_record_that_nobody_acknowledged() -> None:
    assert planted(renumbered([*LOG, LOG[39]])) == ["partition 0: twice: " + str(LOG[39]._replace(offset=40))]


def test_swapped_records() -> None:
    swapped = renumbered([*LOG[:33], LOG[35], LOG[34], LOG[33], *LOG[36:]])
    assert any("after its sequence" in problem for problem in planted(swapped))


def test_a_record_at_another_offset() -> None:
    assert planted([entry._replace(offset=entry.offset + 1) for entry in LOG])


def test_offsets_that_run_backwards() -> None:
    assert any("offset 3 after 4" in problem for problem in planted([*LOG[:3], LOG[4], LOG[3], *LOG[5:]]))


def test_values_are_read_back() -> None:
    assert Entry.parse(7, value_of("confluent-1", 12, 100)) == Entry(7, "confluent-1", 12)
    assert len(value_of("p", 1, 100)) == 100
