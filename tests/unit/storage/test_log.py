"""Append, roll, flush and what they answer."""

import random

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.storage.config import UNLIMITED, LogConfig
from odradek.storage.log import COORDINATOR, Log
from odradek.storage.store import LogStore

from .conftest import NOW_MS, SMALL, append, batch, make_log, read_all, values_of


def test_offsets_follow_each_other(log: Log, store: LogStore) -> None:
    assert append(log, b"a", b"b") == (0, 1, -1, 0, False)
    assert append(log, b"c") == (2, 2, -1, 0, False)
    assert log.log_end_offset == 3
    store.flush(NOW_MS)
    assert [(record.offset, record.value) for record in read_all(log)] == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_base_offset_and_leader_epoch_are_patched_in_place(log: Log) -> None:
    append(log, b"a")
    records = batch(b"b")
    log.append(records, NOW_MS, leader_epoch=4)
    assert bytes(records[:8]) == (1).to_bytes(8, "big")
    assert bytes(records[12:16]) == (4).to_bytes(4, "big")
    assert log.leader_epoch == 4
    assert log.epochs.entries == [(0, 0), (4, 1)]


def test_only_what_is_flushed_is_committed(log: Log, store: LogStore) -> None:
    append(log, b"a")
    assert (log.high_watermark, log.flushed_offset, log.log_end_offset) == (0, 0, 1)
    ticket = store.begin_flush(NOW_MS)
    assert ticket is not None
    append(log, b"b")
    assert store.begin_flush(NOW_MS) is None, "one flush in flight"
    ticket.run()
    assert store.finish_flush(ticket) == [log]
    assert (log.high_watermark, log.flushed_offset, log.log_end_offset) == (1, 1, 2)
    assert values_of(log) == [b"a"]
    assert store.flush(NOW_MS) == [log]
    assert log.high_watermark == 2
    assert store.begin_flush(NOW_MS) is None, "nothing to do"


def test_kafkas_flush_messages_commits_at_append(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(flush_messages=UNLIMITED))
    store.flush(NOW_MS)
    append(log, b"a")
    assert not log.is_strict
    assert (log.high_watermark, log.flushed_offset) == (1, 0)
    assert store.begin_flush(NOW_MS + 10**9) is None


def test_a_flush_is_due_after_so_many_messages(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(flush_messages=3))
    store.flush(NOW_MS)
    append(log, b"a", b"b")
    assert store.begin_flush(NOW_MS) is None
    append(log, b"c")
    assert store.flush(NOW_MS) == [log]
    assert log.flushed_offset == 3


def test_a_flush_is_due_after_so_long(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(flush_messages=100, flush_ms=500))
    store.flush(NOW_MS)
    append(log, b"a")
    append(log, b"b", now_ms=NOW_MS + 400)
    assert store.begin_flush(NOW_MS + 499) is None
    assert store.flush(NOW_MS + 500) == [log]
    assert log.flushed_offset == 2
    assert store.begin_flush(NOW_MS + 5000) is None


def test_turning_strictness_off_commits_what_is_there(log: Log) -> None:
    append(log, b"a")
    log.config = SMALL.with_changes(flush_messages=10)
    assert log.high_watermark == 1
    log.config = SMALL
    assert log.high_watermark == 1
    append(log, b"b")
    assert log.high_watermark == 1


def test_roll_by_size_keeps_everything(log: Log, store: LogStore) -> None:
    values = [b"%05d" % number * 20 for number in range(200)]
    for value in values:
        append(log, value)
    assert len(log.segments) > 5
    assert all(segment.size <= SMALL.segment_bytes for segment in log.segments)
    store.flush(NOW_MS)
    assert values_of(log) == values
    assert log.size == sum(segment.size for segment in log.segments)


def test_roll_by_time_goes_by_the_records(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(segment_ms=1000))
    append(log, b"a", timestamp=NOW_MS)
    append(log, b"b", timestamp=NOW_MS + 1000)
    assert len(log.segments) == 1
    append(log, b"c", timestamp=NOW_MS + 1001)
    assert [segment.base_offset for segment in log.segments] == [0, 2]


def test_roll_by_time_without_timestamps_goes_by_the_clock(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(segment_ms=1000))
    append(log, b"a", timestamp=-1)
    append(log, b"b", timestamp=-1, now_ms=NOW_MS + 1000)
    assert len(log.segments) == 1
    append(log, b"c", timestamp=-1, now_ms=NOW_MS + 1001)
    assert [segment.base_offset for segment in log.segments] == [0, 2]


def test_roll_jitter_only_shortens(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(segment_ms=1000, segment_jitter_ms=400))
    for number in range(20):
        append(log, b"v", timestamp=NOW_MS + number * 100)
    waited = [
        right.base_offset - left.base_offset
        for left, right in zip(log.segments, log.segments[1:], strict=False)
    ]
    assert all(7 <= batches <= 11 for batches in waited)


def test_roll_when_an_index_is_full(store: LogStore) -> None:
    log = make_log(
        store, SMALL.with_changes(segment_index_bytes=60, index_interval_bytes=0, segment_bytes=1 << 20)
    )
    for number in range(30):
        append(log, b"v", timestamp=NOW_MS + number)
    assert len(log.segments) > 3
    for segment in log.segments:
        assert len(segment.offset_index.entries) <= 60
        assert len(segment.time_index.entries) <= 60


def test_roll_on_request(log: Log) -> None:
    log.roll(NOW_MS)
    assert len(log.segments) == 1, "an empty segment is not rolled"
    append(log, b"a")
    log.roll(NOW_MS)
    log.roll(NOW_MS)
    assert [segment.base_offset for segment in log.segments] == [0, 1]


def test_a_batch_larger_than_a_segment(log: Log) -> None:
    with pytest.raises(ApiError) as caught:
        append(log, bytes(5000))
    assert caught.value.code == ErrorCode.RECORD_LIST_TOO_LARGE
    assert log.log_end_offset == 0


def test_log_append_time(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(message_timestamp_type="LogAppendTime"))
    assert append(log, b"a", timestamp=5, now_ms=NOW_MS).log_append_time_ms == NOW_MS
    store.flush(NOW_MS)
    assert [record.timestamp for record in read_all(log)] == [NOW_MS]


def test_coordinators_may_write_without_sequence(log: Log) -> None:
    records = batch(b"a", producer_id=5, producer_epoch=1)
    assert log.append(records, NOW_MS, leader_epoch=0, origin=COORDINATOR).base_offset == 0
    records = batch(b"b", producer_id=5, producer_epoch=1)
    assert log.append(records, NOW_MS, leader_epoch=0, origin=COORDINATOR).base_offset == 1
    stale = batch(b"b", producer_id=5, producer_epoch=0)
    with pytest.raises(ApiError) as caught:
        log.append(stale, NOW_MS, leader_epoch=0, origin=COORDINATOR)
    assert caught.value.code == ErrorCode.INVALID_PRODUCER_EPOCH


def test_end_offset_for_epoch(log: Log) -> None:
    for epoch in (0, 0, 2, 5):
        append(log, b"a", leader_epoch=epoch)
    assert log.end_offset_for_epoch(0) == (0, 2)
    assert log.end_offset_for_epoch(1) == (0, 2)
    assert log.end_offset_for_epoch(2) == (2, 3)
    assert log.end_offset_for_epoch(5) == (5, 4)
    assert log.end_offset_for_epoch(9) == (-1, -1)


def test_idle_logs_hold_no_file_open(store: LogStore) -> None:
    logs = [make_log(store, partition=TopicPartition("idle", number)) for number in range(20)]
    assert all(segment.fd < 0 for log in logs for segment in log.segments)


def test_the_same_from_any_seed_of_sizes(store: LogStore) -> None:
    randomness = random.Random(11)
    log = make_log(store, SMALL.with_changes(index_interval_bytes=100))
    values = [randomness.randbytes(randomness.randrange(600)) for _ in range(150)]
    for number in range(0, 150, 3):
        append(log, *values[number : number + 3])
    store.flush(NOW_MS)
    for start in range(150):
        found = read_all(log, max_bytes=700, start=start)
        assert [record.value for record in found if record.offset >= start] == values[start:]
        assert start - 3 < found[0].offset <= start


def test_the_first_fetch_replays_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, b"from a producer without an id")

    def refuse(*arguments: object) -> None:
        raise AssertionError("the log was read again")

    monkeypatch.setattr("odradek.storage.log_state.load_producers", refuse)
    assert log.last_stable_offset == log.high_watermark


def test_a_growing_segment_is_mapped_again_for_small_reads(store: LogStore) -> None:
    log = make_log(store, LogConfig(flush_messages=UNLIMITED))
    value = b"x" * 900_000
    for _ in range(6):
        append(log, value)
    for offset in range(6):
        read = log.read(offset, 1_000_000, log.high_watermark)
        assert (read.first_offset, read.next_offset) == (offset, offset + 1)
    append(log, b"small")
    assert isinstance(log.read(6, 100, log.high_watermark).records, bytes), "not worth another mapping"
