"""Reads partitions from given offsets on: one fetch in flight for each leader, the next one sent
before the records of the last are handed out.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.client.client import Client
from odradek.client.errors import ConnectError
from odradek.client.fetched_records import fetched_records
from odradek.client.offsets import Isolation, list_offsets
from odradek.core.errors import RETRIABLE, ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
)
from odradek.records.record import Record

# From version 13 on topics are named by their ids (KIP-516); this client speaks names.
_FETCH_CAP = 12
_BACKOFF_S = 0.1


class Fetched(NamedTuple):
    """What one partition answered at ``offset``: reading goes on at ``next_offset``,
    ``high_watermark`` is its end now. There are no ``records`` where only markers, aborted records or
    what compaction took away was passed over.
    """

    partition: TopicPartition
    offset: int
    records: list[Record]
    next_offset: int
    high_watermark: int


class Fetcher:
    """Reads ``positions``; :meth:`poll` gives what has come.

    ``reset`` says what happens at an offset that is not there: None raises OFFSET_OUT_OF_RANGE, a
    timestamp or ``offsets.EARLIEST`` / ``LATEST`` goes on from there. With ``isolation`` READ_COMMITTED,
    reading stops before the first open transaction and leaves out what was aborted.
    """

    def __init__(
        self,
        client: Client,
        positions: Mapping[TopicPartition, int],
        *,
        reset: int | None = None,
        isolation: Isolation = Isolation.READ_UNCOMMITTED,
        max_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._client = client
        self._positions = dict(positions)
        self._reset = reset
        self._isolation = isolation
        self._max_bytes = max_bytes
        self._in_flight: dict[int, asyncio.Task[list[Fetched]]] = {}

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """The next offset to fetch of each partition."""
        return self._positions

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these instead; what is in flight for others is dropped."""
        self._positions = dict(positions)

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Stop reading ``partitions``."""
        for partition in partitions:
            self._positions.pop(partition, None)

    def close(self) -> None:
        """Drop what is in flight."""
        for task in self._in_flight.values():
            task.cancel()
        self._in_flight.clear()

    async def poll(self, max_wait_ms: int) -> list[Fetched]:
        """What came next, waiting at most about ``max_wait_ms`` for it; empty when nothing did.

        Raises ``ApiError`` and :class:`ConnectError` when a partition cannot be read any more.
        """
        await self._send(max_wait_ms)
        if not self._in_flight:
            await asyncio.sleep(max_wait_ms / 1000)
            return []
        await asyncio.wait(
            self._in_flight.values(), timeout=max_wait_ms / 1000, return_when=asyncio.FIRST_COMPLETED
        )
        fetched: list[Fetched] = []
        for node_id, task in list(self._in_flight.items()):
            if task.done():
                del self._in_flight[node_id]
                fetched += await task
        result = []
        for item in fetched:
            if self._positions.get(item.partition) == item.offset:
                self._positions[item.partition] = item.next_offset
                result.append(item)
        await self._send(max_wait_ms)
        return result

    async def _send(self, max_wait_ms: int) -> None:
        async def group() -> dict[int, list[TopicPartition]]:
            return await self._client.by_leader(self._positions)

        for node_id, partitions in (await self._client.retrying(group)).items():
            if node_id not in self._in_flight:
                positions = {key: self._positions[key] for key in partitions}
                task = asyncio.create_task(self._fetch(node_id, positions, max_wait_ms))
                self._in_flight[node_id] = task

    async def _fetch(
        self, node_id: int, positions: Mapping[TopicPartition, int], max_wait_ms: int
    ) -> list[Fetched]:
        by_topic: dict[str, list[FetchPartition]] = {}
        for (topic, partition), offset in positions.items():
            asked = FetchPartition(
                partition=partition, fetch_offset=offset, partition_max_bytes=self._max_bytes
            )
            by_topic.setdefault(topic, []).append(asked)
        request = FetchRequest(
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            max_bytes=2 * self._max_bytes,
            isolation_level=self._isolation,
            topics=[FetchTopic(topic=name, partitions=asked) for name, asked in by_topic.items()],
            forgotten_topics_data=[],
        )
        try:
            connection = await self._client.broker(node_id)
            response = await connection.call(
                request, FetchResponse, cap=_FETCH_CAP, timeout_ms=max_wait_ms + self._client.timeout_ms
            )
        except ConnectError as error:
            self._client.on_retry(error)
            self._client.forget_leaders(positions)
            await asyncio.sleep(_BACKOFF_S)
            await self._client.retrying(self._client.any_broker)
            return []
        return await self._read(response, positions)

    async def _read(self, response: FetchResponse, positions: Mapping[TopicPartition, int]) -> list[Fetched]:
        if response.error_code:
            raise ApiError(ErrorCode(response.error_code), "fetch refused")
        fetched = []
        failed: dict[TopicPartition, ErrorCode] = {}
        for topic in response.responses:
            for answer in topic.partitions:
                key = TopicPartition(topic.topic, answer.partition_index)
                if answer.error_code:
                    failed[key] = ErrorCode(answer.error_code)
                    continue
                assert isinstance(answer.records, memoryview | None)
                aborted = [(one.producer_id, one.first_offset) for one in answer.aborted_transactions or ()]
                records, next_offset = fetched_records(answer.records, positions[key], aborted)
                if next_offset != positions[key]:
                    fetched.append(Fetched(key, positions[key], records, next_offset, answer.high_watermark))
        for key, code in failed.items():
            if code is ErrorCode.OFFSET_OUT_OF_RANGE and self._reset is not None:
                found = await list_offsets(self._client, {key: self._reset}, self._isolation)
                fetched.append(Fetched(key, positions[key], [], found[key].offset, -1))
            elif code in RETRIABLE:
                if code is not ErrorCode.KAFKA_STORAGE_ERROR:  # of which the search for its leader tells more
                    self._client.on_retry(ApiError(code, f"{key} cannot be read now"))
                self._client.forget_leaders([key])
                await asyncio.sleep(_BACKOFF_S)
            else:
                raise ApiError(code, f"cannot read {key} at offset {positions[key]}")
        return fetched
