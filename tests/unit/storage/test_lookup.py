"""Lookup by timestamp and by the youngest timestamp."""

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.records.builder import build_batch, seal_batch
from odradek.records.control import build_marker
from odradek.records.record import Record
from odradek.storage.log import COORDINATOR, Log
from odradek.storage.store import LogStore

from .conftest import NOW_MS, SMALL, T0, Opener, append, batch, make_log


def fill(log: Log) -> None:
    for number in range(100):
        append(log, b"v" * 100, timestamp=NOW_MS + number * 10)


def test_by_timestamp_over_segments_and_restarts(opener: Opener, store: LogStore, log: Log) -> None:
    fill(log)
    assert len(log.segments) > 2
    store.close(NOW_MS)
    store._lock = -1
    log = opener().logs[T0]
    for timestamp in range(NOW_MS - 5, NOW_MS + 1000, 7):
        found = log.find_offset_by_timestamp(timestamp, 100)
        expected = max(0, -(-(timestamp - NOW_MS) // 10))
        assert found == ((NOW_MS + expected * 10, expected, 0) if expected < 100 else None)
    assert log.max_timestamp_offset(100) == (NOW_MS + 990, 99, 0)


def test_timestamps_that_go_back(log: Log) -> None:
    for timestamp in (50, 10, 70, 20, 70, 5):
        append(log, b"v", timestamp=timestamp)
    assert [log.find_offset_by_timestamp(timestamp, 6) for timestamp in (1, 11, 51, 71)] == [
        (50, 0, 0),
        (50, 0, 0),
        (70, 2, 0),
        None,
    ]
    assert log.max_timestamp_offset(6) == (70, 2, 0)


def test_inside_a_compressed_batch(log: Log) -> None:
    records = [Record(0, timestamp, None, b"v") for timestamp in (5, 9, 7, 9)]
    log.append(memoryview(build_batch(records, compression=4)), NOW_MS, leader_epoch=0)
    assert log.find_offset_by_timestamp(6, 4) == (9, 1, 0)
    assert log.max_timestamp_offset(4) == (9, 1, 0)


def test_only_committed_records_are_found(log: Log) -> None:
    fill(log)
    assert log.find_offset_by_timestamp(NOW_MS + 500, 50) is None
    assert log.find_offset_by_timestamp(NOW_MS + 490, 50) == (NOW_MS + 490, 49, 0)
    assert log.max_timestamp_offset(50) is None


def test_deleted_records_are_not_found(log: Log, store: LogStore) -> None:
    fill(log)
    store.flush(NOW_MS)
    log.advance_log_start(33)
    assert log.find_offset_by_timestamp(0, 100) == (NOW_MS + 330, 33, 0)


def test_an_empty_log(log: Log) -> None:
    assert log.find_offset_by_timestamp(0, 0) is None
    assert log.max_timestamp_offset(0) is None
    assert log.aborted_transactions(0, 10) == []


def test_stamped_batches_answer_with_their_last_offset(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(message_timestamp_type="LogAppendTime"))
    append(log, b"a", b"b", timestamp=3)
    assert log.find_offset_by_timestamp(NOW_MS, 2) == (NOW_MS, 0, 0)
    assert log.max_timestamp_offset(2) == (NOW_MS, 1, 0)


def test_a_batch_that_cannot_be_opened(log: Log) -> None:
    records = batch(b"v", timestamp=5)
    records[22] = 1  # says gzip
    seal_batch(records)
    log.append(records, NOW_MS, leader_epoch=0)
    with pytest.raises(ApiError) as caught:
        log.find_offset_by_timestamp(1, 1)
    assert caught.value.code == ErrorCode.CORRUPT_MESSAGE
    assert log.offline is None


def test_how_the_last_transaction_of_a_producer_has_ended(log: Log) -> None:
    def end(producer_id: int, epoch: int, commit: bool) -> None:
        marker = build_marker(producer_id, epoch, commit, 0, NOW_MS)
        log.append(memoryview(marker), NOW_MS, leader_epoch=0, origin=COORDINATOR)

    end(1, 3, True)
    fill(log)
    end(2, 3, False)
    end(1, 4, True)
    end(1, 4, False)
    append(log, b"small")
    fill(log)
    assert len(log.segments) > 3
    assert [log.last_end(*one) for one in ((1, 3), (2, 3), (1, 4))] == [True, False, False]
    assert log.last_end(2, 4) is None
    assert log.last_end(3, 3) is None
