from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
)

from .harness import Harness
from .transaction_client import TOPIC, TransactionalProducer, create_topic


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1")
    create_topic(harness, 3)
    producer = TransactionalProducer(harness)
    producer.init()
    return producer


def batched(harness: Harness, *transactions: AddPartitionsToTxnTransaction, version: int = 5) -> Any:
    response = harness.call(AddPartitionsToTxnRequest(transactions=list(transactions)), version)
    return {
        result.transactional_id: [
            partition.partition_error_code
            for topic in result.topic_results
            for partition in topic.results_by_partition
        ]
        for result in response.results_by_transaction
    }


def transaction(
    producer: TransactionalProducer, *indexes: int, **fields: Any
) -> AddPartitionsToTxnTransaction:
    return AddPartitionsToTxnTransaction(
        **{
            "transactional_id": producer.transactional_id,
            "producer_id": producer.producer_id,
            "producer_epoch": producer.epoch,
            "verify_only": False,
            "topics": [AddPartitionsToTxnTopic(name=TOPIC, partitions=list(indexes))],
            **fields,
        }
    )


@pytest.mark.parametrize("version", range(4))
def test_every_version_of_clients(producer: TransactionalProducer, version: int) -> None:
    assert producer.add(0, 2, version=version) == [0, 0]
    assert [(topic.topic, topic.partitions) for topic in producer.describe().topics] == [(TOPIC, [0, 2])]


def test_it_is_answered_when_it_is_durable(producer: TransactionalProducer) -> None:
    harness = producer.harness
    first = harness.send(producer.add_request(0), 3)
    again = harness.send(producer.add_request(0), 3)
    assert not first.is_answered
    assert not again.is_answered
    harness.flush()
    assert first.is_answered
    assert again.is_answered


@pytest.mark.parametrize("version", range(4))
def test_all_or_none(producer: TransactionalProducer, version: int) -> None:
    assert producer.add(0, 7, 1, version=version) == [
        ErrorCode.OPERATION_NOT_ATTEMPTED,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.OPERATION_NOT_ATTEMPTED,
    ]
    assert producer.state == "Empty"


def test_internal_topics_are_not_for_clients(producer: TransactionalProducer) -> None:
    topics = [AddPartitionsToTxnTopic(name="__transaction_state", partitions=[0])]
    assert producer.add(v3_and_below_topics=topics) == [ErrorCode.TOPIC_AUTHORIZATION_FAILED]
    assert batched(producer.harness, transaction(producer, topics=topics)) == {"x": [0]}


@pytest.mark.parametrize(
    ("version", "code"), [(0, 47), (1, 47), (2, ErrorCode.PRODUCER_FENCED), (3, ErrorCode.PRODUCER_FENCED)]
)
def test_who_is_fenced(producer: TransactionalProducer, version: int, code: int) -> None:
    assert producer.add(0, version=version, v3_and_below_producer_epoch=5) == [code]
    mapping = [ErrorCode.INVALID_PRODUCER_ID_MAPPING]
    assert producer.add(0, version=version, v3_and_below_producer_id=77) == mapping
    assert producer.add(0, version=version, v3_and_below_transactional_id="nobody") == mapping
    assert producer.add(0, version=version, v3_and_below_transactional_id="") == [ErrorCode.INVALID_REQUEST]


@pytest.mark.parametrize("version", [4, 5])
def test_several_transactions_at_once(producer: TransactionalProducer, version: int) -> None:
    harness = producer.harness
    other = TransactionalProducer(harness, "y")
    other.init()
    first = [transaction(producer, 0), transaction(other, 1, verify_only=True)]
    assert batched(harness, *first, version=version) == {
        "x": [0],
        "y": [ErrorCode.TRANSACTION_ABORTABLE],
    }
    second = [
        transaction(producer, 0, 1, verify_only=True),
        transaction(other, 1, 9),
        transaction(other, 0, transactional_id="z"),
    ]
    assert batched(harness, *second, version=version) == {
        "x": [0, ErrorCode.TRANSACTION_ABORTABLE],
        "y": [ErrorCode.OPERATION_NOT_ATTEMPTED, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
        "z": [ErrorCode.INVALID_PRODUCER_ID_MAPPING],
    }
    assert batched(harness) == {}


def test_a_verification_waits_for_what_it_rests_on(producer: TransactionalProducer) -> None:
    harness = producer.harness
    harness.send(producer.add_request(0), 3)
    request = AddPartitionsToTxnRequest(transactions=[transaction(producer, 0, verify_only=True)])
    pending = harness.send(request, 5)
    assert not pending.is_answered
    harness.flush()
    response = pending.response()
    assert isinstance(response, AddPartitionsToTxnResponse)
    (topic,) = response.results_by_transaction[0].topic_results
    assert topic.results_by_partition[0].partition_error_code == 0
