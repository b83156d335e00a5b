"""One transaction, from the side of the producer that writes in it.

It speaks as clients before KIP-890 do, adding each partition before it is written to, which every broker
understands. Source: KIP-98.
"""

from odradek.client.client import Client, CoordinatorType
from odradek.client.transactions import check_transactional_id, init_producer
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition

_ADD_PARTITIONS_CAP = 3
"""From version 4 on, brokers ask for one another's clients."""
_END_CAP = 4
"""From version 5 on, ending a transaction gives the producer a new epoch."""


class Transaction:
    """:meth:`begin`, :meth:`add` each partition before writing to it, :meth:`end`.

    Beginning shuts out whoever had the transactional id before and aborts what was left open. The broker
    aborts the transaction when it is open for longer than ``timeout_ms``.
    """

    def __init__(self, client: Client, transactional_id: str, timeout_ms: int) -> None:
        self.transactional_id = transactional_id
        self.producer_id = -1
        self.producer_epoch = -1
        self._client = client
        self._timeout_ms = timeout_ms
        self._partitions: set[TopicPartition] = set()

    async def begin(self) -> None:
        """Get a producer id and epoch; raises ``ApiError``."""
        self.producer_id, self.producer_epoch = await init_producer(
            self._client, self.transactional_id, self._timeout_ms
        )

    async def add(self, partition: TopicPartition) -> None:
        """Make ``partition`` part of the transaction; raises ``ApiError``."""
        if partition in self._partitions:
            return
        from odradek.protocol.generated.add_partitions_to_txn import (
            AddPartitionsToTxnRequest,
            AddPartitionsToTxnResponse,
            AddPartitionsToTxnTopic,
        )

        topic = AddPartitionsToTxnTopic(name=partition.topic, partitions=[partition.partition])
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=self.producer_id,
            v3_and_below_producer_epoch=self.producer_epoch,
            v3_and_below_topics=[topic],
        )

        async def ask() -> None:
            connection = await self._client.coordinator(self.transactional_id, CoordinatorType.TRANSACTION)
            response = await connection.call(
                request,
                AddPartitionsToTxnResponse,
                cap=_ADD_PARTITIONS_CAP,
                timeout_ms=self._client.timeout_ms,
            )
            answer = response.results_by_topic_v3_and_below[0].results_by_partition[0]
            self._check(answer.partition_error_code)

        await self._client.retrying(ask)
        self._partitions.add(partition)

    async def end(self, *, commit: bool) -> None:
        """Commit or abort, if anything was written; raises ``ApiError``."""
        if not self._partitions:
            return
        from odradek.protocol.generated.end_txn import EndTxnRequest, EndTxnResponse

        request = EndTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            committed=commit,
        )

        async def ask() -> None:
            connection = await self._client.coordinator(self.transactional_id, CoordinatorType.TRANSACTION)
            response = await connection.call(
                request, EndTxnResponse, cap=_END_CAP, timeout_ms=self._client.timeout_ms
            )
            self._check(response.error_code)

        await self._client.retrying(ask)
        self._partitions.clear()

    def _check(self, error_code: int) -> None:
        if error_code in (ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH):
            raise ApiError(
                ErrorCode(error_code),
                f"the transaction of {self.transactional_id} timed out, or another producer has taken the id",
            )
        check_transactional_id(self._client, self.transactional_id, error_code)
