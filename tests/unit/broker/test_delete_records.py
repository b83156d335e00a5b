from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from odradek.protocol.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.unit.broker.harness import Harness, batch


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    compacted = [CreatableTopicConfig(name="cleanup.policy", value="compact")]
    topics = [
        CreatableTopic(name="t", num_partitions=2, replication_factor=1),
        CreatableTopic(name="compacted", num_partitions=1, replication_factor=1, configs=compacted),
        CreatableTopic(name="__consumer_offsets", num_partitions=1, replication_factor=1),
    ]
    made.call(CreateTopicsRequest(topics=topics))
    records = memoryview(batch(b"one", b"two", b"three"))
    data = TopicProduceData(name="t", partition_data=[PartitionProduceData(index=0, records=records)])
    made.call(ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data]), 12)
    return made


def delete(
    harness: Harness, name: str, *offsets: tuple[int, int], version: int = 2
) -> list[tuple[int, int, int]]:
    """(partition, low watermark, error) each."""
    partitions = [DeleteRecordsPartition(partition_index=index, offset=offset) for index, offset in offsets]
    topic = DeleteRecordsTopic(name=name, partitions=partitions)
    (result,) = harness.call(DeleteRecordsRequest(topics=[topic], timeout_ms=1000), version).topics
    return [
        (partition.partition_index, partition.low_watermark, partition.error_code)
        for partition in result.partitions
    ]


@pytest.mark.parametrize("version", range(3))
def test_every_version(harness: Harness, version: int) -> None:
    assert delete(harness, "t", (0, 2), version=version) == [(0, 2, 0)]
    assert harness.broker.topics.by_name["t"].partitions[0].log.log_start_offset == 2


def test_never_back_and_never_above_what_is_committed(harness: Harness) -> None:
    assert delete(harness, "t", (0, 2)) == [(0, 2, 0)]
    assert delete(harness, "t", (0, 1)) == [(0, 2, 0)]
    assert delete(harness, "t", (0, 4)) == [(0, -1, ErrorCode.OFFSET_OUT_OF_RANGE)]
    assert delete(harness, "t", (0, -2)) == [(0, -1, ErrorCode.OFFSET_OUT_OF_RANGE)]
    assert delete(harness, "t", (0, -1)) == [(0, 3, 0)]


def test_the_start_survives_a_restart(harness: Harness) -> None:
    delete(harness, "t", (0, 2))
    harness.restart()
    assert harness.broker.topics.by_name["t"].partitions[0].log.log_start_offset == 2


def test_refused(harness: Harness) -> None:
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert delete(harness, "nope", (0, 0)) == [(0, -1, unknown)]
    assert delete(harness, "t", (7, 0), (1, 0)) == [(7, -1, unknown), (1, 0, 0)]
    assert delete(harness, "__consumer_offsets", (0, 0)) == [(0, -1, ErrorCode.INVALID_TOPIC_EXCEPTION)]
    assert delete(harness, "compacted", (0, 0)) == [(0, -1, ErrorCode.POLICY_VIOLATION)]


def test_what_was_deleted_does_not_come_back_with_a_crash(harness: Harness) -> None:
    asked = DeleteRecordsPartition(partition_index=0, offset=2)
    request = DeleteRecordsRequest(
        topics=[DeleteRecordsTopic(name="t", partitions=[asked])], timeout_ms=1_000
    )
    pending = harness.send(request)
    assert not pending.is_answered
    harness.flush()
    assert pending.response().topics[0].partitions[0].low_watermark == 2
    harness.broker.close(is_clean=False)
    harness.start()
    partition = harness.broker.topics.partition("t", 0)
    assert partition is not None
    assert partition.log.log_start_offset == 2
