from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_producers import DescribeProducersRequest, TopicRequest

from .harness import Harness
from .transaction_client import TransactionalProducer, create_topic


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1")
    create_topic(harness)
    producer = TransactionalProducer(harness)
    producer.init()
    return producer


def described(harness: Harness, topic: str = "t", index: int = 0) -> tuple[int, list[tuple[int, ...]]]:
    request = DescribeProducersRequest(topics=[TopicRequest(name=topic, partition_indexes=[index])])
    (partition,) = harness.call(request).topics[0].partitions
    return partition.error_code, [
        (
            one.producer_id,
            one.producer_epoch,
            one.last_sequence,
            one.coordinator_epoch,
            one.current_txn_start_offset,
        )
        for one in partition.active_producers
    ]


def test_open_and_ended_transactions(producer: TransactionalProducer) -> None:
    assert described(producer.harness) == (0, [])
    producer.produce(0, b"a", b"b")
    assert described(producer.harness) == (0, [(producer.producer_id, 0, 1, -1, 0)])
    producer.end()
    assert described(producer.harness) == (0, [(producer.producer_id, 1, -1, 0, -1)])
    producer.produce(0)
    assert described(producer.harness) == (0, [(producer.producer_id, 1, 0, 0, 3)])


def test_what_is_not_there(producer: TransactionalProducer) -> None:
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert described(producer.harness, "nobody") == (unknown, [])
    assert described(producer.harness, "t", 5) == (unknown, [])
    assert described(producer.harness, "a b") == (ErrorCode.INVALID_TOPIC_EXCEPTION, [])
