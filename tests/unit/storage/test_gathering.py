"""Gathered batches: nothing until they are written, then what single appends make, or nothing at all."""

import errno
from collections.abc import Callable

import pytest

from odradek.core.errors import DamageError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.records.batch import TRANSACTIONAL_FLAG
from odradek.records.builder import seal_batch
from odradek.storage.config import LogConfig
from odradek.storage.gathering import NOT_GATHERED
from odradek.storage.log import Log
from odradek.storage.store import LogStore

from .conftest import NOW_MS, SMALL, FaultyDisk, Opener, append, batch, crash, make_log, values_of

PRODUCER = {"producer_id": 7, "producer_epoch": 0}


def gather(log: Log, *values: bytes, leader_epoch: int = 0, **options: int | bool) -> int:
    return log.gather(batch(*values, **options), NOW_MS, leader_epoch)


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def faulty(opener: Opener, disk: FaultyDisk) -> LogStore:
    return opener(disk)


@pytest.fixture
def log(faulty: LogStore) -> Log:
    """With one batch, of the producer that the tests go on with."""
    log = make_log(faulty)
    append(log, b"first", base_sequence=0, **PRODUCER)
    faulty.flush(NOW_MS)
    return log


def test_the_log_is_as_if_they_were_not_there_until_they_are_written(
    log: Log, faulty: LogStore, disk: FaultyDisk
) -> None:
    size = log.size
    disk.calls.clear()
    assert [gather(log, b"a", b"b"), gather(log, b"c"), gather(log, b"d")] == [1, 3, 4]
    assert disk.calls == []
    assert (log.log_end_offset, log.size, log.gathered_end_offset) == (1, size, 5)
    assert log.find_offset_by_timestamp(NOW_MS, 1) is not None
    assert values_of(log) == [b"first"]
    disk.calls.clear()
    assert faulty.volume.write_gathered(NOW_MS) == [(log, None)]
    assert disk.calls == ["pwrite"], "all by one call"
    assert (log.log_end_offset, log.gathered_end_offset, log.high_watermark) == (5, 5, 1)
    assert faulty.flush(NOW_MS) == [log]
    assert values_of(log) == [b"first", b"a", b"b", b"c", b"d"]
    assert faulty.volume.write_gathered(NOW_MS) == []


def test_they_leave_what_single_appends_leave(faulty: LogStore) -> None:
    gathered = make_log(faulty, partition=TopicPartition("gathered", 0))
    appended = make_log(faulty, partition=TopicPartition("appended", 0))
    for log in (gathered, appended):
        append(log, b"first", base_sequence=0, **PRODUCER)
    for sequence in range(1, 12):
        options = {"base_sequence": sequence, "timestamp": NOW_MS + sequence % 5, **PRODUCER}
        append(appended, bytes(100), **options)  # type: ignore[arg-type]
        assert gather(gathered, bytes(100), **options) == sequence  # type: ignore[arg-type]
        if sequence % 4 == 3:
            gathered.write_gathered(NOW_MS)
    one, other = gathered.active, appended.active
    assert len(one.offset_index) > 2
    assert one.offset_index.entries == other.offset_index.entries
    assert one.time_index.entries == other.time_index.entries
    assert (one.size, one.bytes_since_index) == (other.size, other.bytes_since_index)
    assert (one.max_timestamp, one.max_timestamp_offset) == (other.max_timestamp, other.max_timestamp_offset)
    assert gathered.producers.by_id[7].batches == appended.producers.by_id[7].batches
    assert one.read(0, one.size) == other.read(0, other.size)


def test_with_kafkas_flush_messages_they_are_committed_when_written(faulty: LogStore) -> None:
    log = make_log(faulty, LogConfig(flush_messages=1 << 62))
    append(log, b"first")
    gather(log, b"a")
    assert log.high_watermark == 1
    log.write_gathered(NOW_MS)
    assert log.high_watermark == 2
    assert values_of(log) == [b"first", b"a"]


def flipped() -> memoryview:
    bad = batch(b"a")
    bad[-1] ^= 1
    return bad


def transactional() -> memoryview:
    records = batch(b"a", base_sequence=1, **PRODUCER)
    records[22] |= TRANSACTIONAL_FLAG
    seal_batch(records.obj)  # type: ignore[arg-type]
    return records


@pytest.mark.parametrize(
    "make",
    [
        flipped,
        transactional,
        lambda: batch(b"a")[:40],
        lambda: batch(b"a")[:-1],
        lambda: batch(bytes(SMALL.segment_bytes)),
        lambda: batch(b"from the future", timestamp=NOW_MS + 2 * 3_600_000),
        lambda: batch(b"a", producer_id=8, producer_epoch=0, base_sequence=0),
        lambda: batch(b"a", producer_id=7, producer_epoch=1, base_sequence=0),
        lambda: batch(b"a gap", base_sequence=2, **PRODUCER),
        lambda: batch(b"a duplicate", base_sequence=0, **PRODUCER),
    ],
)
def test_what_is_not_plain_is_left_to_append(log: Log, make: Callable[[], memoryview]) -> None:
    records = make()
    before = bytes(records)
    assert log.gather(records, NOW_MS, 0) == NOT_GATHERED
    assert bytes(records) == before
    assert log.gathered_end_offset == 1
    assert gather(log, b"and it goes on", base_sequence=1, **PRODUCER) == 1


def test_first_batches_new_epochs_and_new_segments_are_left_to_append(log: Log, faulty: LogStore) -> None:
    assert gather(make_log(faulty, partition=TopicPartition("empty", 0)), b"a") == NOT_GATHERED
    assert gather(log, b"a", leader_epoch=1) == NOT_GATHERED
    gathered = 0
    while gather(log, bytes(500)) != NOT_GATHERED:
        gathered += 1
    assert 500 * gathered < SMALL.segment_bytes <= 600 * (gathered + 2)
    log.write_gathered(NOW_MS)
    append(log, bytes(500))
    assert len(log.segments) == 2


def test_a_group_is_no_larger_than_the_system_takes(opener: Opener) -> None:
    store = opener(config=LogConfig())
    log = make_log(store, LogConfig())
    append(log, b"first")
    while gather(log, b"a") != NOT_GATHERED:
        pass
    log.write_gathered(NOW_MS)
    assert log.log_end_offset == 513


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("short", [0, 100])
def test_a_refused_write_leaves_nothing_of_the_group(
    log: Log, faulty: LogStore, disk: FaultyDisk, number: int, short: int
) -> None:
    size = log.size
    kept = list(log.producers.by_id[7].batches)
    for sequence in (1, 2, 3):
        gather(log, b"x" * 30, base_sequence=sequence, **PRODUCER)
    disk.short_write = short
    disk.faults = [("pwrite", number)]
    ((refused, error),) = faulty.volume.write_gathered(NOW_MS)
    assert refused is log
    assert error is not None
    assert error.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert log.offline is None
    assert (log.log_end_offset, log.size, disk.size(log.active.fd)) == (1, size, size)
    assert log.producers.by_id[7].batches == kept
    # the producer sends them again, and they are taken for what they are
    for sequence in (1, 2, 3):
        assert gather(log, b"x" * 30, base_sequence=sequence, **PRODUCER) == sequence
    assert log.write_gathered(NOW_MS) is None
    assert append(log, b"x" * 30, base_sequence=2, **PRODUCER).duplicate
    faulty.flush(NOW_MS)
    assert values_of(log) == [b"first"] + 3 * [b"x" * 30]


def test_a_short_write_is_finished(log: Log, faulty: LogStore, disk: FaultyDisk) -> None:
    gather(log, b"a" * 50)
    gather(log, b"b" * 50)
    disk.short_write = 130
    assert log.write_gathered(NOW_MS) is None
    faulty.flush(NOW_MS)
    assert values_of(log) == [b"first", b"a" * 50, b"b" * 50]


def test_bytes_that_cannot_be_cut_off_take_the_log_offline(log: Log, disk: FaultyDisk) -> None:
    gather(log, b"a")
    disk.faults = [("pwrite", errno.EIO), ("truncate", errno.EIO)]
    assert log.write_gathered(NOW_MS) is not None
    assert isinstance(log.offline, DamageError)


def test_a_log_that_went_offline_meanwhile_is_not_written(log: Log, disk: FaultyDisk) -> None:
    gather(log, b"a", base_sequence=1, **PRODUCER)
    log.go_offline(DamageError("x", 0, "found by a reader"))
    disk.calls.clear()
    error = log.write_gathered(NOW_MS)
    assert error is not None
    assert error.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert disk.calls == []
    assert log.producers.by_id[7].last_sequence == 0


def test_a_crash_before_the_write_leaves_nothing(log: Log, faulty: LogStore, opener: Opener) -> None:
    topic_partition = log.topic_partition
    gather(log, b"never written")
    crash(faulty)
    again = opener().logs[topic_partition]
    assert again.log_end_offset == 1
    assert values_of(again) == [b"first"]
