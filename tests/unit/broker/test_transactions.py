"""Transactions from the first request to the last marker, through crashes and the passing of time."""

from pathlib import Path

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from odradek.storage.log import Log, ReadResult

from .harness import Harness
from .transaction_client import TransactionalProducer, committed_offset, create_topic, fetch, produced, read


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="2", offsets_topic_num_partitions="2")
    create_topic(harness, 2)
    harness.call(FindCoordinatorRequest(coordinator_keys=["g"]), 6)
    return harness


def crash(harness: Harness) -> None:
    """The process is gone; what was not flushed stays in the files all the same, as after a kill -9."""
    harness.broker.close(is_clean=False)
    harness.start()
    harness.broker.run_timers()


def test_committed_records_are_read_and_aborted_ones_are_not(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    assert producer.init() == 0
    for number, is_committed in enumerate((True, False, True)):
        assert producer.produce(0, b"%d" % number)[0] == 0
        assert producer.produce(0, b"%d" % number, partition=1)[0] == 0
        assert producer.end(is_committed) == 0
    assert (read(harness), read(harness, 1)) == ([b"0", b"2"], [b"0", b"2"])
    assert producer.epoch == 3


def test_an_open_transaction_holds_the_last_stable_offset(harness: Harness) -> None:
    first, second = TransactionalProducer(harness, "first"), TransactionalProducer(harness, "second")
    first.init()
    second.init()
    first.produce(0, b"a")
    second.produce(0, b"b")
    second.end()
    assert (fetch(harness).last_stable_offset, fetch(harness).high_watermark) == (0, 3)
    first.end(False)
    assert fetch(harness).last_stable_offset == 4
    assert read(harness) == [b"b"]


def test_the_next_transaction_waits_for_the_markers_of_the_last(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    ended = harness.send(producer.end_request(True), 5)
    assert producer.state == "PrepareCommit"
    producer.epoch += 1
    waiting = producer.send_produce(0, b"b")  # nobody told it of that epoch yet
    assert not ended.is_answered
    flush_once(harness)
    assert ended.is_answered
    assert producer.state == "Ongoing"
    assert not waiting.is_answered
    harness.flush()
    assert produced(waiting.response()) == (0, 2)


def test_markers_are_flushed_with_the_record_that_decides(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    ended = harness.send(producer.end_request(True), 5)
    assert read(harness) == [], "what is not flushed is not shown"
    flush_once(harness)
    assert ended.is_answered
    assert read(harness) == [b"a"]
    assert producer.state == "CompleteCommit"


def test_markers_of_version_1_wait_for_the_record_that_decides(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.add(0)
    producer.produce(0, b"a", version=11)
    ended = harness.send(producer.end_request(True), 4)
    flush_once(harness)
    assert ended.is_answered
    assert producer.state == "PrepareCommit"
    assert read(harness) == []
    flush_once(harness)
    assert read(harness) == [b"a"]
    assert producer.state == "CompleteCommit"


def flush_once(harness: Harness) -> None:
    flush = harness.broker.begin_flush()
    assert flush is not None
    flush.run()
    harness.broker.finish_flush(flush)


def test_who_waits_for_too_long_is_told_to_come_again(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    harness.send(producer.end_request(True), 5)
    producer.epoch += 1
    waiting, old = producer.send_produce(0), harness.send(producer.add_request(1), 3)
    harness.advance(99)
    assert not waiting.is_answered
    harness.advance(1)
    assert produced(waiting.response())[0] == ErrorCode.CONCURRENT_TRANSACTIONS
    (topic,) = old.response().results_by_topic_v3_and_below
    assert topic.results_by_partition[0].partition_error_code == ErrorCode.CONCURRENT_TRANSACTIONS


@pytest.mark.parametrize("flushes", range(5))
@pytest.mark.parametrize("is_committed", [True, False])
def test_a_crash_at_any_step_of_an_end_leaves_it_whole(
    harness: Harness, flushes: int, is_committed: bool
) -> None:
    """Whatever was on disk when the process died: the transaction is decided, or times out, as a whole."""
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    producer.produce(0, b"b", partition=1)
    producer.commit_offset(5)
    ended = harness.send(producer.end_request(is_committed), 5)
    for _ in range(flushes):
        flush = harness.broker.begin_flush()
        if flush is not None:
            flush.run()
            harness.broker.finish_flush(flush)
    assert ended.is_answered == (flushes > 0)
    crash(harness)
    harness.flush()
    assert producer.state == ("CompleteCommit" if is_committed else "CompleteAbort")
    expected = ([b"a"], [b"b"], (0, 5)) if is_committed else ([], [], (0, -1))
    assert (read(harness), read(harness, 1), committed_offset(harness, stable=True)) == expected
    assert producer.end(is_committed) == 0
    assert producer.epoch == 1
    assert producer.produce(0, b"next")[0] == 0


def test_lso_moves_on_when_a_hung_transaction_times_out(harness: Harness) -> None:
    producer = TransactionalProducer(harness, timeout_ms=5_000)
    producer.init()
    producer.produce(0, b"a")
    harness.advance(9_999)
    harness.flush()
    assert fetch(harness).last_stable_offset == 0
    harness.advance(1)
    harness.flush()
    assert fetch(harness).last_stable_offset == 2
    assert read(harness) == []
    assert producer.state == "CompleteAbort"
    assert producer.produce(1, b"late") == (ErrorCode.INVALID_PRODUCER_EPOCH, -1)
    assert producer.end() == ErrorCode.INVALID_TXN_STATE


def test_a_transaction_that_was_open_at_a_crash_times_out(harness: Harness) -> None:
    producer = TransactionalProducer(harness, timeout_ms=5_000)
    producer.init()
    producer.produce(0, b"a")
    crash(harness)
    assert fetch(harness).last_stable_offset == 0
    harness.advance(10_000)
    harness.flush()
    assert fetch(harness).last_stable_offset == 2
    assert producer.state == "CompleteAbort"


def test_a_delayed_end_never_touches_a_later_transaction(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    delayed = producer.end_request(False)
    producer.end(True)
    producer.produce(0, b"b")
    assert harness.call(delayed, 5).error_code == ErrorCode.PRODUCER_FENCED
    assert producer.state == "Ongoing"
    producer.end(True)
    assert read(harness) == [b"a", b"b"]


def test_idle_ids_are_forgotten_and_their_producers_start_afresh(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path, transaction_state_log_num_partitions="1", transactional_id_expiration_ms="60000"
    )
    create_topic(harness)
    producer, busy = TransactionalProducer(harness, "idle"), TransactionalProducer(harness, "busy", 900_000)
    producer.init()
    busy.init()
    busy.produce(0)
    harness.advance(3_600_000 - 1)
    harness.flush()
    assert producer.describe().error_code == 0
    harness.advance(1)
    harness.flush()
    assert producer.describe().error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
    assert producer.produce(0)[0] == ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert producer.end() == ErrorCode.INVALID_PRODUCER_ID_MAPPING
    harness.restart()
    assert producer.describe().error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
    known = producer.producer_id
    assert producer.init() == 0
    assert (producer.producer_id != known, producer.epoch) == (True, 0)


def test_markers_for_deleted_topics_are_left_out(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0)
    harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000))
    assert producer.end() == 0
    assert producer.state == "CompleteCommit"


def test_sequence_numbers_are_not_used_again_after_an_abort(harness: Harness) -> None:
    """Version 1 goes on counting under the same epoch; version 2 counts afresh under another."""
    producer = TransactionalProducer(harness)
    producer.init()
    producer.add(0)
    assert producer.produce(0, b"aborted", version=11) == (0, 0)
    producer.end(False, 4)
    producer.add(0)
    assert producer.produce(0, b"again", version=11) == (0, 0)  # a duplicate of what was aborted
    assert producer.produce(2, b"gap", version=11)[0] == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert producer.produce(1, b"next", version=11) == (0, 2)
    producer.end(True, 5)
    assert producer.produce(2, b"old count")[0] == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert producer.produce(0, b"afresh")[0] == 0
    producer.end()
    assert read(harness) == [b"next", b"afresh"]


@pytest.mark.parametrize("restarts", ["no", "cleanly", "crash"])
def test_aborted_records_never_reach_read_committed_across_segments(tmp_path: Path, restarts: str) -> None:
    """One transaction over many segments, its marker in another than its records."""
    harness = Harness(tmp_path / restarts, transaction_state_log_num_partitions="1")
    create_topic(harness, segment_bytes=str(1 << 20))
    aborted, kept = TransactionalProducer(harness, "aborted"), TransactionalProducer(harness, "kept")
    aborted.init()
    kept.init()
    for number in range(12):
        aborted.produce(number, b"a" * 300_000)
        kept.produce(0, b"%d" % number)
        kept.end()
    aborted.end(False)
    kept.produce(0, b"last")
    kept.end()
    if restarts == "cleanly":
        harness.restart()
    elif restarts == "crash":
        crash(harness)
        harness.flush()
    partition = harness.broker.topics.partition("t", 0)
    assert partition is not None
    assert len(partition.log.segments) > 3
    assert read(harness) == [b"%d" % number for number in range(12)] + [b"last"]


def test_deleting_records_of_an_open_transaction_does_not_hold_readers_below_the_start(
    harness: Harness,
) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    producer.produce(1, b"b")
    partition = DeleteRecordsPartition(partition_index=0, offset=1)
    topics = [DeleteRecordsTopic(name="t", partitions=[partition])]
    harness.call(DeleteRecordsRequest(topics=topics, timeout_ms=1_000))
    data = fetch(harness, offset=1)
    assert (data.error_code, data.log_start_offset, data.last_stable_offset) == (0, 1, 1)
    found = harness.broker.topics.partition("t", 0)
    assert found is not None
    assert found.log.last_stable_offset == 1
    producer.end()
    assert found.log.last_stable_offset == 3


def test_a_listing_of_offsets_ends_where_transactions_are_decided(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    producer.end()
    producer.produce(0, b"b")

    def latest(isolation_level: int) -> int:
        query = [ListOffsetsPartition(partition_index=0, timestamp=-1)]
        request = ListOffsetsRequest(
            replica_id=-1,
            isolation_level=isolation_level,
            topics=[ListOffsetsTopic(name="t", partitions=query)],
        )
        return int(harness.call(request, 7).topics[0].partitions[0].offset)

    assert (latest(0), latest(1)) == (3, 2)
    producer.end(False)
    assert (latest(0), latest(1)) == (4, 4)


def state_records(harness: Harness) -> int:
    """How many records say what became of transactions, in all."""
    topic = harness.broker.topics.by_name["__transaction_state"]
    return sum(partition.log.log_end_offset for partition in topic.partitions)


def test_the_record_that_closes_a_transaction_is_written_with_the_next_one(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0)
    before = state_records(harness)
    assert producer.end() == 0
    assert producer.state == "CompleteCommit"
    assert state_records(harness) == before + 1, "only what decides it"
    assert harness.call(producer.end_request(True, producer_epoch=producer.epoch - 1), 5).error_code == 0
    producer.send_produce(0)
    assert state_records(harness) == before + 3
    crash(harness)
    assert producer.state == "Ongoing"


def test_a_record_that_closes_a_transaction_does_not_wait_for_long(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0)
    producer.end()
    before = state_records(harness)
    harness.advance(99)
    assert state_records(harness) == before
    harness.advance(1)
    assert state_records(harness) == before + 1
    assert (harness.broker.has_unflushed, harness.broker.flush_is_urgent) == (True, False)
    harness.advance(1_000)
    assert state_records(harness) == before + 1


def test_after_a_clean_stop_no_transaction_is_left_to_be_closed(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    producer.end()
    before = fetch(harness).high_watermark
    harness.restart()
    harness.flush()
    assert producer.state == "CompleteCommit"
    assert fetch(harness).high_watermark == before, "its markers are not written again"


def test_a_transaction_that_a_crash_left_to_be_closed_is_closed(harness: Harness) -> None:
    """Its markers are written once more, which nobody who reads can tell."""
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"a")
    producer.end()
    crash(harness)
    assert producer.state == "PrepareCommit"
    harness.flush()
    assert producer.state == "CompleteCommit"
    assert producer.produce(0, b"b")[0] == 0
    assert producer.end(False) == 0
    assert producer.produce(0, b"c")[0] == 0
    assert producer.end() == 0
    assert read(harness) == [b"a", b"c"]


def test_a_shard_that_could_not_be_loaded_at_the_start_is_loaded_though_nobody_asks(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.add(0)
    producer.produce(0, b"a", version=11)
    harness.send(producer.end_request(True), 4)
    read_log = Log.read

    def no_descriptors(log: Log, *arguments: int) -> ReadResult:
        if log.topic_partition.topic == "__transaction_state":
            raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR)
        return read_log(log, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Log, "read", no_descriptors)
        crash(harness)
        harness.flush()
    assert fetch(harness).last_stable_offset == 0
    harness.advance(10_000)
    harness.flush()
    assert fetch(harness).last_stable_offset == 2
