"""Members of the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat and LeaveGroup as
they see it, while the coordinator makes the assignment and walks them towards it.

To such a member a step towards its target is a rebalance: its heartbeat says REBALANCE_IN_PROGRESS, it joins
again, telling what it owns, and its SyncGroup brings what it may read from now on. Nobody waits for anybody:
the generation it is told is its own member epoch, and no leader is named.

Source: KIP-848 (online migration); ``GroupMetadataManager`` (``classicGroupJoinToConsumerGroup``,
``classicGroupSyncToConsumerGroup``, ``classicGroupHeartbeatToConsumerGroup``,
``classicGroupLeaveToConsumerGroup``).
"""

from typing import NamedTuple

from odradek.coordinator import consumer_sessions as sessions
from odradek.coordinator.classic_group import Protocols, State
from odradek.coordinator.classic_join import Client, requires_member_id
from odradek.coordinator.classic_rebalance import complete_join_if_all_joined
from odradek.coordinator.consumer_draft import Draft, Store
from odradek.coordinator.consumer_group import NO_TARGET, ConsumerGroup
from odradek.coordinator.consumer_heartbeat import check_room, reconcile, replace_static
from odradek.coordinator.consumer_leave import find_member, find_static, remove_member
from odradek.coordinator.consumer_member import ClassicPart, ConsumerMember, MemberState, Subscription
from odradek.coordinator.consumer_protocol import read_subscription, write_assignment
from odradek.coordinator.consumer_subscriptions import drop_regex, subscribe
from odradek.coordinator.consumer_target import is_target_due, next_epoch, update_target
from odradek.coordinator.migration import convert_to_classic, may_become_classic
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.step import Now, Step, Token
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicId
from odradek.protocol.generated.consumer_protocol import ConsumerProtocolSubscription
from odradek.protocol.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.protocol.generated.join_group import JoinGroupRequest, JoinGroupResponse
from odradek.protocol.generated.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberResponse
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupResponse
from odradek.protocol.primitives import MalformedError


class _Part(NamedTuple):
    """Partitions of one topic that a member says it owns."""

    topic_id: TopicId
    partitions: list[int]


def join(
    store: Store,
    group: ConsumerGroup,
    request: JoinGroupRequest,
    protocols: Protocols,
    client: Client,
    token: Token,
    now: Now,
) -> Step:
    """JoinGroup to a consumer group that has members; session timeout and group id are checked already."""
    step = Step()
    try:
        check_room(store.settings, group, request.member_id)
        if not group.accepts(request.protocol_type, (name for name, _ in protocols)):
            raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        subscription = _read(protocols)
        if requires_member_id(request, client):
            step.reply(
                token,
                JoinGroupResponse(error_code=ErrorCode.MEMBER_ID_REQUIRED, member_id=store.new_suffix()),
            )
            return step
    except ApiError as error:
        step.reply(token, _refused_join(error.code))
        return step
    with Draft(store, group, now, step) as draft:
        try:
            part = ClassicPart(request.session_timeout_ms, protocols)
            return _join(draft, request, subscription, part, client, token)
        except ApiError as error:
            return draft.abandon(token, _refused_join(error.code))


def _read(protocols: Protocols) -> ConsumerProtocolSubscription:
    """All protocols of a member carry the same subscription."""
    try:
        return read_subscription(protocols[0][1])
    except MalformedError as error:
        raise ApiError(ErrorCode.UNKNOWN_SERVER_ERROR) from error


def _join(
    draft: Draft,
    request: JoinGroupRequest,
    subscription: ConsumerProtocolSubscription,
    part: ClassicPart,
    client: Client,
    token: Token,
) -> Step:
    group, step, now = draft.group, draft.step, draft.now
    member_id = request.member_id or draft.store.new_suffix()
    member, cause, replaces_new_protocol = _find_or_replace(draft, request, member_id)
    said = _says(request, member.said, subscription, part, client)
    has_changed = subscribe(draft, member_id, said, cause)
    update_target(draft)
    reconcile(draft, member_id, _owned(draft, subscription), has_changed)
    if replaces_new_protocol and may_become_classic(draft.store.settings, group):
        is_there = group.epoch == group.target_epoch and not group.unsettled
        classic = convert_to_classic(draft, keeps_assignment=is_there)
        if classic.state is not State.STABLE:
            classic.await_join(classic.members[member_id], token)
            complete_join_if_all_joined(step, classic, now)
            return draft.finish_silently()
    else:
        sessions.keep_session(step, group, member_id, part.session_timeout_ms, now)
        sessions.joined(step, group, member_id, said.rebalance_timeout_ms, now)
    response = JoinGroupResponse(
        error_code=0,
        member_id=member_id,
        generation_id=group.members[member_id].at.epoch,
        protocol_type=group.protocol_type,
        protocol_name=part.protocols[0][0],
        leader="",
        members=[],
    )
    return draft.finish(token, response, _refused_join)


def _refused_join(code: ErrorCode) -> JoinGroupResponse:
    return JoinGroupResponse(error_code=code, member_id="")


def _find_or_replace(
    draft: Draft, request: JoinGroupRequest, member_id: str
) -> tuple[ConsumerMember, Cause, bool]:
    """The member that joins, why it is here, and whether it takes the place of one of the new protocol.
    Raises :class:`ApiError`."""
    group, instance_id = draft.group, request.group_instance_id
    if instance_id is not None:
        if request.member_id:
            return find_static(group, instance_id, member_id), Cause.CHANGED, False
        holder = group.static_members.get(instance_id)
        if holder is not None:
            old = group.members[holder]
            return replace_static(draft, old, member_id), Cause.RETURNED, not old.is_classic
    member = group.members.get(member_id)
    if member is not None:
        return member, Cause.CHANGED, False
    return ConsumerMember(member_id), Cause.JOINED, False


def _says(
    request: JoinGroupRequest,
    before: Subscription,
    subscription: ConsumerProtocolSubscription,
    part: ClassicPart,
    client: Client,
) -> Subscription:
    timeout_ms = request.rebalance_timeout_ms
    return before._replace(
        instance_id=before.instance_id if request.group_instance_id is None else request.group_instance_id,
        rack_id=before.rack_id if subscription.rack_id is None else subscription.rack_id,
        client_id=client.client_id,
        client_host=client.client_host,
        topics=frozenset(subscription.topics),
        rebalance_timeout_ms=part.session_timeout_ms if timeout_ms == -1 else timeout_ms,
        classic=part,
    )


def _owned(draft: Draft, subscription: ConsumerProtocolSubscription) -> list[_Part]:
    by_name = draft.store.topics.by_name
    return [
        _Part(by_name[part.topic].topic_id, part.partitions)
        for part in subscription.owned_partitions
        if part.topic in by_name
    ]


def sync(store: Store, group: ConsumerGroup, request: SyncGroupRequest, token: Token, now: Now) -> Step:
    """SyncGroup: the member's assignment as it stands. Raises :class:`ApiError` with what it is told else."""
    member, part = _find_classic(group, request.member_id, request.group_instance_id, request.generation_id)
    if request.protocol_type is not None and request.protocol_type != group.protocol_type:
        raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if request.protocol_name is not None and request.protocol_name != part.protocols[0][0]:
        raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    draft = Draft(store, group, now)
    step, member_id = draft.step, member.member_id
    if group.target_epoch > member.at.epoch and member.at.state is not MemberState.UNREVOKED:
        # One that has to give up partitions is told so first; then it will join again in any case.
        sessions.await_join(step, group, member_id, member.said.rebalance_timeout_ms, now)
        response = SyncGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS)
    else:
        sessions.synced(step, group, member_id)
        sessions.keep_session(step, group, member_id, part.session_timeout_ms, now)
        response = SyncGroupResponse(
            error_code=0,
            protocol_type=request.protocol_type,
            protocol_name=request.protocol_name,
            assignment=write_assignment(member.at.assigned, store.topics, part.protocols[0][1]),
        )
    return draft.finish(token, response, lambda code: SyncGroupResponse(error_code=code))


def heartbeat(store: Store, group: ConsumerGroup, request: HeartbeatRequest, token: Token, now: Now) -> Step:
    """Heartbeat: tells the member to join again when that would bring it nearer to its target. Raises
    :class:`ApiError`."""
    member, part = _find_classic(group, request.member_id, request.group_instance_id, request.generation_id)
    draft = Draft(store, group, now)
    step, member_id = draft.step, member.member_id
    sessions.keep_session(step, group, member_id, part.session_timeout_ms, now)
    code = ErrorCode.NONE
    if is_target_due(store, group, now) or _should_join_again(group, member):
        code = ErrorCode.REBALANCE_IN_PROGRESS
        sessions.await_join(step, group, member_id, member.said.rebalance_timeout_ms, now)
    return draft.finish(
        token, HeartbeatResponse(error_code=code), lambda code: HeartbeatResponse(error_code=code)
    )


def _should_join_again(group: ConsumerGroup, member: ConsumerMember) -> bool:
    at = member.at
    if at.epoch < group.target_epoch or at.state is MemberState.UNREVOKED:
        return True
    return at.state is MemberState.UNRELEASED and not _waits_for_others(group, member)


def _waits_for_others(group: ConsumerGroup, member: ConsumerMember) -> bool:
    """Whether somebody else still holds a partition of the member's target."""
    target = group.targets.get(member.member_id, NO_TARGET)
    return any(
        group.owner(topic_id, number) not in (None, member.member_id)
        for topic_id, numbers in target.items()
        for number in numbers
    )


def _find_classic(
    group: ConsumerGroup, member_id: str, instance_id: str | None, generation: int
) -> tuple[ConsumerMember, ClassicPart]:
    """The member that asks. Raises UNKNOWN_MEMBER_ID also for one of the new protocol, FENCED_INSTANCE_ID,
    ILLEGAL_GENERATION."""
    member = find_member(group, member_id, instance_id)
    part = member.said.classic
    if part is None:
        raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
    if generation != member.at.epoch:
        raise ApiError(ErrorCode.ILLEGAL_GENERATION)
    return member, part


def leave(store: Store, group: ConsumerGroup, request: LeaveGroupRequest, token: Token, now: Now) -> Step:
    """LeaveGroup: takes the named members out, whichever protocol they speak, as an administrator may."""
    response = LeaveGroupResponse(error_code=0, members=[])
    with Draft(store, group, now) as draft:
        is_new_protocol_gone = has_left = False
        for identity in request.members:
            member_id, instance_id = identity.member_id, identity.group_instance_id
            code = ErrorCode.NONE
            try:
                if not member_id and instance_id is not None:
                    member_id = group.static_members.get(instance_id, "")
                member = find_member(group, member_id, instance_id)
            except ApiError as error:
                code = error.code
            else:
                cause = Cause.LEFT if identity.member_id else Cause.REMOVED
                draft.note(cause, member_id, identity.reason or "")
                remove_member(draft, member)
                drop_regex(draft, member.said.regex)
                has_left = True
                is_new_protocol_gone |= not member.is_classic
            response.members.append(
                MemberResponse(member_id=identity.member_id, group_instance_id=instance_id, error_code=code)
            )
        if has_left:
            if is_new_protocol_gone and may_become_classic(store.settings, group):
                convert_to_classic(draft)
            else:
                next_epoch(draft)
    return draft.finish(token, response, lambda code: LeaveGroupResponse(error_code=code))
