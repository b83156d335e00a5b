"""How a classic group gets from one generation to the next, and what its timers do.

A rebalance has two halves: all members join again (PreparingRebalance), then the leader hands out the
assignment (CompletingRebalance → Stable, in ``classic_membership``). Each half has a timer that ends it
without those who do not come; each member has one that fires when it was silent for too long.

Source: ``GroupMetadataManager`` (``prepareRebalance``, ``completeClassicGroupJoin``, ``expirePendingSync``,
``expireClassicGroupMemberHeartbeat``).
"""

from odradek.coordinator import records
from odradek.coordinator.classic_group import ClassicGroup, Event, Member, State
from odradek.coordinator.rebalances import Cause, Rebalance
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.step import Now, Step, TimerKey
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.join_group import JoinGroupResponse, JoinGroupResponseMember
from odradek.protocol.generated.sync_group import SyncGroupResponse

HEARTBEAT = "heartbeat"
JOIN = "join"
SYNC = "sync"
LEAST_RETRY_MS = 1_000
"""Only static members are left and none came: whatever their timeout says, this is not asked all the time."""


def heartbeat_key(group: ClassicGroup, member_id: str) -> TimerKey:
    return HEARTBEAT, group.group_id, member_id


def keep_alive(step: Step, group: ClassicGroup, member: Member, timeout_ms: int, now: Now) -> None:
    """Gives ``member`` until ``timeout_ms`` from now.

    The timer is only touched when it would fire too late: one that fires early is set anew then, which
    spares every heartbeat and commit a timer.
    """
    deadline_ms = now.monotonic_ms + timeout_ms
    member.session_deadline_ms = deadline_ms
    if member.timer_deadline_ms is None or member.timer_deadline_ms > deadline_ms:
        member.timer_deadline_ms = deadline_ms
        step.set_timer(heartbeat_key(group, member.member_id), deadline_ms)


def note(group: ClassicGroup, cause: Cause, member: Member | None, now: Now, detail: str = "") -> None:
    """Says why the group rebalances, for those who ask later."""
    member_id, client_id = (member.member_id, member.client_id) if member is not None else ("", "")
    group.rebalances.note(Rebalance(now.wall_ms, group.generation, cause, member_id, client_id, detail))


def rebalance_or_complete(step: Step, group: ClassicGroup, settings: GroupSettings, now: Now) -> None:
    """Starts a rebalance, or ends the joining of the one that runs when everybody is there."""
    if group.state is State.PREPARING_REBALANCE:
        complete_join_if_all_joined(step, group, now)
    elif group.state is not State.DEAD:
        prepare_rebalance(step, group, settings, now)


def prepare_rebalance(step: Step, group: ClassicGroup, settings: GroupSettings, now: Now) -> None:
    """Asks all members to join again. The first members of an empty group wait a while for more."""
    if group.state is State.COMPLETING_REBALANCE:
        drop_assignments(step, group, ErrorCode.REBALANCE_IN_PROGRESS, now)
    group.pending_sync.clear()
    step.cancel_timer((SYNC, group.group_id))
    is_initial = group.state is State.EMPTY
    group.transition(Event.REBALANCE, now.wall_ms)
    if is_initial:
        delay_ms = settings.initial_rebalance_delay_ms
        group.initial_delay_ms = delay_ms
        group.initial_remaining_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
        step.set_timer((JOIN, group.group_id), now.monotonic_ms + delay_ms)
    elif group.has_all_members_joined:
        complete_join(step, group, now)
    else:
        step.set_timer((JOIN, group.group_id), now.monotonic_ms + group.rebalance_timeout_ms)


def complete_join_if_all_joined(step: Step, group: ClassicGroup, now: Now) -> None:
    """Ends the joining early, except in an initial rebalance, which waits its delay out."""
    is_initial = group.previous_state is State.EMPTY
    if group.state is State.PREPARING_REBALANCE and not is_initial and group.has_all_members_joined:
        complete_join(step, group, now)


def complete_join(step: Step, group: ClassicGroup, now: Now) -> None:
    """Ends the joining: who did not come is out (static members stay), the others get the new generation."""
    step.cancel_timer((JOIN, group.group_id))
    group.initial_delay_ms = None
    absent = [
        member
        for member in group.members.values()
        if member.join_token is None and member.group_instance_id is None
    ]
    for member in absent:
        note(group, Cause.REBALANCE_TIMEOUT, member, now)
        group.remove(member.member_id)
        step.cancel_timer(heartbeat_key(group, member.member_id))
    if group.members and not _elect_joined_leader(group):
        wait_ms = max(group.rebalance_timeout_ms, LEAST_RETRY_MS)
        step.set_timer((JOIN, group.group_id), now.monotonic_ms + wait_ms)
        return
    group.start_generation(now.wall_ms)
    if group.state is State.EMPTY:
        step.records.append(records.group_record(group, {}))
        return
    for member in group.members.values():
        token = group.take_join_token(member)
        if token is not None:
            step.reply(token, current_generation(group, member))
        keep_alive(step, group, member, member.session_timeout_ms, now)
        member.is_new = False
        group.pending_sync.add(member.member_id)
    step.set_timer((SYNC, group.group_id), now.monotonic_ms + group.rebalance_timeout_ms)


def _elect_joined_leader(group: ClassicGroup) -> bool:
    """Keeps a leader that rejoined, else takes the first member that did; ``False`` when none did."""
    leader = group.members.get(group.leader_id) if group.leader_id is not None else None
    if leader is not None and leader.join_token is not None:
        return True
    for member in group.members.values():
        if member.join_token is not None:
            group.leader_id = member.member_id
            return True
    return False


def current_generation(
    group: ClassicGroup, member: Member, skip_assignment: bool = False
) -> JoinGroupResponse:
    """The JoinGroup response of the generation that runs; only the leader learns of the others."""
    return JoinGroupResponse(
        error_code=0,
        generation_id=group.generation,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        leader=group.leader_id or "",
        skip_assignment=skip_assignment,
        member_id=member.member_id,
        members=member_list(group) if group.leader_id == member.member_id else [],
    )


def member_list(group: ClassicGroup) -> list[JoinGroupResponseMember]:
    """All members with their metadata, for the one who makes the assignment."""
    return [
        JoinGroupResponseMember(
            member_id=other.member_id,
            group_instance_id=other.group_instance_id,
            metadata=other.metadata(group.protocol_name),
        )
        for other in group.members.values()
    ]


def drop_assignments(step: Step, group: ClassicGroup, code: ErrorCode, now: Now) -> None:
    """Takes the assignments of an unfinished generation back and tells ``code`` to who waits for one."""
    for member in group.members.values():
        member.assignment = b""
        token, member.sync_token = member.sync_token, None
        if token is not None:
            step.reply(token, SyncGroupResponse(error_code=code))
            keep_alive(step, group, member, member.session_timeout_ms, now)


def release_member(step: Step, group: ClassicGroup, member: Member) -> None:
    """Takes ``member`` out; what it waits for is answered so that it starts afresh if it still lives."""
    token = group.take_join_token(member)
    if token is not None:
        step.reply(token, JoinGroupResponse(member_id="", error_code=ErrorCode.UNKNOWN_MEMBER_ID))
    token, member.sync_token = member.sync_token, None
    if token is not None:
        step.reply(token, SyncGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID))
    group.remove(member.member_id)
    step.cancel_timer(heartbeat_key(group, member.member_id))


def on_heartbeat_timer(
    step: Step, group: ClassicGroup, member_id: str, settings: GroupSettings, now: Now
) -> None:
    """A member was silent for its session timeout, or never came back with the id that it was given."""
    if member_id in group.pending_members:
        group.remove(member_id)
        if group.state is State.PREPARING_REBALANCE and group.has_all_members_joined:
            complete_join(step, group, now)
        return
    member = group.members.get(member_id)
    if member is None:
        return
    member.timer_deadline_ms = None
    if now.monotonic_ms < member.session_deadline_ms:
        member.timer_deadline_ms = member.session_deadline_ms
        step.set_timer(heartbeat_key(group, member_id), member.session_deadline_ms)
        return
    if member.is_excused_from_heartbeat:
        return
    note(group, Cause.SESSION_TIMEOUT, member, now)
    release_member(step, group, member)
    if group.state in (State.STABLE, State.COMPLETING_REBALANCE):
        prepare_rebalance(step, group, settings, now)
    elif group.state is State.PREPARING_REBALANCE and group.has_all_members_joined:
        complete_join(step, group, now)


def on_join_timer(step: Step, group: ClassicGroup, settings: GroupSettings, now: Now) -> None:
    """The joining took long enough. An initial delay is extended while new members keep coming, up to the
    rebalance timeout."""
    if group.state is not State.PREPARING_REBALANCE:
        return
    delay_ms, remaining_ms = group.initial_delay_ms, group.initial_remaining_ms
    if delay_ms is None or not group.new_member_added or remaining_ms == 0:
        complete_join(step, group, now)
        return
    group.new_member_added = False
    group.initial_delay_ms = min(settings.initial_rebalance_delay_ms, remaining_ms)
    group.initial_remaining_ms = max(remaining_ms - delay_ms, 0)
    step.set_timer((JOIN, group.group_id), now.monotonic_ms + group.initial_delay_ms)


def on_sync_timer(step: Step, group: ClassicGroup, settings: GroupSettings, now: Now) -> None:
    """Members that joined but never asked for their assignment are out, and the others rebalance."""
    if group.state not in (State.COMPLETING_REBALANCE, State.STABLE) or not group.pending_sync:
        return
    for member_id in list(group.pending_sync):
        note(
            group, Cause.REBALANCE_TIMEOUT, group.members[member_id], now, "it never asked for its assignment"
        )
        group.remove(member_id)
        step.cancel_timer(heartbeat_key(group, member_id))
    prepare_rebalance(step, group, settings, now)
