"""Which records of a fetched buffer a reader gets; the transactions are laid out as Kafka lays them out."""

from odradek.client.fetched_records import Aborted, fetched_records
from odradek.records.builder import build_batch
from odradek.records.control import build_marker
from odradek.records.record import Record


class Log:
    """A buffer that grows batch by batch."""

    def __init__(self) -> None:
        self.buffer = b""
        self.end = 0

    def write(self, *values: bytes, producer: int = -1, in_transaction: bool = True) -> "Log":
        records = [Record(0, 0, None, value) for value in values]
        is_transactional = producer >= 0 and in_transaction
        epoch, sequence = (0, 0) if producer >= 0 else (-1, -1)
        self.buffer += build_batch(
            records, self.end, producer, epoch, sequence, transactional=is_transactional
        )
        self.end += len(values)
        return self

    def mark(self, producer: int, *, commit: bool) -> "Log":
        marker = build_marker(producer, 0, commit, 0, 0)
        marker[:8] = self.end.to_bytes(8, "big")
        self.buffer += marker
        self.end += 1
        return self

    def seen(self, *aborted: Aborted, offset: int = 0) -> list[bytes | None]:
        records, next_offset = fetched_records(memoryview(self.buffer), offset, aborted)
        assert next_offset == self.end
        return [record.value for record in records]


def test_without_transactions_everything_is_seen() -> None:
    assert Log().write(b"a", b"b").write(b"c").seen(offset=1) == [b"b", b"c"]


def test_nothing_fetched() -> None:
    assert fetched_records(None, 7) == ([], 7)
    assert fetched_records(memoryview(b""), 7) == ([], 7)


def test_read_uncommitted_sees_what_was_aborted_and_no_markers() -> None:
    log = Log().write(b"a", producer=1).mark(1, commit=False).write(b"b")
    assert log.seen() == [b"a", b"b"]


def test_aborted_records_are_left_out() -> None:
    log = Log().write(b"a", producer=1).mark(1, commit=False).write(b"b")
    assert log.seen((1, 0)) == [b"b"]


def test_transactions_of_several_producers_interleave() -> None:
    log = (
        Log()
        .write(b"1a", producer=1)
        .write(b"2a", producer=2)
        .write(b"plain")
        .write(b"1b", producer=1)
        .mark(2, commit=True)
        .mark(1, commit=False)
        .write(b"1c", producer=1)
        .mark(1, commit=True)
    )
    assert log.seen((1, 0)) == [b"2a", b"plain", b"1c"]


def test_one_producer_aborts_twice_with_a_commit_between() -> None:
    log = Log()
    for value, commit in ((b"a", False), (b"b", True), (b"c", False)):
        log.write(value, producer=1).mark(1, commit=commit)
    assert log.seen((1, 4), (1, 0)) == [b"b"]


def test_a_fetch_from_inside_an_aborted_transaction() -> None:
    log = Log().write(b"a", producer=1)
    log.buffer = b""
    log.write(b"b", producer=1).mark(1, commit=False).write(b"c", producer=1).mark(1, commit=True)
    assert log.seen((1, 0), offset=1) == [b"c"]


def test_what_an_aborting_producer_wrote_outside_of_transactions_stays() -> None:
    log = Log().write(b"a", producer=1).write(b"b", producer=1, in_transaction=False).mark(1, commit=False)
    assert log.seen((1, 0)) == [b"b"]
