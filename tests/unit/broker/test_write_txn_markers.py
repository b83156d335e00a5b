from pathlib import Path
from typing import Any

import pytest

from odradek.broker.transactions import Told
from odradek.coordinator.step import ReplyWhenDurable, Step
from odradek.coordinator.transactions import records
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)

from .harness import Harness
from .transaction_client import TransactionalProducer, committed_offset, create_topic, fetch, read


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1", offsets_topic_num_partitions="1")
    create_topic(harness)
    harness.call(FindCoordinatorRequest(coordinator_keys=["g"]), 6)
    producer = TransactionalProducer(harness)
    producer.init()
    producer.init()
    return producer


def mark(
    producer: TransactionalProducer, committed: bool, topic: str = "t", version: int = 2, **fields: Any
) -> int:
    """The error code of a marker for partition 0, or another one."""
    partition = fields.pop("partition", 0)
    marker = WritableTxnMarker(
        **{
            "producer_id": producer.producer_id,
            "producer_epoch": producer.epoch,
            "transaction_result": committed,
            "topics": [WritableTxnMarkerTopic(name=topic, partition_indexes=[partition])],
            "coordinator_epoch": 0,
            **fields,
        }
    )
    response = producer.harness.call(WriteTxnMarkersRequest(markers=[marker]), version)
    assert response.markers[0].producer_id == producer.producer_id
    return int(response.markers[0].topics[0].partitions[0].error_code)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("committed", [True, False])
def test_a_transaction_is_ended_in_one_partition(
    producer: TransactionalProducer, version: int, committed: bool
) -> None:
    producer.produce(0, b"a")
    assert mark(producer, committed, version=version) == 0
    assert read(producer.harness) == ([b"a"] if committed else [])
    assert producer.state == "Ongoing"


def test_offsets_are_ended_too(producer: TransactionalProducer) -> None:
    producer.commit_offset(7)
    assert mark(producer, True, "__consumer_offsets") == 0
    assert committed_offset(producer.harness, stable=True) == (0, 7)


def test_what_is_refused(producer: TransactionalProducer) -> None:
    producer.produce(0)
    assert mark(producer, True, partition=5) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert mark(producer, True, topic="nobody") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert mark(producer, True, producer_epoch=producer.epoch - 1) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert mark(producer, True, transaction_version=2) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert fetch(producer.harness).last_stable_offset == 0
    assert mark(producer, True, coordinator_epoch=4) == 0
    assert mark(producer, True, coordinator_epoch=3) == ErrorCode.TRANSACTION_COORDINATOR_FENCED


def test_it_is_answered_when_it_is_durable(producer: TransactionalProducer) -> None:
    producer.produce(0)
    marker = WritableTxnMarker(
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        transaction_result=True,
        topics=[WritableTxnMarkerTopic(name="t", partition_indexes=[0])],
        coordinator_epoch=0,
    )
    pending = producer.harness.send(WriteTxnMarkersRequest(markers=[marker]), 1)
    assert not pending.is_answered
    producer.harness.flush()
    assert pending.is_answered


def test_nothing_asked_nothing_answered(producer: TransactionalProducer) -> None:
    assert producer.harness.call(WriteTxnMarkersRequest(markers=[]), 1).markers == []


def test_a_marker_among_the_records_of_the_transactions_themselves(
    producer: TransactionalProducer,
) -> None:
    """What the coordinator writes behind it is where it is, not where it was to be without the marker."""
    broker = producer.harness.broker
    assert mark(producer, True, topic="__transaction_state") == 0
    places: list[int] = []
    step = Step()
    step.records = [(records.key("gone"), None), (records.key("gone, too"), None)]
    step.is_atomic = False
    step.write = ReplyWhenDurable(Told(lambda _: None), None, places.append, lambda code: None)
    runner = broker.transactions.runner_of(0)
    runner.perform(step)
    assert places == [runner.partition.log.log_end_offset - 2]
