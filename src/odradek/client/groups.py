"""Groups seen from outside: which there are, who is in them, how far they are, and moving them."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.client.client import Client
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.consumer_protocol import ConsumerProtocolAssignment

# From version 10 on, offsets are asked for and committed under topic ids (KIP-848); this client speaks names.
_OFFSETS_CAP = 9
_CONSUMER_GROUP_DESCRIBE = 69


class GroupListing(NamedTuple):
    """A line of the list of groups; ``type`` is classic, consumer or share."""

    group: str
    state: str
    type: str
    protocol_type: str


class GroupMemberInfo(NamedTuple):
    """A member and the partitions it reads."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    assignment: list[TopicPartition]


class GroupInfo(NamedTuple):
    """A group, with its coordinator's node id; ``assignor`` is empty while it has no members."""

    group: str
    state: str
    type: str
    protocol_type: str
    assignor: str
    coordinator: int
    members: list[GroupMemberInfo]


class CommittedOffset(NamedTuple):
    """How far a group is in one partition: the offset it reads next, and what it noted beside it."""

    offset: int
    leader_epoch: int
    metadata: str


async def list_groups(client: Client) -> list[GroupListing]:
    """Every group of every broker, by name."""
    from odradek.protocol.generated.list_groups import ListGroupsRequest, ListGroupsResponse

    async def ask(node_id: int) -> list[GroupListing]:
        connection = await client.broker(node_id)
        request = ListGroupsRequest(states_filter=[], types_filter=[])
        response = await connection.call(request, ListGroupsResponse, timeout_ms=client.timeout_ms)
        _check(response.error_code, None, "groups")
        return [
            GroupListing(
                group.group_id, group.group_state, group.group_type or "classic", group.protocol_type
            )
            for group in response.groups
        ]

    async def ask_all() -> list[GroupListing]:
        brokers = (await client.cluster([])).brokers
        answers = await asyncio.gather(*map(ask, brokers))
        return sorted(listing for answer in answers for listing in answer)

    return await client.retrying(ask_all)


async def describe_group(client: Client, group: str) -> GroupInfo:
    """One group; raises ``ApiError`` (GROUP_ID_NOT_FOUND) when there is none of that name.

    Brokers older than Kafka 4.0 describe a missing group as dead; so does this for them.
    """
    from odradek.protocol.generated.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse

    async def ask() -> GroupInfo:
        connection = await client.coordinator(group)
        request = DescribeGroupsRequest(groups=[group])
        response = await connection.call(request, DescribeGroupsResponse, timeout_ms=client.timeout_ms)
        found = response.groups[0]
        if (
            found.error_code == ErrorCode.GROUP_ID_NOT_FOUND
            and _CONSUMER_GROUP_DESCRIBE in connection.versions
        ):
            return await _describe_consumer_group(client, group)
        _check_group(client, group, found.error_code)
        members = [
            GroupMemberInfo(
                member.member_id,
                member.group_instance_id,
                member.client_id,
                member.client_host,
                decode_assignment(member.member_assignment or b"")
                if found.protocol_type == "consumer"
                else [],
            )
            for member in found.members
        ]
        coordinator = await client.coordinator_id(group)
        return GroupInfo(
            group,
            found.group_state,
            "classic",
            found.protocol_type,
            found.protocol_data,
            coordinator,
            members,
        )

    return await client.retrying(ask)


async def _describe_consumer_group(client: Client, group: str) -> GroupInfo:
    """The same for a group of KIP-848's protocol."""
    from odradek.protocol.generated.consumer_group_describe import (
        ConsumerGroupDescribeRequest,
        ConsumerGroupDescribeResponse,
    )

    connection = await client.coordinator(group)
    request = ConsumerGroupDescribeRequest(group_ids=[group])
    response = await connection.call(request, ConsumerGroupDescribeResponse, timeout_ms=client.timeout_ms)
    found = response.groups[0]
    _check_group(client, group, found.error_code)
    members = [
        GroupMemberInfo(
            member.member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            [
                TopicPartition(topic.topic_name, partition)
                for topic in member.assignment.topic_partitions
                for partition in topic.partitions
            ],
        )
        for member in found.members
    ]
    coordinator = await client.coordinator_id(group)
    return GroupInfo(
        group, found.group_state, "consumer", "consumer", found.assignor_name, coordinator, members
    )


async def delete_group(client: Client, group: str) -> None:
    """Forget an empty group and its offsets; raises ``ApiError`` (NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND)."""
    from odradek.protocol.generated.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse

    async def ask() -> None:
        connection = await client.coordinator(group)
        request = DeleteGroupsRequest(groups_names=[group])
        response = await connection.call(request, DeleteGroupsResponse, timeout_ms=client.timeout_ms)
        _check_group(client, group, response.results[0].error_code)

    await client.retrying(ask)


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
            for topic, indexes in _by_topic(partitions).items()
        ]
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group, topics=topics)])

    async def ask() -> dict[TopicPartition, CommittedOffset]:
        connection = await client.coordinator(group)
        response = await connection.call(
            request, OffsetFetchResponse, cap=_OFFSETS_CAP, timeout_ms=client.timeout_ms
        )
        answer = response.groups[0]
        _check_group(client, group, answer.error_code)
        committed = {}
        for topic in answer.topics:
            for found in topic.partitions:
                key = TopicPartition(topic.name, found.partition_index)
                _check(found.error_code, None, f"offset of {key}")
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

    by_topic: dict[str, list[OffsetCommitRequestPartition]] = {}
    for (topic, partition), offset in offsets.items():
        asked = OffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_metadata=""
        )
        by_topic.setdefault(topic, []).append(asked)
    request = OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member_id,
        group_instance_id=instance_id,
        topics=[OffsetCommitRequestTopic(name=name, partitions=asked) for name, asked in by_topic.items()],
    )

    async def ask() -> None:
        connection = await client.coordinator(group)
        response = await connection.call(
            request, OffsetCommitResponse, cap=_OFFSETS_CAP, timeout_ms=client.timeout_ms
        )
        for topic in response.topics:
            for partition in topic.partitions:
                _check_group(client, group, partition.error_code)

    await client.retrying(ask)


def decode_assignment(data: bytes) -> list[TopicPartition]:
    """The partitions in a member's assignment of the classic consumer protocol; none when it is empty."""
    if len(data) < 2:
        return []
    version = int.from_bytes(data[:2], "big", signed=True)
    highest = min(version, ConsumerProtocolAssignment.HIGHEST_VERSION)
    assignment, _ = ConsumerProtocolAssignment.decode(memoryview(data), 2, highest)
    return [
        TopicPartition(topic.topic, partition)
        for topic in assignment.assigned_partitions
        for partition in topic.partitions
    ]


def encode_assignment(partitions: Iterable[TopicPartition]) -> bytes:
    """The inverse of :func:`decode_assignment`, in version 0, which every member reads."""
    from odradek.protocol.generated.consumer_protocol import ConsumerProtocolAssignmentTopicPartition

    topics = [
        ConsumerProtocolAssignmentTopicPartition(topic=topic, partitions=indexes)
        for topic, indexes in _by_topic(partitions).items()
    ]
    parts: list[bytes] = [bytes(2)]
    ConsumerProtocolAssignment(assigned_partitions=topics).encode(parts, 0)
    return b"".join(parts)


def _by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for topic, partition in partitions:
        grouped.setdefault(topic, []).append(partition)
    return grouped


def _check(error_code: int, message: str | None, what: str) -> None:
    if error_code:
        raise ApiError(ErrorCode(error_code), message or what)


def _check_group(client: Client, group: str, error_code: int) -> None:
    if error_code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE):
        client.forget_coordinator(group)
    is_missing = error_code == ErrorCode.GROUP_ID_NOT_FOUND
    _check(error_code, None, f"there is no group {group}" if is_missing else f"group {group}")
