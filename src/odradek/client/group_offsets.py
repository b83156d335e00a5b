"""How far a group is: reading and setting its committed offsets."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.client.client import Client
from odradek.client.groups import by_topic, check_group
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition

# From version 10 on, offsets are asked for and committed under topic ids (KIP-848); this client speaks names.
_OFFSETS_CAP = 9


class CommittedOffset(NamedTuple):
    """How far a group is in one partition: the offset it reads next, and what it noted beside it."""

    offset: int
    leader_epoch: int
    metadata: str


async def fetch_offsets(
    client: Client, group: str, partitions: Iterable[TopicPartition] | None = None
) -> dict[TopicPartition, CommittedOffset]:
    """The committed offsets of ``group`` (``partitions`` None: all); partitions without one are left out."""
    from odradek.protocol.generated.offset_fetch import (
        OffsetFetchRequest,
        OffsetFetchRequestGroup,
        OffsetFetchRequestTopics,
        OffsetFetchResponse,
    )

    topics = None
    if partitions is not None:
        topics = [
            OffsetFetchRequestTopics(name=topic, partition_indexes=indexes)
            for topic, indexes in by_topic(partitions).items()
        ]
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group, topics=topics)])

    async def ask() -> dict[TopicPartition, CommittedOffset]:
        connection = await client.coordinator(group)
        response = await connection.call(
            request, OffsetFetchResponse, cap=_OFFSETS_CAP, timeout_ms=client.timeout_ms
        )
        answer = response.groups[0]
        check_group(client, group, answer.error_code)
        committed = {}
        for topic in answer.topics:
            for found in topic.partitions:
                key = TopicPartition(topic.name, found.partition_index)
                if found.error_code:
                    raise ApiError(ErrorCode(found.error_code), f"offset of {key}")
                if found.committed_offset >= 0:
                    committed[key] = CommittedOffset(
                        found.committed_offset, found.committed_leader_epoch, found.metadata or ""
                    )
        return committed

    return await client.retrying(ask)


async def commit_offsets(
    client: Client,
    group: str,
    offsets: Mapping[TopicPartition, int],
    *,
    member_id: str = "",
    generation: int = -1,
    instance_id: str | None = None,
) -> None:
    """Set how far ``group`` is; raises ``ApiError`` for the first partition that is refused.

    Without a member the group must be empty, else UNKNOWN_MEMBER_ID is raised.
    """
    from odradek.protocol.generated.offset_commit import (
        OffsetCommitRequest,
        OffsetCommitRequestPartition,
        OffsetCommitRequestTopic,
        OffsetCommitResponse,
    )

    asked: dict[str, list[OffsetCommitRequestPartition]] = {}
    for (topic, partition), offset in offsets.items():
        commit = OffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_metadata=""
        )
        asked.setdefault(topic, []).append(commit)
    request = OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member_id,
        group_instance_id=instance_id,
        topics=[OffsetCommitRequestTopic(name=name, partitions=commits) for name, commits in asked.items()],
    )

    async def ask() -> None:
        connection = await client.coordinator(group)
        response = await connection.call(
            request, OffsetCommitResponse, cap=_OFFSETS_CAP, timeout_ms=client.timeout_ms
        )
        for topic in response.topics:
            for partition in topic.partitions:
                check_group(client, group, partition.error_code)

    await client.retrying(ask)
