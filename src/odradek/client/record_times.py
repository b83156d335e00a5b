"""When the records at given offsets were written: for offsets that lie in the past, like a group's.

Kafka has no API for it, so one batch of each partition is fetched.
"""

import asyncio
from collections.abc import Mapping

from odradek.client.client import Client
from odradek.client.fetched_records import fetched_records
from odradek.client.offsets import EARLIEST, list_offsets
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic

# From version 13 on topics are named by their ids (KIP-516); this client speaks names.
_FETCH_CAP = 12
_AT_ONCE = 32
_MOST_BATCHES = 8
"""Batches without a record at or after the offset (compacted away, or markers) that are passed over."""


async def record_times(client: Client, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """The timestamp (ms) of the first record at or after each offset that must be below the end.

    An offset before the start of its log counts as the start. Partitions without an answer, and those that
    the user may only describe, are left out. Raises ``ApiError`` when a partition cannot be read, after
    retries.
    """
    limit = asyncio.Semaphore(_AT_ONCE)

    async def ask(key: TopicPartition, offset: int) -> int | None:
        try:
            async with limit:
                return await client.retrying(lambda: _time_at(client, key, offset))
        except ApiError as error:
            if error.code is not ErrorCode.TOPIC_AUTHORIZATION_FAILED:
                raise
            return None

    times = await asyncio.gather(*(ask(key, offset) for key, offset in positions.items()))
    return {key: time for key, time in zip(positions, times, strict=True) if time is not None}


async def _time_at(client: Client, key: TopicPartition, offset: int) -> int | None:
    for _ in range(_MOST_BATCHES):
        found = await _fetch_one(client, key, offset)
        if found is None:
            offset = (await list_offsets(client, {key: EARLIEST}))[key].offset
            continue
        records, next_offset = fetched_records(found, offset)
        if records:
            return records[0].timestamp
        if next_offset == offset:
            return None
        offset = next_offset
    return None


async def _fetch_one(client: Client, key: TopicPartition, offset: int) -> memoryview | None:
    """The batch at ``offset``, which comes whole however small the limits; ``None``: out of range."""
    partition = FetchPartition(partition=key.partition, fetch_offset=offset, partition_max_bytes=1)
    request = FetchRequest(
        min_bytes=1,
        max_bytes=1,
        topics=[FetchTopic(topic=key.topic, partitions=[partition])],
        forgotten_topics_data=[],
    )
    connection = await client.broker(await client.leader(key))
    response = await connection.call(request, FetchResponse, cap=_FETCH_CAP, timeout_ms=client.timeout_ms)
    code = response.error_code
    records = None
    if not code:
        answer = response.responses[0].partitions[0]
        code, records = answer.error_code, answer.records
    if code == ErrorCode.OFFSET_OUT_OF_RANGE:
        return None
    if code:
        client.forget_leaders([key])
        raise ApiError(ErrorCode(code), f"cannot read {key} at offset {offset}")
    return records if isinstance(records, memoryview) else memoryview(b"")
