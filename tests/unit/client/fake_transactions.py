"""A transaction coordinator and producer states made of answers."""

from typing import Any

from odradek.client.transactions import ProducerInfo
from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated import describe_producers, describe_transactions, list_transactions
from odradek.protocol.generated.init_producer_id import InitProducerIdResponse
from odradek.protocol.generated.write_txn_markers import (
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
)

INIT_PRODUCER_ID, WRITE_TXN_MARKERS, DESCRIBE_PRODUCERS, DESCRIBE_TRANSACTIONS, LIST = 22, 27, 61, 65, 66


class FakeTransactions:
    """``busy`` InitProducerIds are answered CONCURRENT_TRANSACTIONS first; ids in ``forgotten`` are listed
    but cannot be described any more."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.transactions: dict[str, tuple[int, str, tuple[TopicPartition, ...]]] = {}
        self.producers: dict[TopicPartition, list[ProducerInfo]] = {}
        self.forgotten: set[str] = set()
        self.busy = 0
        self.ends_after_describe_producers = False
        self.answers = {
            INIT_PRODUCER_ID: self.init_producer_id,
            WRITE_TXN_MARKERS: self.write_txn_markers,
            DESCRIBE_PRODUCERS: self.describe_producers,
            DESCRIBE_TRANSACTIONS: self.describe_transactions,
            LIST: self.list_transactions,
        }

    def add(self, transactional_id: str, producer_id: int, state: str, *partitions: TopicPartition) -> None:
        self.transactions[transactional_id] = (producer_id, state, partitions)

    def write(self, partition: TopicPartition, producer_id: int, start_offset: int) -> None:
        """An open transaction of a producer that wrote last in second 1 and saw no marker yet."""
        self.producers.setdefault(partition, []).append(
            ProducerInfo(producer_id, 0, 0, 1_000, -1, start_offset)
        )

    def list_transactions(
        self, request: list_transactions.ListTransactionsRequest
    ) -> list_transactions.ListTransactionsResponse:
        self.requests.append(request)
        if request.transactional_id_pattern == "(":
            return list_transactions.ListTransactionsResponse(error_code=ErrorCode.INVALID_REGULAR_EXPRESSION)
        return list_transactions.ListTransactionsResponse(
            transaction_states=[
                list_transactions.TransactionState(
                    transactional_id=name, producer_id=producer_id, transaction_state=state
                )
                for name, (producer_id, state, _) in self.transactions.items()
                if state in (request.state_filters or [state])
                and producer_id in (request.producer_id_filters or [producer_id])
            ]
        )

    def describe_transactions(
        self, request: describe_transactions.DescribeTransactionsRequest
    ) -> describe_transactions.DescribeTransactionsResponse:
        self.requests.append(request)
        states = []
        for name in request.transactional_ids:
            if name not in self.transactions or name in self.forgotten:
                code = ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
                states.append(describe_transactions.TransactionState(transactional_id=name, error_code=code))
                continue
            producer_id, state, partitions = self.transactions[name]
            states.append(
                describe_transactions.TransactionState(
                    transactional_id=name,
                    transaction_state=state,
                    transaction_timeout_ms=60_000,
                    transaction_start_time_ms=1_000 if partitions else -1,
                    producer_id=producer_id,
                    topics=[
                        describe_transactions.TopicData(topic=key.topic, partitions=[key.partition])
                        for key in partitions
                    ],
                )
            )
        return describe_transactions.DescribeTransactionsResponse(transaction_states=states)

    def init_producer_id(self, request: Any) -> InitProducerIdResponse:
        self.requests.append(request)
        if self.busy:
            self.busy -= 1
            return InitProducerIdResponse(error_code=ErrorCode.CONCURRENT_TRANSACTIONS)
        return InitProducerIdResponse(producer_id=7, producer_epoch=1)

    def describe_producers(
        self, request: describe_producers.DescribeProducersRequest
    ) -> describe_producers.DescribeProducersResponse:
        self.requests.append(request)
        topics = []
        for topic in request.topics:
            partitions = [
                describe_producers.PartitionResponse(
                    partition_index=number,
                    active_producers=[
                        describe_producers.ProducerState(
                            producer_id=one.producer_id,
                            producer_epoch=one.producer_epoch,
                            last_sequence=one.last_sequence,
                            last_timestamp=one.last_timestamp,
                            coordinator_epoch=one.coordinator_epoch,
                            current_txn_start_offset=one.start_offset,
                        )
                        for one in self.producers.get(TopicPartition(topic.name, number), [])
                    ],
                )
                for number in topic.partition_indexes
            ]
            topics.append(describe_producers.TopicResponse(name=topic.name, partitions=partitions))
        if self.ends_after_describe_producers:
            self.producers.clear()
        return describe_producers.DescribeProducersResponse(topics=topics)

    def write_txn_markers(self, request: Any) -> WriteTxnMarkersResponse:
        self.requests.append(request)
        results = []
        for marker in request.markers:
            (topic,) = marker.topics
            (number,) = topic.partition_indexes
            key = TopicPartition(topic.name, number)
            left = [one for one in self.producers.get(key, []) if one.producer_id != marker.producer_id]
            is_known = len(left) < len(self.producers.get(key, []))
            self.producers[key] = left
            code = ErrorCode.NONE if is_known else ErrorCode.INVALID_PRODUCER_EPOCH
            partition = WritableTxnMarkerPartitionResult(partition_index=number, error_code=code)
            results.append(
                WritableTxnMarkerResult(
                    producer_id=marker.producer_id,
                    topics=[WritableTxnMarkerTopicResult(name=topic.name, partitions=[partition])],
                )
            )
        return WriteTxnMarkersResponse(markers=results)
