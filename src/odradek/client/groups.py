"""Groups seen from outside: which there are, and who is in them."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from odradek.client.client import Client
from odradek.core.errors import ApiError, ErrorCode, PeerError
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)

_CONSUMER_GROUP_DESCRIBE = 69
_MEMBER_TYPES = {0: "classic", 1: "consumer"}


class GroupListing(NamedTuple):
    """A line of the list of groups; ``type`` is classic, consumer, share or streams."""

    group: str
    state: str
    type: str
    protocol_type: str


class GroupMemberInfo(NamedTuple):
    """A member and the partitions it reads.

    ``protocol`` is how it speaks to the coordinator: classic or consumer, or empty where that is not told.
    ``epoch`` and ``target``, the partitions that it is to have, exist in consumer groups only.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    assignment: list[TopicPartition]
    rack: str | None
    protocol: str
    epoch: int | None
    topics: list[str]
    """What it subscribes to by name."""
    topic_regex: str | None
    target: list[TopicPartition] | None


class GroupInfo(NamedTuple):
    """A group, with its coordinator's node id; ``assignor`` is empty while it has no members.

    Consumer groups (KIP-848) have epochs: ``epoch`` grows with each change of members, subscriptions or
    topics, and ``assignment_epoch`` is that of the newest target assignment.
    """

    group: str
    state: str
    type: str
    protocol_type: str
    assignor: str
    coordinator: int
    members: list[GroupMemberInfo]
    epoch: int | None
    assignment_epoch: int | None


async def list_groups(
    client: Client, states: Iterable[str] = (), types: Iterable[str] = ()
) -> list[GroupListing]:
    """The groups of every broker, by name; if any are given, only those of ``states`` and ``types``."""
    from odradek.protocol.generated.list_groups import ListGroupsRequest, ListGroupsResponse

    async def ask(node_id: int) -> list[GroupListing]:
        connection = await client.broker(node_id)
        request = ListGroupsRequest(states_filter=list(states), types_filter=list(types))
        response = await connection.call(request, ListGroupsResponse, timeout_ms=client.timeout_ms)
        if response.error_code:
            raise ApiError(ErrorCode(response.error_code), "groups")
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

    async def ask() -> GroupInfo:
        connection = await client.coordinator(group)
        if _CONSUMER_GROUP_DESCRIBE in connection.versions:
            found = await _describe_consumer_group(client, group)
            if found is not None:
                return found
        return await _describe_classic_group(client, group)

    return await client.retrying(ask)


async def _describe_classic_group(client: Client, group: str) -> GroupInfo:
    from odradek.protocol.generated.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse

    connection = await client.coordinator(group)
    request = DescribeGroupsRequest(groups=[group])
    response = await connection.call(request, DescribeGroupsResponse, timeout_ms=client.timeout_ms)
    found = response.groups[0]
    check_group(client, group, found.error_code)
    is_consumer = found.protocol_type == "consumer"
    members = [
        GroupMemberInfo(
            member.member_id,
            member.group_instance_id,
            member.client_id,
            member.client_host,
            decode_assignment(member.member_assignment or b"") if is_consumer else [],
            None,
            "classic",
            None,
            _subscribed_topics(member.member_metadata or b"") if is_consumer else [],
            None,
            None,
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
        None,
        None,
    )


async def _describe_consumer_group(client: Client, group: str) -> GroupInfo | None:
    """The same for a group of KIP-848's protocol; ``None`` when ``group`` is not one."""
    from odradek.protocol.generated.consumer_group_describe import (
        Assignment,
        ConsumerGroupDescribeRequest,
        ConsumerGroupDescribeResponse,
    )

    def partitions(assignment: Assignment) -> list[TopicPartition]:
        return [
            TopicPartition(topic.topic_name, partition)
            for topic in assignment.topic_partitions
            for partition in topic.partitions
        ]

    connection = await client.coordinator(group)
    request = ConsumerGroupDescribeRequest(group_ids=[group])
    response = await connection.call(request, ConsumerGroupDescribeResponse, timeout_ms=client.timeout_ms)
    found = response.groups[0]
    if found.error_code in (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION):
        return None
    check_group(client, group, found.error_code)
    members = [
        GroupMemberInfo(
            member.member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            partitions(member.assignment),
            member.rack_id,
            _MEMBER_TYPES.get(member.member_type, ""),
            member.member_epoch,
            member.subscribed_topic_names,
            member.subscribed_topic_regex or None,
            partitions(member.target_assignment),
        )
        for member in found.members
    ]
    return GroupInfo(
        group,
        found.group_state,
        "consumer",
        "consumer",
        found.assignor_name,
        await client.coordinator_id(group),
        members,
        found.group_epoch,
        found.assignment_epoch,
    )


async def delete_group(client: Client, group: str) -> None:
    """Forget an empty group and its offsets; raises ``ApiError`` (NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND)."""
    from odradek.protocol.generated.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse

    async def ask() -> None:
        connection = await client.coordinator(group)
        request = DeleteGroupsRequest(groups_names=[group])
        response = await connection.call(request, DeleteGroupsResponse, timeout_ms=client.timeout_ms)
        check_group(client, group, response.results[0].error_code)

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
        for topic, indexes in by_topic(partitions).items()
    ]
    parts: list[bytes] = [bytes(2)]
    ConsumerProtocolAssignment(assigned_partitions=topics).encode(parts, 0)
    return b"".join(parts)


def _subscribed_topics(data: bytes) -> list[str]:
    """The topics in a member's metadata of the classic consumer protocol; none when it cannot be read."""
    if len(data) < 2:
        return []
    highest = min(int.from_bytes(data[:2], "big", signed=True), ConsumerProtocolSubscription.HIGHEST_VERSION)
    try:
        subscription, _ = ConsumerProtocolSubscription.decode(memoryview(data), 2, highest)
    except PeerError:
        return []
    return list(subscription.topics)


def by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    """Partition numbers under the names of their topics."""
    grouped: dict[str, list[int]] = {}
    for topic, partition in partitions:
        grouped.setdefault(topic, []).append(partition)
    return grouped


def check_group(client: Client, group: str, error_code: int) -> None:
    """Raise ``ApiError`` unless ``error_code`` is 0; a coordinator that is none any more is forgotten."""
    if error_code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE):
        client.forget_coordinator(group)
    if error_code:
        is_missing = error_code == ErrorCode.GROUP_ID_NOT_FOUND
        raise ApiError(
            ErrorCode(error_code), f"there is no group {group}" if is_missing else f"group {group}"
        )
