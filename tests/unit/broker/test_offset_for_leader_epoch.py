from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.unit.broker.harness import Harness, batch


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    made.call(CreateTopicsRequest(topics=[CreatableTopic(name="t", num_partitions=1, replication_factor=1)]))
    return made


def produce(harness: Harness, *values: bytes) -> None:
    records = memoryview(batch(*values))
    data = TopicProduceData(name="t", partition_data=[PartitionProduceData(index=0, records=records)])
    harness.call(ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data]), 12)


def ask(
    harness: Harness, epoch: int, *, current: int = -1, name: str = "t", index: int = 0, version: int = 4
) -> tuple[int, int, int]:
    """(error, epoch, end offset)."""
    partition = OffsetForLeaderPartition(partition=index, current_leader_epoch=current, leader_epoch=epoch)
    topic = OffsetForLeaderTopic(topic=name, partitions=[partition])
    (result,) = harness.call(OffsetForLeaderEpochRequest(replica_id=-1, topics=[topic]), version).topics
    (found,) = result.partitions
    return found.error_code, found.leader_epoch, found.end_offset


@pytest.mark.parametrize("version", range(2, 5))
def test_every_version(harness: Harness, version: int) -> None:
    produce(harness, b"one", b"two")
    assert ask(harness, 0, version=version) == (0, 0, 2)


def test_an_epoch_without_records_ends_where_it_began(harness: Harness) -> None:
    assert ask(harness, 0, current=0) == (0, 0, 0)
    assert ask(harness, 9) == (0, -1, -1)
    assert ask(harness, -1) == (0, -1, -1)


def test_epochs_after_an_unclean_restart(harness: Harness) -> None:
    produce(harness, b"one")
    harness.broker.metadata.close()
    harness.broker.store.close(harness.clock.now_ms(), clean=False)
    harness.start()
    assert ask(harness, 1, current=1) == (0, 1, 1)
    produce(harness, b"two", b"three")
    assert ask(harness, 0, current=1) == (0, 0, 1)
    assert ask(harness, 1, current=1) == (0, 1, 3)
    assert ask(harness, 0, current=0) == (ErrorCode.FENCED_LEADER_EPOCH, -1, -1)


def test_refused(harness: Harness) -> None:
    assert ask(harness, 0, current=5) == (ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1)
    assert ask(harness, 0, name="nope") == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)
    assert ask(harness, 0, index=7) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)
