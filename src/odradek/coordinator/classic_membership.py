"""SyncGroup, Heartbeat and LeaveGroup of classic groups, and who may commit offsets for one.

Source: ``GroupMetadataManager`` (``classicGroupSyncToClassicGroup``, ``classicGroupHeartbeat``,
``classicGroupLeaveToClassicGroup``) and ``ClassicGroup.validateOffsetCommit``; KIP-345, KIP-800.
"""

from odradek.coordinator import records
from odradek.coordinator.classic_group import ClassicGroup, Event, State
from odradek.coordinator.classic_rebalance import (
    drop_assignments,
    heartbeat_key,
    keep_alive,
    note,
    rebalance_or_complete,
    release_member,
)
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.step import Now, Step, Token, coordinator_error
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupResponse


def sync(
    step: Step,
    group: ClassicGroup,
    request: SyncGroupRequest,
    token: Token,
    settings: GroupSettings,
    now: Now,
) -> None:
    """Asks for the member's assignment, and brings everybody's when the leader asks.

    Raises :class:`ApiError` with what the member is to be told instead.
    """
    member = group.validate_member(request.member_id, request.group_instance_id)
    if request.generation_id != group.generation:
        raise ApiError(ErrorCode.ILLEGAL_GENERATION)
    if _differs(request.protocol_type, group.protocol_type) or _differs(
        request.protocol_name, group.protocol_name
    ):
        raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if group.state is State.PREPARING_REBALANCE:
        raise ApiError(ErrorCode.REBALANCE_IN_PROGRESS)
    group.pending_sync.discard(member.member_id)
    if group.state is State.STABLE:
        step.reply(token, _assignment(group, member.assignment))
        return
    displaced, member.sync_token = member.sync_token, token
    if displaced is not None:
        step.reply(displaced, SyncGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS))
    # A leader that asks again while its assignment is on its way to the disk just waits for it.
    if group.leader_id == member.member_id and not group.is_assignment_in_flight:
        assignments = {entry.member_id: bytes(entry.assignment) for entry in request.assignments}
        step.records.append(records.group_record(group, assignments))
        step.write = _AssignmentStored(group, assignments, settings)


def _differs(asked: str | None, actual: str | None) -> bool:
    return asked is not None and actual is not None and asked != actual


def _assignment(group: ClassicGroup, assignment: bytes) -> SyncGroupResponse:
    return SyncGroupResponse(
        error_code=0,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        assignment=assignment,
    )


class _AssignmentStored:
    """The record of a generation's assignment; once it is durable, the group is stable and all get theirs."""

    __slots__ = ("assignments", "generation", "group", "settings")

    def __init__(self, group: ClassicGroup, assignments: dict[str, bytes], settings: GroupSettings) -> None:
        self.group = group
        self.assignments = assignments
        self.settings = settings
        self.generation = group.generation

    def _is_overtaken(self) -> bool:
        group = self.group
        return group.state is not State.COMPLETING_REBALANCE or group.generation != self.generation

    def appended(self, base_offset: int) -> None:
        self.group.is_assignment_in_flight = True

    def durable(self, now: Now) -> Step | None:
        if self._is_overtaken():
            return None
        step, group = Step(), self.group
        group.transition(Event.ASSIGNED, now.wall_ms)
        group.is_assignment_in_flight = False
        for member in group.members.values():
            member.assignment = self.assignments.get(member.member_id, b"")
            token, member.sync_token = member.sync_token, None
            if token is not None:
                step.reply(token, _assignment(group, member.assignment))
                keep_alive(step, group, member, member.session_timeout_ms, now)
        return step

    def refused(self, code: ErrorCode, now: Now) -> Step | None:
        step = Step()
        drop_assignments(step, self.group, coordinator_error(code), now)
        rebalance_or_complete(step, self.group, self.settings, now)
        return step


def heartbeat(
    step: Step, group: ClassicGroup, member_id: str, instance_id: str | None, generation: int, now: Now
) -> ErrorCode:
    """Keeps a member alive; the answer says whether it must rejoin. Raises :class:`ApiError`."""
    member = group.validate_member(member_id, instance_id)
    if generation != group.generation:
        raise ApiError(ErrorCode.ILLEGAL_GENERATION)
    keep_alive(step, group, member, member.session_timeout_ms, now)
    is_rebalancing = group.state is State.PREPARING_REBALANCE
    return ErrorCode.REBALANCE_IN_PROGRESS if is_rebalancing else ErrorCode.NONE


def leave(
    step: Step, group: ClassicGroup, request: LeaveGroupRequest, settings: GroupSettings, now: Now
) -> LeaveGroupResponse:
    """Takes the named members out, static ones by their instance id alone if need be (an admin's removal)."""
    response = LeaveGroupResponse(error_code=0, members=[])
    has_left = False
    for identity in request.members:
        code = _leave_one(step, group, identity, now)
        has_left = has_left or code is ErrorCode.NONE
        response.members.append(
            MemberResponse(
                member_id=identity.member_id,
                group_instance_id=identity.group_instance_id,
                error_code=code,
            )
        )
    if has_left and group.state is not State.EMPTY:
        rebalance_or_complete(step, group, settings, now)
    return response


def _leave_one(step: Step, group: ClassicGroup, identity: MemberIdentity, now: Now) -> ErrorCode:
    member_id, instance_id, reason = identity.member_id, identity.group_instance_id, identity.reason or ""
    if not member_id:
        holder = group.static_members.get(instance_id) if instance_id is not None else None
        if holder is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        note(group, Cause.REMOVED, group.members[holder], now, reason)
        release_member(step, group, group.members[holder])
        return ErrorCode.NONE
    if member_id in group.pending_members:
        group.remove(member_id)
        step.cancel_timer(heartbeat_key(group, member_id))
        return ErrorCode.NONE
    try:
        member = group.validate_member(member_id, instance_id)
    except ApiError as error:
        return error.code
    note(group, Cause.LEFT, member, now, reason)
    release_member(step, group, member)
    return ErrorCode.NONE


def validate_transactional_commit(
    step: Step, group: ClassicGroup, member_id: str, instance_id: str | None, generation: int, now: Now
) -> None:
    """As :func:`validate_commit`, for TxnOffsetCommit: its older versions know no members, so who names none
    is let in whatever the group does. Raises :class:`ApiError`."""
    if generation < 0 and (group.state is State.EMPTY or (not member_id and instance_id is None)):
        return
    member = group.validate_member(member_id, instance_id)
    if generation != group.generation:
        raise ApiError(ErrorCode.ILLEGAL_GENERATION)
    keep_alive(step, group, member, member.session_timeout_ms, now)


def validate_commit(
    step: Step, group: ClassicGroup, member_id: str, instance_id: str | None, generation: int, now: Now
) -> None:
    """Checks that offsets may be committed by this member in this generation, and keeps it alive.

    A negative generation is a consumer that only stores offsets here: it may as long as the group has no
    members. Raises :class:`ApiError`.
    """
    if group.state is State.EMPTY and generation < 0:
        return
    if generation < 0 and not member_id and instance_id is None:
        if group.state is not State.EMPTY:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        return
    member = group.validate_member(member_id, instance_id)
    if generation != group.generation:
        raise ApiError(ErrorCode.ILLEGAL_GENERATION)
    if group.state is State.COMPLETING_REBALANCE:
        raise ApiError(ErrorCode.REBALANCE_IN_PROGRESS)
    keep_alive(step, group, member, member.session_timeout_ms, now)
