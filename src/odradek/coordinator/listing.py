"""What ListGroups and DescribeGroups show of classic groups.

Source: ``ClassicGroup.asListedGroup``, ``GroupMetadataManager.describeGroups``; KIP-518 (states),
KIP-848 (types), KIP-1043 (DescribeGroups v6 tells missing groups apart).
"""

from collections.abc import Collection, Iterable

from odradek.coordinator.classic_group import ClassicGroup, State
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_groups import DescribedGroup, DescribedGroupMember
from odradek.protocol.generated.list_groups import ListedGroup

CLASSIC_TYPE = "classic"
NOT_FOUND_FROM = 6


def list_groups(
    groups: Iterable[ClassicGroup], states: Collection[str], types: Collection[str]
) -> list[ListedGroup]:
    """The groups in one of these states and of one of these types, names in any case; none means all."""
    wanted_states = {state.lower() for state in states}
    if types and CLASSIC_TYPE not in {kind.lower() for kind in types}:
        return []
    return [
        ListedGroup(
            group_id=group.group_id,
            protocol_type=group.protocol_type or "",
            group_state=group.state.value,
            group_type=CLASSIC_TYPE,
        )
        for group in groups
        if not wanted_states or group.state.value.lower() in wanted_states
    ]


def describe_group(group_id: str, group: ClassicGroup | None, api_version: int) -> DescribedGroup:
    """One group with its members; their metadata only while it is stable, as it is of the protocol that the
    group chose. A missing group is Dead."""
    if group is None:
        is_told = api_version >= NOT_FOUND_FROM
        return DescribedGroup(
            error_code=ErrorCode.GROUP_ID_NOT_FOUND if is_told else ErrorCode.NONE,
            error_message=f"Group {group_id} not found." if is_told else None,
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
