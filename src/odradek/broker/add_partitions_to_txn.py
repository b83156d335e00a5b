"""AddPartitionsToTxn: partitions take part in a transaction (KIP-98). All of them, or none.

v1 throttling, v2 PRODUCER_FENCED (KIP-588), v3 flexible, v4 several transactions, some of them only to be
verified, sent by brokers (KIP-890), v5 TRANSACTION_ABORTABLE for clients.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.broker.transactions import Outcomes, Told
from odradek.coordinator.step import Producer
from odradek.coordinator.transactions.transaction import VERSION_2, TopicPartitionKey
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.add_partitions_to_txn import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_FENCED_FROM = 2
_BATCHED_FROM = 4


def handle(
    broker: "Broker", request: AddPartitionsToTxnRequest, context: RequestContext
) -> Wait | AddPartitionsToTxnResponse:
    version = context.api_version
    if version < _BATCHED_FROM:
        return _of_a_client(broker, request, version)
    if not request.transactions:
        return AddPartitionsToTxnResponse(results_by_transaction=[])
    wait = Wait()
    results: list[AddPartitionsToTxnResult] = []

    def told(transaction: AddPartitionsToTxnTransaction) -> Callable[[Outcomes], None]:
        def then(outcomes: Outcomes) -> None:
            topics = _results(transaction.topics, outcomes)
            results.append(
                AddPartitionsToTxnResult(transactional_id=transaction.transactional_id, topic_results=topics)
            )
            if len(results) == len(request.transactions):
                wait.complete(AddPartitionsToTxnResponse(error_code=0, results_by_transaction=results))

        return then

    for transaction in request.transactions:
        _add(broker, transaction, version, told(transaction))
    return wait


def _of_a_client(broker: "Broker", request: AddPartitionsToTxnRequest, version: int) -> Wait:
    wait = Wait()
    transaction = AddPartitionsToTxnTransaction(
        transactional_id=request.v3_and_below_transactional_id,
        producer_id=request.v3_and_below_producer_id,
        producer_epoch=request.v3_and_below_producer_epoch,
        verify_only=False,
        topics=request.v3_and_below_topics,
    )

    def then(outcomes: Outcomes) -> None:
        if version < _FENCED_FROM:
            outcomes = {
                name: ErrorCode.INVALID_PRODUCER_EPOCH if code is ErrorCode.PRODUCER_FENCED else code
                for name, code in outcomes.items()
            }
        topics = _results(transaction.topics, outcomes)
        wait.complete(AddPartitionsToTxnResponse(results_by_topic_v3_and_below=topics))

    _add(broker, transaction, version, then)
    return wait


def _add(
    broker: "Broker",
    transaction: AddPartitionsToTxnTransaction,
    version: int,
    then: Callable[[Outcomes], None],
) -> None:
    wanted = frozenset((topic.name, index) for topic in transaction.topics for index in topic.partitions)
    refused = {name: code for name in wanted if (code := _refusal(broker, name, version))}
    if refused:
        then({name: refused.get(name, ErrorCode.OPERATION_NOT_ATTEMPTED) for name in wanted})
        return
    transactional_id = transaction.transactional_id
    producer = Producer(transaction.producer_id, transaction.producer_epoch)

    def told(code: ErrorCode) -> None:
        then(dict.fromkeys(wanted, code))

    try:
        if not transactional_id:
            raise ApiError(ErrorCode.INVALID_REQUEST)
        runner = broker.transactions.runner(transactional_id)
        if transaction.verify_only:
            verified = runner.shard.verify_partitions(transactional_id, producer, wanted)
            runner.when_settled(lambda code: told(code) if code else then(verified))
            return
        client_version = VERSION_2 if version >= _BATCHED_FROM else 0
        runner.perform(
            runner.shard.add_partitions(
                transactional_id,
                producer,
                wanted,
                client_version,
                Told(told),
                runner.now(),
                patience_ms=broker.transactions.patience_ms,
            )
        )
    except ApiError as error:
        told(error.code)


def _refusal(broker: "Broker", name: TopicPartitionKey, version: int) -> ErrorCode:
    topic = broker.topics.by_name.get(name[0])
    if topic is not None and topic.is_internal and version < _BATCHED_FROM:
        return ErrorCode.TOPIC_AUTHORIZATION_FAILED
    if topic is None or topic.partition(name[1]) is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return ErrorCode.NONE


def _results(
    topics: list[AddPartitionsToTxnTopic], outcomes: Outcomes
) -> list[AddPartitionsToTxnTopicResult]:
    return [
        AddPartitionsToTxnTopicResult(
            name=topic.name,
            results_by_partition=[
                AddPartitionsToTxnPartitionResult(
                    partition_index=index, partition_error_code=outcomes[topic.name, index]
                )
                for index in topic.partitions
            ],
        )
        for topic in topics
    ]


def refuse(
    request: AddPartitionsToTxnRequest, code: ErrorCode, message: str | None
) -> AddPartitionsToTxnResponse:
    """``code`` for every partition (up to v3), at the top (from v4)."""
    topics = request.v3_and_below_topics
    outcomes = {(topic.name, index): code for topic in topics for index in topic.partitions}
    return AddPartitionsToTxnResponse(
        error_code=code, results_by_topic_v3_and_below=_results(topics, outcomes)
    )
