"""How a member leaves a consumer group: by itself, for a while, by an administrator, or because it was silent
or too slow. Whatever it held is free at once; its group gets a new epoch.

Source: ``GroupMetadataManager`` (``consumerGroupLeave``, ``consumerGroupFenceMember``, the session and
rebalance timeouts); KIP-848, KIP-345.
"""

from odradek.coordinator import consumer_sessions as sessions
from odradek.coordinator.consumer_changes import PutProgress, PutSubscription, PutTarget
from odradek.coordinator.consumer_draft import Draft, Store
from odradek.coordinator.consumer_group import ConsumerGroup
from odradek.coordinator.consumer_member import AWAY_EPOCH, ConsumerMember, MemberState, Owned
from odradek.coordinator.consumer_subscriptions import drop_regex
from odradek.coordinator.consumer_target import next_epoch
from odradek.coordinator.migration import convert_to_classic, may_become_classic
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.step import Now, Step, TimerKey
from odradek.core.errors import ApiError, ErrorCode


def remove_member(draft: Draft, member: ConsumerMember) -> None:
    """Takes a member out; the group's epoch and its regular expression are left to the caller."""
    member_id = member.member_id
    draft.do(PutProgress(member_id, None))
    draft.do(PutTarget(member_id, None))
    draft.do(PutSubscription(member_id, None))
    sessions.drop_session(draft.step, draft.group, member_id)
    draft.if_refused(lambda step, now: sessions.resume_session(step, draft.group, member_id, now))


def fence(draft: Draft, member: ConsumerMember, cause: Cause) -> None:
    """Takes a member out, after which the group may be a classic one (online downgrade)."""
    draft.note(cause, member.member_id)
    remove_member(draft, member)
    drop_regex(draft, member.said.regex)
    if not member.is_classic and may_become_classic(draft.store.settings, draft.group):
        convert_to_classic(draft)
    else:
        next_epoch(draft)


def go_away(draft: Draft, member: ConsumerMember) -> None:
    """A static member stops and means to be back: it keeps what it has, under an epoch that is nobody's."""
    kept: Owned = {
        topic_id: dict.fromkeys(partitions, 0) for topic_id, partitions in member.at.assigned.items()
    }
    draft.do(PutProgress(member.member_id, member.at._replace(epoch=AWAY_EPOCH, assigned=kept, revoking={})))


def find_static(group: ConsumerGroup, instance_id: str, member_id: str) -> ConsumerMember:
    """The member of that instance id. Raises UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID when it is another
    than ``member_id``."""
    holder = group.static_members.get(instance_id)
    if holder is None:
        raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
    if holder != member_id:
        raise ApiError(
            ErrorCode.FENCED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} was fenced by member {holder}.",
        )
    return group.members[holder]


def find_dynamic(group: ConsumerGroup, member_id: str) -> ConsumerMember:
    """The member of that id. Raises UNKNOWN_MEMBER_ID."""
    member = group.members.get(member_id)
    if member is None:
        raise ApiError(
            ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {group.group_id}."
        )
    return member


def find_member(group: ConsumerGroup, member_id: str, instance_id: str | None) -> ConsumerMember:
    """The member that a request names, by both of its ids if it gives both."""
    if instance_id is None:
        return find_dynamic(group, member_id)
    return find_static(group, instance_id, member_id)


def resume(step: Step, group: ConsumerGroup, session_timeout_ms: int, now: Now) -> None:
    """After a start: members must show that they still live, and those that were to give up partitions must
    still do so in time."""
    for member in group.members.values():
        member_id, classic = member.member_id, member.said.classic
        timeout_ms = session_timeout_ms if classic is None else classic.session_timeout_ms
        sessions.keep_session(step, group, member_id, timeout_ms, now)
        if classic is None and member.at.state is MemberState.UNREVOKED:
            timeout_ms = member.said.rebalance_timeout_ms
            sessions.watch_revocation(step, group, member_id, member.at.epoch, timeout_ms, now)


def on_timer(store: Store, key: TimerKey, now: Now) -> Step:
    """A member's timer fired. It means nothing when the member is gone or came in the meantime."""
    kind, group_id, member_id = key
    group = store.groups.get(group_id)
    step = Step()
    if not isinstance(group, ConsumerGroup):
        return step
    session, member = group.sessions.get(member_id), group.members.get(member_id)
    if session is None or member is None:
        group.sessions.pop(member_id, None)
        return step
    cause = Cause.REBALANCE_TIMEOUT
    if kind == sessions.SESSION:
        session.timer_deadline_ms = None
        if now.monotonic_ms < session.deadline_ms:
            session.timer_deadline_ms = session.deadline_ms
            step.set_timer(key, session.deadline_ms)
            return step
        cause = Cause.SESSION_TIMEOUT
    elif kind == sessions.REBALANCE:
        epoch, session.rebalance_epoch = session.rebalance_epoch, None
        if member.at.state is not MemberState.UNREVOKED or member.at.epoch != epoch:
            return step
    elif kind == sessions.JOIN:
        session.has_join_timer = False
    else:
        session.has_sync_timer = False
    with Draft(store, group, now, step) as draft:
        fence(draft, member, cause)
    return draft.finish_silently()
