"""A group changes its kind: a classic group becomes a consumer group when the first member of the new
protocol comes (upgrade), and a consumer group a classic one when the last of them goes (downgrade).

In between the group is a consumer group, and its classic members are served by ``classic_in_consumer``. An
empty group of either kind is replaced by one of the other without ado. Offsets belong to the id and stay.

Source: ``GroupMetadataManager`` (``validateOnlineUpgrade``, ``convertToConsumerGroup``,
``validateOnlineDowngradeWithFencedMember``, ``convertToClassicGroup``); KIP-848.
"""

from odradek.coordinator import classic_rebalance, records
from odradek.coordinator.classic_group import ClassicGroup, Event, Member, State
from odradek.coordinator.consumer_changes import group_tombstones, whole_group
from odradek.coordinator.consumer_draft import Draft, Store
from odradek.coordinator.consumer_group import NO_TARGET, ConsumerGroup
from odradek.coordinator.consumer_member import ClassicPart, ConsumerMember, Progress, Subscription
from odradek.coordinator.consumer_protocol import read_assignment, read_subscription, write_assignment
from odradek.coordinator.consumer_sessions import drop_session, keep_session, resume_session
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.step import Now, Step
from odradek.coordinator.topics_view import TopicsView
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.join_group import JoinGroupResponse
from odradek.protocol.generated.sync_group import SyncGroupResponse
from odradek.protocol.primitives import MalformedError

# Classic → consumer


def become_consumer(store: Store, classic: ClassicGroup, now: Now) -> Draft:
    """A draft that begins with the conversion of ``classic``, with or without members.

    Raises GROUP_ID_NOT_FOUND when it may not be converted.
    """
    if classic.state is State.EMPTY:
        draft = Draft(store, ConsumerGroup(classic.group_id), now)
    else:
        _check_upgrade(store.settings, classic)
        draft = Draft(store, _as_consumer(classic, store.topics), now)
    draft.step.records.append((records.group_key(classic.group_id), None))
    if draft.group.members:
        draft.step.records += whole_group(draft.group)
    _end_classic(draft.step, classic)
    draft.if_refused(lambda step, now: _resume_classic(step, classic, now))
    draft.group.rebalances = classic.rebalances
    draft.install(draft.group)
    if draft.group.members:
        draft.note(Cause.MIGRATED, detail="to the consumer protocol")
        for member in draft.group.members.values():
            if member.said.classic is not None:
                timeout_ms = member.said.classic.session_timeout_ms
                keep_session(draft.step, draft.group, member.member_id, timeout_ms, now)
    return draft


def _check_upgrade(settings: GroupSettings, classic: ClassicGroup) -> None:
    reason = ""
    if not settings.migration_policy.allows_upgrade:
        reason = "online upgrade is disabled"
    elif not classic.speaks_consumer_protocol:
        reason = "the group does not use the consumer embedded protocol"
    elif len(classic.members) > settings.consumer_max_size:
        reason = "the group size exceeds the consumer group maximum size"
    if reason:
        raise _cannot_upgrade(classic, reason)


def _cannot_upgrade(classic: ClassicGroup, reason: str) -> ApiError:
    return ApiError(
        ErrorCode.GROUP_ID_NOT_FOUND,
        f"Cannot upgrade classic group {classic.group_id} to consumer group because {reason}.",
    )


def _as_consumer(classic: ClassicGroup, topics: TopicsView) -> ConsumerGroup:
    """The same group, all members stable with what the last generation assigned to them."""
    group = ConsumerGroup(classic.group_id)
    generation = classic.generation
    group.put_epoch(generation, 0)
    group.put_target_epoch(generation, 0)
    try:
        for member in classic.members.values():
            # One that waits to rejoin may not speak any more what the last generation spoke.
            metadata = member.metadata(classic.protocol_name) or member.protocols[0][1]
            subscription = read_subscription(metadata)
            assigned = read_assignment(member.assignment, topics)
            said = Subscription(
                member.group_instance_id,
                subscription.rack_id,
                member.client_id,
                member.client_host,
                frozenset(subscription.topics),
                "",
                member.rebalance_timeout_ms,
                None,
                ClassicPart(member.session_timeout_ms, member.protocols),
            )
            group.put_subscription(member.member_id, said)
            group.put_target(member.member_id, assigned)
            owned = {topic_id: dict.fromkeys(numbers, generation) for topic_id, numbers in assigned.items()}
            group.put_progress(member.member_id, Progress(generation, generation, assigned=owned))
    except MalformedError as error:
        raise _cannot_upgrade(classic, "the embedded consumer protocol is malformed") from error
    group.put_epoch(generation, topics.group_hash(group.subscribed_topics()))
    group.moved()
    return group


def _end_classic(step: Step, classic: ClassicGroup) -> None:
    """Who waits is told to come again, which it will do to the new group; the timers of the old one end."""
    code = ErrorCode.REBALANCE_IN_PROGRESS
    for member in classic.members.values():
        token = classic.take_join_token(member)
        if token is not None:
            step.reply(token, JoinGroupResponse(error_code=code, member_id=member.member_id))
        token, member.sync_token = member.sync_token, None
        if token is not None:
            step.reply(token, SyncGroupResponse(error_code=code))
        step.cancel_timer(classic_rebalance.heartbeat_key(classic, member.member_id))
        member.timer_deadline_ms = None
    for member_id in classic.pending_members:
        step.cancel_timer(classic_rebalance.heartbeat_key(classic, member_id))
    step.cancel_timer((classic_rebalance.JOIN, classic.group_id))
    step.cancel_timer((classic_rebalance.SYNC, classic.group_id))


def _resume_classic(step: Step, classic: ClassicGroup, now: Now) -> None:
    """It stays a classic group: its members have a session timeout to come again, as they were told to."""
    for member in classic.members.values():
        classic_rebalance.keep_alive(step, classic, member, member.session_timeout_ms, now)
    kind = {
        State.PREPARING_REBALANCE: classic_rebalance.JOIN,
        State.COMPLETING_REBALANCE: classic_rebalance.SYNC,
    }.get(classic.state)
    if kind is not None:
        step.set_timer((kind, classic.group_id), now.monotonic_ms + classic.rebalance_timeout_ms)


# Consumer → classic


def may_become_classic(settings: GroupSettings, group: ConsumerGroup) -> bool:
    """Whether the group, which just lost a member of the new protocol, is a classic one from now on."""
    return (
        bool(group.members)
        and settings.migration_policy.allows_downgrade
        and len(group.members) <= settings.max_size
        and all(member.is_classic for member in group.members.values())
    )


def convert_to_classic(draft: Draft, *, keeps_assignment: bool = False) -> ClassicGroup:
    """Puts a classic group of the same members, all of the classic protocol, in the place of the draft's
    group, and asks them to rebalance, unless it ``keeps_assignment``."""
    group, store, step, now = draft.group, draft.store, draft.step, draft.now
    draft.note(Cause.MIGRATED, detail="to the classic protocol")
    step.records += group_tombstones(group)
    for member_id in group.members:
        drop_session(step, group, member_id)
    draft.if_refused(lambda step, now: _resume_consumer(step, group, now))
    classic = _as_classic(group, store.topics, now)
    draft.install(classic)
    assignments = {member.member_id: member.assignment for member in classic.members.values()}
    step.records.append(records.group_record(classic, assignments))
    for member in classic.members.values():
        classic_rebalance.keep_alive(step, classic, member, member.session_timeout_ms, now)
    if not keeps_assignment:
        classic_rebalance.prepare_rebalance(step, classic, store.settings, now)
    return classic


def _as_classic(group: ConsumerGroup, topics: TopicsView, now: Now) -> ClassicGroup:
    classic = ClassicGroup(group.group_id, now.wall_ms)
    classic.rebalances = group.rebalances
    classic.generation = group.epoch
    classic.protocol_type = group.protocol_type
    for member in group.members.values():
        if member.said.classic is not None:
            classic.add(_as_classic_member(member, member.said.classic))
    classic.protocol_name = classic.select_protocol()
    for classic_member in classic.members.values():
        target = group.targets.get(classic_member.member_id, NO_TARGET)
        metadata = classic_member.metadata(classic.protocol_name)
        classic_member.assignment = write_assignment(target, topics, metadata)
    classic.subscribed_topics = classic.compute_subscribed_topics()
    for event in (Event.REBALANCE, Event.MEMBERS_JOINED, Event.ASSIGNED):
        classic.transition(event, now.wall_ms)
    return classic


def _as_classic_member(member: ConsumerMember, part: ClassicPart) -> Member:
    said = member.said
    return Member(
        member.member_id,
        said.instance_id,
        said.client_id,
        said.client_host,
        said.rebalance_timeout_ms,
        part.session_timeout_ms,
        part.protocols,
    )


def _resume_consumer(step: Step, group: ConsumerGroup, now: Now) -> None:
    for member_id in group.members:
        resume_session(step, group, member_id, now)


def replace_empty_consumer(step: Step, group: ConsumerGroup) -> None:
    """The records and timers with which an empty consumer group goes, before a classic one takes its id."""
    step.records += group_tombstones(group)
    for member_id in list(group.sessions):
        drop_session(step, group, member_id)
