"""A producer for tools and tests: batches by partition, idempotent, one request in flight for each
partition.

While a request is in flight the next batch fills, so batches grow with the load and a lone record
goes out at once. Sources: KIP-98 (idempotence, transactions), KIP-480 (sticky partitions).
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from odradek.client.client import Client
from odradek.client.errors import ConnectError, UnsupportedError
from odradek.client.partitioner import StickyPartitions, partition_for_key
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.records.builder import build_batch
from odradek.records.record import Headers, Record

if TYPE_CHECKING:
    from odradek.client.transaction import Transaction

ACKS_ALL = -1
BATCH_BYTES = 512 * 1024
BUFFER_BYTES = 8 * 1024 * 1024

_RECORD_OVERHEAD_BYTES = 24
# From version 13 on topics are named by their ids (KIP-516); this client speaks names. Version 12 is for
# producers that leave it to the broker to add partitions to their transaction (KIP-890).
_PRODUCE_CAP = 12
_TRANSACTIONAL_PRODUCE_CAP = 11


class _Pending:
    """Records of one partition that have not been acknowledged yet."""

    __slots__ = ("batch_bytes", "records", "sequence", "sizes", "task")

    def __init__(self, batch_bytes: int) -> None:
        self.records: list[Record] = []
        self.sizes: list[int] = []
        self.batch_bytes = batch_bytes
        self.sequence = 0
        self.task: asyncio.Task[None] | None = None


class Producer:
    """Sends records to one topic. :meth:`flush` waits for all of them and raises what went wrong.

    ``acks`` is 0, 1 or -1 (all); ``compression`` a codec id of ``records/compression.py``. With a
    ``transaction``, which needs acks=all, :meth:`start` begins it; ending it is left to the caller.
    """

    def __init__(
        self,
        client: Client,
        topic: str,
        *,
        acks: int = ACKS_ALL,
        compression: int = 0,
        batch_bytes: int = BATCH_BYTES,
        transaction: "Transaction | None" = None,
    ) -> None:
        self.acknowledged = 0
        """Records that the broker has taken (with acks=0: that were sent)."""
        self._client = client
        self._topic = topic
        self._acks = acks
        self._compression = compression
        self._batch_bytes = batch_bytes
        self._transaction = transaction
        self._partition_count = 0
        self._pending: dict[int, _Pending] = {}
        self._buffered = 0
        self._room = asyncio.Event()
        self._failure: Exception | None = None
        self._producer_id = -1
        self._producer_epoch = -1

    async def start(self, *, create_missing: bool = True) -> None:
        """Look the topic up (made by a broker that makes topics by itself) and get a producer id."""
        (topic,) = await self._client.topics([self._topic], create_missing=create_missing)
        self._partition_count = len(topic.partitions)
        self._sticky = StickyPartitions(self._partition_count, self._batch_bytes, time.monotonic_ns() // 1000)
        if self._transaction is not None:
            await self._transaction.begin()
            self._producer_id = self._transaction.producer_id
            self._producer_epoch = self._transaction.producer_epoch
        elif self._acks == ACKS_ALL:
            await self._init_producer_id()

    async def send(
        self,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Put one record into the next batch, waiting while too much is waiting already.

        ``timestamp`` is in milliseconds (None: now). Without ``partition`` the key decides. Raises the first
        failure of any earlier record.
        """
        if self._failure is not None:
            raise self._failure
        size = _RECORD_OVERHEAD_BYTES + len(value or b"") + len(key or b"")
        for name, content in headers:
            size += len(name) + len(content or b"") + 2
        if partition is None:
            if key is None:
                partition = self._sticky.next_partition(size)
            else:
                partition = partition_for_key(key, self._partition_count)
        elif not 0 <= partition < self._partition_count:
            raise ApiError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                f"topic {self._topic} has {self._partition_count} partitions, there is no {partition}",
            )
        if timestamp is None:
            timestamp = time.time_ns() // 1_000_000
        pending = self._pending.get(partition)
        if pending is None:
            pending = self._pending[partition] = _Pending(self._batch_bytes)
        pending.records.append(Record(0, timestamp, key, value, headers))
        pending.sizes.append(size)
        self._buffered += size
        if pending.task is None:
            pending.task = asyncio.create_task(self._drain(partition, pending))
        while self._buffered > BUFFER_BYTES and self._failure is None:
            self._room.clear()
            await self._room.wait()

    async def flush(self) -> None:
        """Wait until everything is acknowledged; raises the first failure."""
        while tasks := [pending.task for pending in self._pending.values() if pending.task is not None]:
            await asyncio.gather(*tasks)
        if self._failure is not None:
            raise self._failure
        if self._acks == 0:
            # No answers come back; a request that is answered comes after everything that was sent before it.
            for partition in self._pending:
                leader = await self._client.leader(TopicPartition(self._topic, partition))
                await (await self._client.broker(leader)).round_trip()

    async def _init_producer_id(self) -> None:
        from odradek.protocol.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

        async def ask() -> None:
            connection = await self._client.any_broker()
            request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=2**31 - 1)
            try:
                response = await connection.call(request, InitProducerIdResponse, cap=5)
            except UnsupportedError:
                return
            if response.error_code:
                raise ApiError(ErrorCode(response.error_code), "cannot get a producer id")
            self._producer_id, self._producer_epoch = response.producer_id, response.producer_epoch

        await self._client.retrying(ask)

    async def _drain(self, partition: int, pending: _Pending) -> None:
        try:
            # What the caller adds before it next waits belongs into this batch.
            await asyncio.sleep(0)
            while pending.records and self._failure is None:
                count, size = _batch_end(pending.sizes, pending.batch_bytes)
                self._sticky.turn()
                try:
                    await self._send_batch(partition, pending, count)
                except ApiError as error:
                    if error.code is not ErrorCode.MESSAGE_TOO_LARGE or count == 1:
                        raise
                    pending.batch_bytes = size // 2
                    continue
                del pending.records[:count], pending.sizes[:count]
                pending.sequence = (pending.sequence + count) & 0x7FFFFFFF
                self.acknowledged += count
                self._buffered -= size
                self._room.set()
        except Exception as error:
            self._failure = self._failure or error
            self._room.set()
        finally:
            pending.task = None

    async def _send_batch(self, partition: int, pending: _Pending, count: int) -> None:
        if self._transaction is not None:
            await self._transaction.add(TopicPartition(self._topic, partition))
        batch = build_batch(
            pending.records[:count],
            producer_id=self._producer_id,
            producer_epoch=self._producer_epoch,
            base_sequence=pending.sequence if self._producer_id >= 0 else -1,
            compression=self._compression,
            transactional=self._transaction is not None,
        )
        data = PartitionProduceData(index=partition, records=memoryview(batch))
        request = ProduceRequest(
            transactional_id=self._transaction.transactional_id if self._transaction is not None else None,
            acks=self._acks,
            timeout_ms=self._client.timeout_ms,
            topic_data=[TopicProduceData(name=self._topic, partition_data=[data])],
        )
        await self._client.retrying(lambda: self._ask(partition, request))

    async def _ask(self, partition: int, request: ProduceRequest) -> None:
        key = TopicPartition(self._topic, partition)
        connection = await self._client.broker(await self._client.leader(key))
        if self._acks == 0:
            await connection.post(request, cap=_PRODUCE_CAP)
            return
        try:
            response = await connection.call(
                request,
                ProduceResponse,
                cap=_PRODUCE_CAP if self._transaction is None else _TRANSACTIONAL_PRODUCE_CAP,
                timeout_ms=self._client.timeout_ms,
            )
        except ConnectError:
            self._client.forget_leaders([key])
            raise
        answer: Any = response.responses[0].partition_responses[0]
        if answer.error_code in (ErrorCode.NONE, ErrorCode.DUPLICATE_SEQUENCE_NUMBER):
            return
        self._client.forget_leaders([key])
        message = answer.error_message
        if answer.record_errors:
            message = answer.record_errors[0].batch_index_error_message or message
        raise ApiError(ErrorCode(answer.error_code), f"{key} refused records: {message or 'no reason given'}")


def _batch_end(sizes: list[int], limit: int) -> tuple[int, int]:
    """How many of the first records fit ``limit`` bytes (at least one), and their size."""
    total = 0
    for count, size in enumerate(sizes):
        if count and total + size > limit:
            return count, total
        total += size
    return len(sizes), total
