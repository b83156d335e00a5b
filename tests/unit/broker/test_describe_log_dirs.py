from pathlib import Path

import pytest

from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    DescribeLogDirsResult,
)
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.unit.broker.harness import Harness, batch


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    topics = [CreatableTopic(name=name, num_partitions=2, replication_factor=1) for name in ("a", "b")]
    made.call(CreateTopicsRequest(topics=topics))
    return made


def folder(
    harness: Harness, version: int, topics: list[DescribableLogDirTopic] | None
) -> DescribeLogDirsResult:
    (result,) = harness.call(DescribeLogDirsRequest(topics=topics), version).results
    assert isinstance(result, DescribeLogDirsResult)
    return result


@pytest.mark.parametrize("version", range(1, 6))
def test_sizes_in_every_version(harness: Harness, version: int) -> None:
    records = batch(b"one", b"two")
    data = TopicProduceData(
        name="a", partition_data=[PartitionProduceData(index=1, records=memoryview(records))]
    )
    harness.call(ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data]), 12)
    result = folder(harness, version, None)
    sizes = {
        (topic.name, partition.partition_index): partition.partition_size
        for topic in result.topics
        for partition in topic.partitions
    }
    assert result.log_dir == str(harness.folder)
    assert sizes == {("a", 0): 0, ("a", 1): len(records), ("b", 0): 0, ("b", 1): 0}


def test_only_what_is_asked_for(harness: Harness) -> None:
    asked = [
        DescribableLogDirTopic(topic="b", partitions=[1, 9]),
        DescribableLogDirTopic(topic="nope", partitions=[0]),
        DescribableLogDirTopic(topic="a", partitions=[]),
    ]
    (topic,) = folder(harness, 4, asked).topics
    assert (topic.name, [partition.partition_index for partition in topic.partitions]) == ("b", [1])
    assert folder(harness, 4, []).topics == []


def test_version_4_tells_of_the_volume(harness: Harness) -> None:
    result = folder(harness, 4, None)
    assert 0 < result.usable_bytes <= result.total_bytes
    assert folder(harness, 3, None).total_bytes == -1
