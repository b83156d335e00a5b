"""Where partitions begin and end, and which offset a time has (ListOffsets)."""

import asyncio
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from odradek.client.client import Client
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3


class Isolation(IntEnum):
    """What a reader wants to see of transactions. Source: ``org.apache.kafka.common.IsolationLevel``."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


class FoundOffset(NamedTuple):
    """An offset and the timestamp of its record; both -1 when no record is that young."""

    offset: int
    timestamp: int
    leader_epoch: int


async def list_offsets(
    client: Client,
    timestamps: Mapping[TopicPartition, int],
    isolation: Isolation = Isolation.READ_UNCOMMITTED,
) -> dict[TopicPartition, FoundOffset]:
    """The offset of each partition for its timestamp (ms) or :data:`EARLIEST`, :data:`LATEST`,
    :data:`MAX_TIMESTAMP`. For READ_COMMITTED the latest is the last stable offset.

    Raises ``ApiError`` when a partition cannot answer, after retries.
    """

    async def ask() -> dict[TopicPartition, FoundOffset]:
        grouped = await client.by_leader(timestamps)
        answers = await asyncio.gather(
            *(
                _ask_leader(client, node, {key: timestamps[key] for key in keys}, isolation)
                for node, keys in grouped.items()
            )
        )
        return {key: found for answer in answers for key, found in answer.items()}

    return await client.retrying(ask)


async def _ask_leader(
    client: Client, node_id: int, timestamps: Mapping[TopicPartition, int], isolation: Isolation
) -> dict[TopicPartition, FoundOffset]:
    by_topic: dict[str, list[ListOffsetsPartition]] = {}
    for (topic, partition), timestamp in timestamps.items():
        asked = ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
        by_topic.setdefault(topic, []).append(asked)
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=isolation,
        topics=[ListOffsetsTopic(name=name, partitions=asked) for name, asked in by_topic.items()],
        timeout_ms=client.timeout_ms,
    )
    connection = await client.broker(node_id)
    response = await connection.call(request, ListOffsetsResponse, timeout_ms=client.timeout_ms)
    found = {}
    for answer in response.topics:
        for one in answer.partitions:
            key = TopicPartition(answer.name, one.partition_index)
            if one.error_code:
                client.forget_leaders([key])
                raise ApiError(ErrorCode(one.error_code), f"cannot ask {key} for its offsets")
            found[key] = FoundOffset(one.offset, one.timestamp, one.leader_epoch)
    return found
