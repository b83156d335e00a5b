"""A disk fills up: producers are slowed, then refused, everything else goes on, and it heals by itself."""

import logging
from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.support.disks import QuickDisk

from .group_client import commit_request, committed, with_groups
from .harness import Closed, Harness, batch
from .test_quotas import set_quota

MB = 1 << 20
TOTAL = 1_000 * MB
HEADROOM = TOTAL // 20


class FillingDisk(QuickDisk):
    room = 500 * MB

    def space(self, path: str) -> tuple[int, int]:
        return TOTAL, self.room


class Filling(Harness):
    """A harness whose disk has as much room as it is told."""

    def __init__(self, folder: Path, **overrides: str) -> None:
        self.filling = FillingDisk()
        super().__init__(folder, self.filling, **overrides)

    def look(self, room: int, after_ms: int = 1_000) -> None:
        self.filling.room = room
        self.advance(after_ms)
        self.broker.housekeep()


@pytest.fixture
def harness(tmp_path: Path) -> Filling:
    harness = Filling(tmp_path)
    harness.call(
        CreateTopicsRequest(topics=[CreatableTopic(name="t", num_partitions=1, replication_factor=1)])
    )
    return harness


def produce(harness: Harness, acks: int = -1, **fields: Any) -> Any:
    data = PartitionProduceData(index=0, records=memoryview(bytearray(batch(b"v", **fields))))
    topics = [TopicProduceData(name="t", partition_data=[data])]
    return harness.call(ProduceRequest(acks=acks, timeout_ms=1_000, topic_data=topics), 9)


def code_of(response: Any) -> int:
    code: int = response.responses[0].partition_responses[0].error_code
    return code


def test_far_from_the_end_nothing_is_done(harness: Filling) -> None:
    for room in (500, 490, 480):
        harness.look(room * MB)
    answer = produce(harness)
    assert (code_of(answer), answer.throttle_time_ms) == (0, 0)
    assert not harness.broker.room.is_tight


def test_near_the_end_producers_wait_longer_and_longer(
    harness: Filling, caplog: pytest.LogCaptureFixture
) -> None:
    waits = []
    with caplog.at_level(logging.WARNING, "odradek.disk"):
        for room in (140, 120, 90, 70, 60, 55):
            harness.look(room * MB)
            answer = produce(harness)
            assert code_of(answer) == 0
            waits.append(answer.throttle_time_ms)
    assert waits == sorted(waits)
    assert 0 < waits[-1] <= 1_000
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "will be full in" in warning
    assert "at this rate" in warning


def test_quotas_do_not_hide_that_the_disk_fills_up(harness: Filling) -> None:
    set_quota(harness, {"client-id": "tester"}, producer_byte_rate=1e9)
    for room in (140, 120, 90):
        harness.look(room * MB)
    assert produce(harness).throttle_time_ms > 0


def test_near_the_end_with_nothing_coming_nobody_waits(harness: Filling) -> None:
    for _ in range(3):
        harness.look(60 * MB)
    assert produce(harness).throttle_time_ms == 0


def test_at_the_end_producers_are_refused_and_all_else_works(harness: Filling) -> None:
    assert code_of(produce(harness)) == 0
    with_groups(harness)
    harness.look(HEADROOM)
    assert code_of(produce(harness)) == ErrorCode.KAFKA_STORAGE_ERROR
    assert code_of(produce(harness, acks=1)) == ErrorCode.KAFKA_STORAGE_ERROR
    with pytest.raises(Closed):
        produce(harness, acks=0)
    wanted = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1_000)
    request = FetchRequest(max_bytes=1_000, topics=[FetchTopic(topic="t", partitions=[wanted])])
    assert harness.call(request, 12).responses[0].partitions[0].records
    assert harness.call(commit_request(1), 8).topics[0].partitions[0].error_code == 0
    assert committed(harness) == {"t-0": 1}
    made = harness.call(
        CreateTopicsRequest(topics=[CreatableTopic(name="u", num_partitions=1, replication_factor=1)])
    )
    assert made.topics[0].error_code == 0
    gone = harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="u")]))
    assert gone.responses[0].error_code == 0


def test_a_burst_between_two_looks_does_not_use_up_the_headroom(harness: Filling) -> None:
    harness.look(HEADROOM + MB)
    assert (code_of(produce(harness)), harness.broker.room.throttle_ms) == (0, 0)
    harness.filling.room = HEADROOM - MB
    records = memoryview(bytearray(batch(bytes(600_000))))
    data = PartitionProduceData(index=0, records=records)
    request = ProduceRequest(
        acks=-1, timeout_ms=1_000, topic_data=[TopicProduceData(name="t", partition_data=[data])]
    )
    assert code_of(harness.call(request, 9)) == 0, "there was room for it when it was looked"
    assert code_of(harness.call(request, 9)) == ErrorCode.KAFKA_STORAGE_ERROR


def test_room_that_could_end_before_the_next_housekeeping_is_looked_at_soon(harness: Filling) -> None:
    harness.look(HEADROOM + 440 * MB)
    assert not harness.broker.room.is_tight
    harness.filling.room = HEADROOM
    harness.advance(100)
    assert harness.broker.room.is_full


def test_it_heals_by_itself_and_soon(harness: Filling) -> None:
    harness.look(HEADROOM)
    assert code_of(produce(harness)) == ErrorCode.KAFKA_STORAGE_ERROR
    harness.filling.room = HEADROOM + MB
    harness.advance(100)
    assert code_of(produce(harness)) == ErrorCode.KAFKA_STORAGE_ERROR, "not enough to begin again"
    harness.filling.room = 2 * HEADROOM
    harness.advance(100)
    assert code_of(produce(harness)) == 0
    assert harness.broker.store.logs


def test_what_a_producer_has_in_flight_behind_a_refused_batch_does_not_get_in(harness: Filling) -> None:
    sequenced = {"producer_id": 7, "producer_epoch": 0}
    assert code_of(produce(harness)) == 0
    harness.look(HEADROOM)
    assert code_of(produce(harness, base_sequence=0, **sequenced)) == ErrorCode.KAFKA_STORAGE_ERROR
    harness.look(500 * MB)
    code = code_of(produce(harness, base_sequence=1, **sequenced))
    assert code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert code_of(produce(harness, base_sequence=0, **sequenced)) == 0
    assert code_of(produce(harness, base_sequence=1, **sequenced)) == 0


def test_the_headroom_can_be_set(tmp_path: Path) -> None:
    harness = Filling(tmp_path, odradek_disk_headroom_bytes=str(300 * MB))
    harness.look(301 * MB)
    assert not harness.broker.room.is_full
    harness.look(300 * MB)
    assert harness.broker.room.is_full


def test_the_same_of_a_log_that_nobody_has_used_since_the_start(harness: Filling) -> None:
    sequenced = {"producer_id": 7, "producer_epoch": 0}
    harness.restart()
    harness.look(HEADROOM)
    assert code_of(produce(harness, base_sequence=0, **sequenced)) == ErrorCode.KAFKA_STORAGE_ERROR
    harness.look(500 * MB)
    code = code_of(produce(harness, base_sequence=1, **sequenced))
    assert code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert code_of(produce(harness, base_sequence=0, **sequenced)) == 0


def test_what_is_refused_leaves_no_trace_in_internal_topics(harness: Filling) -> None:
    with_groups(harness)
    harness.look(HEADROOM)
    sequenced = {"producer_id": 7, "producer_epoch": 9, "base_sequence": 0}
    records = memoryview(bytearray(batch(b"v", **sequenced)))
    data = PartitionProduceData(index=0, records=records)
    topics = [TopicProduceData(name="__consumer_offsets", partition_data=[data])]
    answer = harness.call(ProduceRequest(acks=-1, timeout_ms=1_000, topic_data=topics), 9)
    assert code_of(answer) == ErrorCode.KAFKA_STORAGE_ERROR
    partition = harness.broker.topics.partition("__consumer_offsets", 0)
    assert partition is not None
    assert 7 not in partition.log.producers.by_id
