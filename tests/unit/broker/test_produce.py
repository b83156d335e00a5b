from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.core.ids import new_id
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.protocol.generated.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    TopicProduceData,
)
from tests.unit.broker.harness import Closed, Harness, batch


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = Harness(tmp_path)
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    return harness


def produce(
    *records: bytes | None, acks: int = 1, topic: str = "t", partition: int = 0, timeout_ms: int = 1_000
) -> ProduceRequest:
    data = [PartitionProduceData(index=partition, records=one) for one in records]
    return ProduceRequest(
        acks=acks, timeout_ms=timeout_ms, topic_data=[TopicProduceData(name=topic, partition_data=data)]
    )


def only(response: object) -> PartitionProduceResponse:
    (topic,) = response.responses  # type: ignore[attr-defined]
    (partition,) = topic.partition_responses
    assert isinstance(partition, PartitionProduceResponse)
    return partition


@pytest.mark.parametrize("version", range(3, 13))
def test_offsets_ascend_in_every_version(harness: Harness, version: int) -> None:
    first = only(harness.call(produce(batch(b"a", b"b")), version))
    second = only(harness.call(produce(batch(b"c")), version))
    assert (first.error_code, first.base_offset) == (0, 0)
    assert (second.error_code, second.base_offset) == (0, 2)


def test_version_13_names_topics_by_id(harness: Harness) -> None:
    topic_id = harness.broker.image.topics["t"].topic_id
    request = produce(batch(b"a"))
    request.topic_data[0].topic_id = topic_id
    assert only(harness.call(request, 13)).base_offset == 0
    request.topic_data[0].topic_id = new_id(harness.broker.randomness)
    assert only(harness.call(request, 13)).error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_acks_all_is_answered_only_when_the_batch_is_on_disk(harness: Harness) -> None:
    pending = harness.send(produce(batch(b"a"), acks=-1), 9)
    assert not pending.is_answered
    harness.flush()
    assert only(pending.response()).base_offset == 0


def test_the_next_flush_begins_before_those_are_told_who_waited_for_the_last(harness: Harness) -> None:
    broker, flushes, answered = harness.broker, [], []
    first = harness.send(produce(batch(b"a"), acks=-1), 9)
    flush = broker.begin_flush()
    assert flush is not None
    second = harness.send(produce(batch(b"b"), acks=-1), 9)
    flush.run()

    def begin_next() -> None:
        flushes.append(broker.begin_flush())
        answered.append(first.is_answered)

    broker.finish_flush(flush, begin_next)
    assert (answered, first.is_answered, second.is_answered) == ([False], True, False)
    (following,) = flushes
    assert following is not None
    following.run()
    broker.finish_flush(following)
    assert only(second.response()).base_offset == 1


def test_a_flush_that_cannot_be_begun_keeps_nobody_waiting_who_was_in_the_last(harness: Harness) -> None:
    broker, told = harness.broker, list[bool]()
    first = harness.send(produce(batch(b"a"), acks=-1), 9)
    broker.after_flush(told.append)
    flush = broker.begin_flush()
    assert flush is not None
    flush.run()

    def begin_next() -> None:
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        broker.finish_flush(flush, begin_next)
    assert (first.is_answered, told) == (True, [True])


def test_acks_all_that_the_disk_does_not_answer_in_time_times_out(harness: Harness) -> None:
    pending = harness.send(produce(batch(b"a"), acks=-1, timeout_ms=1_000), 9)
    harness.advance(900)
    assert not pending.is_answered
    harness.advance(1_000)
    assert only(pending.response()).error_code == ErrorCode.REQUEST_TIMED_OUT


def test_acks_1_is_answered_at_once_and_read_only_when_on_disk(harness: Harness) -> None:
    assert only(harness.send(produce(batch(b"a")), 9).response()).base_offset == 0
    fetch = FetchRequest(
        topics=[FetchTopic(topic="t", partitions=[FetchPartition(partition=0, partition_max_bytes=1_000)])],
        max_bytes=1_000,
        session_epoch=-1,
    )
    (partition,) = harness.call(fetch, 11).responses[0].partitions
    assert len(partition.records) == 0
    harness.flush()
    (partition,) = harness.call(fetch, 11).responses[0].partitions
    assert len(partition.records) > 0


def test_with_kafkas_flush_messages_acks_all_needs_no_disk(tmp_path: Path) -> None:
    harness = Harness(tmp_path, log_flush_interval_messages="9223372036854775807")
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    assert only(harness.send(produce(batch(b"a"), acks=-1), 9).response()).base_offset == 0


def test_acks_0_is_not_answered_and_a_failure_closes(harness: Harness) -> None:
    assert harness.call(produce(batch(b"a"), acks=0), 9) is None
    with pytest.raises(Closed):
        harness.call(produce(batch(b"a"), acks=0, partition=9), 9)


@pytest.mark.parametrize(
    ("request_", "version", "code"),
    [
        (produce(batch(b"a"), topic="nope"), 9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (produce(batch(b"a"), partition=7), 9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (produce(batch(b"a"), partition=-1), 9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (produce(batch(b"a"), acks=2), 9, ErrorCode.INVALID_REQUIRED_ACKS),
        (produce(batch(b"a", compression=4)), 6, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
        (produce(batch(b"a")[:-1] + b"?"), 9, ErrorCode.CORRUPT_MESSAGE),
    ],
)
def test_refusals(harness: Harness, request_: ProduceRequest, version: int, code: ErrorCode) -> None:
    response = only(harness.call(request_, version))
    assert response.error_code == code
    assert response.base_offset == -1


def test_one_bad_partition_does_not_hold_the_others_up(harness: Harness) -> None:
    request = produce(batch(b"a"), acks=-1)
    request.topic_data[0].partition_data.append(PartitionProduceData(index=5, records=batch(b"b")))
    (topic,) = harness.call(request, 9).responses
    assert [one.error_code for one in topic.partition_responses] == [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_a_duplicate_is_answered_with_the_first_offset_also_after_a_restart(harness: Harness) -> None:
    once = batch(b"a", b"b", producer_id=9, producer_epoch=0, base_sequence=0)
    assert only(harness.call(produce(once), 9)).base_offset == 0
    assert only(harness.call(produce(batch(b"other")), 9)).base_offset == 2
    assert only(harness.call(produce(once), 9)).base_offset == 0
    harness.restart()
    assert only(harness.call(produce(once), 9)).base_offset == 0
    skipped = batch(b"d", producer_id=9, producer_epoch=0, base_sequence=5)
    assert only(harness.call(produce(skipped), 9)).error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_a_refused_record_tells_where_the_log_starts_and_which_it_was(tmp_path: Path) -> None:
    harness = Harness(tmp_path, log_cleanup_policy="compact")
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    refused = only(harness.call(produce(batch(b"without a key")), 9))
    assert refused.error_code == ErrorCode.INVALID_RECORD
    assert refused.log_start_offset == 0
    assert [one.batch_index for one in refused.record_errors] == [0]
    corrupt = only(harness.call(produce(batch(b"a")[:-1] + b"?"), 9))
    assert corrupt.log_start_offset == -1


def test_all_batches_in_flight_before_a_clean_stop_are_known_after_it(harness: Harness) -> None:
    in_flight = [
        batch(b"a", b"b", producer_id=9, producer_epoch=0, base_sequence=2 * number) for number in range(7)
    ]
    for number, one in enumerate(in_flight):
        assert only(harness.call(produce(one), 9)).base_offset == 3 * number
        assert only(harness.call(produce(batch(b"of another")), 9)).error_code == 0
    harness.restart()
    for number, one in enumerate(in_flight[2:], 2):
        assert only(harness.call(produce(one), 9)).base_offset == 3 * number
    forgotten = only(harness.call(produce(in_flight[1]), 9))
    assert forgotten.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
