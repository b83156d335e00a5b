"""What ListGroups, DescribeGroups and ConsumerGroupDescribe show.

Source: ``ClassicGroup.asListedGroup``, ``GroupMetadataManager`` (``describeGroups``,
``consumerGroupDescribe``); KIP-518 (states), KIP-848 (types), KIP-1043 (DescribeGroups v6 tells missing
groups apart), KIP-1099 (the protocol that a member speaks).
"""

from collections.abc import Collection, Iterable

from odradek.coordinator.assignors.assignor import Assignment as Target
from odradek.coordinator.classic_group import ClassicGroup, State
from odradek.coordinator.consumer_draft import Group
from odradek.coordinator.consumer_group import NO_TARGET, ConsumerGroup
from odradek.coordinator.consumer_member import ConsumerMember, Owned
from odradek.coordinator.consumer_target import assignor_of
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.topics_view import TopicsView
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.consumer_group_describe import (
    Assignment,
    Member,
    TopicPartitions,
)
from odradek.protocol.generated.consumer_group_describe import DescribedGroup as DescribedConsumerGroup
from odradek.protocol.generated.describe_groups import DescribedGroup, DescribedGroupMember
from odradek.protocol.generated.list_groups import ListedGroup

CLASSIC_TYPE = "classic"
CONSUMER_TYPE = "consumer"
CLASSIC_MEMBER, CONSUMER_MEMBER = 0, 1
NOT_FOUND_FROM = 6


def list_groups(
    groups: Iterable[Group], states: Collection[str], types: Collection[str]
) -> list[ListedGroup]:
    """The groups in one of these states and of one of these types, names in any case; none means all."""
    wanted_states = {state.lower() for state in states}
    wanted_types = {kind.lower() for kind in types}
    listed = []
    for group in groups:
        kind = CLASSIC_TYPE if isinstance(group, ClassicGroup) else CONSUMER_TYPE
        state = group.state.value
        if (not wanted_types or kind in wanted_types) and (
            not wanted_states or state.lower() in wanted_states
        ):
            listed.append(
                ListedGroup(
                    group_id=group.group_id,
                    protocol_type=group.protocol_type or "",
                    group_state=state,
                    group_type=kind,
                )
            )
    return listed


def describe_group(group_id: str, group: Group | None, api_version: int) -> DescribedGroup:
    """One classic group with its members; their metadata only while it is stable, as it is of the protocol
    that the group chose. A missing group, or one of another kind, is Dead."""
    if not isinstance(group, ClassicGroup):
        is_told = api_version >= NOT_FOUND_FROM
        reason = "not found" if group is None else "is not a classic group"
        return DescribedGroup(
            error_code=ErrorCode.GROUP_ID_NOT_FOUND if is_told else ErrorCode.NONE,
            error_message=f"Group {group_id} {reason}." if is_told else None,
            group_id=group_id,
            group_state=State.DEAD.value,
        )
    is_stable = group.state is State.STABLE
    return DescribedGroup(
        error_code=0,
        group_id=group_id,
        group_state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_data=(group.protocol_name or "") if is_stable else "",
        members=[
            DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata(group.protocol_name) if is_stable else b"",
                member_assignment=member.assignment,
            )
            for member in group.members.values()
        ],
    )


def describe_consumer_group(
    group_id: str, group: Group | None, topics: TopicsView, settings: GroupSettings
) -> DescribedConsumerGroup:
    """One consumer group with its members. Raises GROUP_ID_NOT_FOUND, also for one of another kind."""
    if not isinstance(group, ConsumerGroup):
        reason = "not found" if group is None else "is not a consumer group"
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} {reason}.")
    return DescribedConsumerGroup(
        error_code=0,
        group_id=group_id,
        group_state=group.state.value,
        group_epoch=group.epoch,
        assignment_epoch=group.target_epoch,
        assignor_name=assignor_of(group, settings),
        members=[_described_member(group, member, topics) for member in group.members.values()],
    )


def _described_member(group: ConsumerGroup, member: ConsumerMember, topics: TopicsView) -> Member:
    said = member.said
    return Member(
        member_id=member.member_id,
        instance_id=said.instance_id,
        rack_id=said.rack_id,
        member_epoch=member.at.epoch,
        client_id=said.client_id,
        client_host=said.client_host,
        subscribed_topic_names=sorted(said.topics),
        subscribed_topic_regex=said.regex,
        assignment=_described(_union(member.at.assigned, member.at.revoking), topics),
        target_assignment=_described(group.targets.get(member.member_id, NO_TARGET), topics),
        member_type=CLASSIC_MEMBER if member.is_classic else CONSUMER_MEMBER,
    )


def _union(assigned: Owned, revoking: Owned) -> Target:
    """All that a member holds: also what it is about to give up."""
    return {
        topic_id: frozenset(assigned.get(topic_id, ())) | frozenset(revoking.get(topic_id, ()))
        for topic_id in (*assigned, *(topic_id for topic_id in revoking if topic_id not in assigned))
    }


def _described(partitions: Target, topics: TopicsView) -> Assignment:
    """With names; a topic that is gone has none and is left out."""
    return Assignment(
        topic_partitions=[
            TopicPartitions(
                topic_id=topic_id, topic_name=topics.by_id[topic_id].name, partitions=sorted(numbers)
            )
            for topic_id, numbers in partitions.items()
            if topic_id in topics.by_id
        ]
    )
