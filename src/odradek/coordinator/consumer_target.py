"""The target assignment of a consumer group, and a member's next step towards its part of it.

The target is made anew when the group's epoch moved, but not more often than the assignment interval allows
(KIP-1263); until then members go on with the old one. A member first gives up what is not (any more) in its
target, then gets what others have given up: no partition ever has two holders.

Source: KIP-848; ``TargetAssignmentBuilder``, ``CurrentAssignmentBuilder``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from odradek.coordinator.assignors.assignor import Assignment, MemberSubscription
from odradek.coordinator.assignors.table import ASSIGNORS
from odradek.coordinator.consumer_changes import PutEpoch, PutTarget, PutTargetEpoch
from odradek.coordinator.consumer_draft import Draft, Store
from odradek.coordinator.consumer_group import NO_TARGET, ConsumerGroup
from odradek.coordinator.consumer_member import (
    MEMBER_TRANSITIONS,
    ConsumerMember,
    MemberEvent,
    MemberState,
    Owned,
    Progress,
)
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.step import Now
from odradek.coordinator.topics_view import TopicsView
from odradek.core.ids import TopicId

OwnedPartitions = Iterable[Any]
"""What a member says that it owns: values with ``topic_id`` and ``partitions``."""


def next_epoch(draft: Draft) -> None:
    """Moves the group's epoch: members, subscriptions or topics changed."""
    group = draft.group
    draft.do(PutEpoch(group.epoch + 1, draft.store.topics.group_hash(group.subscribed_topics())))
    group.needs_refresh = False


def refresh_topics(draft: Draft) -> None:
    """Moves the group's epoch if the topics that it subscribes to are not what they were."""
    group = draft.group
    group.needs_refresh = False
    if draft.store.topics.group_hash(group.subscribed_topics()) != group.metadata_hash:
        draft.note(Cause.TOPICS)
        next_epoch(draft)


def is_target_due(store: Store, group: ConsumerGroup, now: Now) -> bool:
    """Whether the next member that joins, or beats, has the target assignment made anew."""
    if group.epoch <= group.target_epoch:
        return False
    age_ms = now.wall_ms - group.target_timestamp_ms
    return not 0 <= age_ms < store.config_of(group.group_id).assignment_interval_ms


def update_target(draft: Draft) -> None:
    """Makes the target assignment of the group's epoch, unless there is one or the last is too fresh."""
    group, store = draft.group, draft.store
    if not is_target_due(store, group, draft.now):
        return
    assign = ASSIGNORS[assignor_of(group, store.settings)]
    assigned = assign(_subscriptions(group, store.topics), _partition_counts(group, store.topics))
    for member_id, target in assigned.items():
        before = group.targets.get(member_id, NO_TARGET)
        if target is not before and target != before:
            draft.do(PutTarget(member_id, target))
    draft.do(PutTargetEpoch(group.epoch, draft.now.wall_ms))


def assignor_of(group: ConsumerGroup, settings: GroupSettings) -> str:
    """What most members that name an assignor name, if it is (still) served, else the broker's first."""
    preferred = group.preferred_assignor()
    return preferred if preferred in settings.consumer_assignors else settings.consumer_assignors[0]


def _subscriptions(group: ConsumerGroup, topics: TopicsView) -> dict[str, MemberSubscription]:
    """What the assignor is told of each member. Most members subscribe alike, so ids are looked up once."""
    by_name = topics.by_name
    ids: dict[tuple[frozenset[str], str], frozenset[TopicId]] = {}
    members = {}
    for member_id, member in group.members.items():
        said = member.said
        key = (said.topics, said.regex)
        topic_ids = ids.get(key)
        if topic_ids is None:
            names = group.topics_of(said)
            topic_ids = ids[key] = frozenset(by_name[name].topic_id for name in names if name in by_name)
        target = group.targets.get(member_id, NO_TARGET)
        members[member_id] = MemberSubscription(topic_ids, target, said.instance_id)
    return members


def _partition_counts(group: ConsumerGroup, topics: TopicsView) -> dict[TopicId, int]:
    found = [topics.by_name[name] for name in group.subscribed_topics() if name in topics.by_name]
    return {topic.topic_id: len(topic.partitions) for topic in found}


def next_progress(
    group: ConsumerGroup,
    member: ConsumerMember,
    topics: TopicsView,
    owned: OwnedPartitions | None,
    has_subscription_changed: bool,
) -> Progress:
    """Where the member gets to now; the same value when nowhere.

    ``owned`` is what it says that it holds, ``None`` when it does not say. Until it says that partitions are
    gone they count as held.
    """
    at = member.at
    if at.state is MemberState.STABLE:
        if at.epoch == group.target_epoch and not has_subscription_changed:
            return at
        moved = _look(group, member, topics, owned, at.epoch)
    elif at.state is MemberState.UNREVOKED:
        if not _holds(owned, at.revoking):
            # What it had to give up is gone: one epoch on, even if there is more to give up by now.
            moved = _look(group, member, topics, owned, min(at.epoch + 1, group.target_epoch))
        elif has_subscription_changed:
            moved = _look(group, member, topics, owned, at.epoch, at.revoking)
        else:
            return at
    else:
        moved = _look(group, member, topics, owned, at.epoch)
    is_same = moved._replace(previous_epoch=at.previous_epoch) == at
    return at if is_same else moved


def _look(
    group: ConsumerGroup,
    member: ConsumerMember,
    topics: TopicsView,
    owned: OwnedPartitions | None,
    epoch: int,
    still_revoking: Owned | None = None,
) -> Progress:
    """Compares what the member has with its target, less what it does not subscribe to any more: the target
    may be older than its subscription."""
    at = member.at
    target = _still_subscribed(group, member, topics)
    assigned: dict[TopicId, Mapping[int, int]] = {}
    revoking: dict[TopicId, Mapping[int, int]] = dict(still_revoking or {})
    for topic_id, partitions in at.assigned.items():
        wanted = target.get(topic_id)
        if wanted is None:
            _add(revoking, topic_id, partitions)
        elif wanted >= partitions.keys():
            assigned[topic_id] = partitions
        else:
            kept = {number: since for number, since in partitions.items() if number in wanted}
            given_up = {number: since for number, since in partitions.items() if number not in wanted}
            if kept:
                assigned[topic_id] = kept
            _add(revoking, topic_id, given_up)
    if revoking and (still_revoking is not None or _holds(owned, revoking)):
        return _move(at, MemberEvent.MUST_REVOKE, epoch, assigned, revoking)
    epoch, event = group.target_epoch, MemberEvent.REACHED
    for topic_id, wanted in target.items():
        has = assigned.get(topic_id, {})
        added = {}
        for number in wanted:
            if number in has:
                continue
            if group.owner(topic_id, number) in (None, member.member_id):
                added[number] = epoch
            else:
                event = MemberEvent.MUST_WAIT
        if added:
            assigned[topic_id] = dict(sorted({**has, **added}.items()))
    return _move(at, event, epoch, assigned, {})


def _move(at: Progress, event: MemberEvent, epoch: int, assigned: Owned, revoking: Owned) -> Progress:
    return Progress(epoch, at.epoch, MEMBER_TRANSITIONS[at.state][event], assigned, revoking)


def _add(owned: dict[TopicId, Mapping[int, int]], topic_id: TopicId, partitions: Mapping[int, int]) -> None:
    owned[topic_id] = {**owned.get(topic_id, {}), **partitions}


def _still_subscribed(group: ConsumerGroup, member: ConsumerMember, topics: TopicsView) -> Assignment:
    target = group.targets.get(member.member_id, NO_TARGET)
    names = group.topics_of(member.said)
    by_id = topics.by_id
    gone = [topic_id for topic_id in target if topic_id not in by_id or by_id[topic_id].name not in names]
    if not gone:
        return target
    return {topic_id: partitions for topic_id, partitions in target.items() if topic_id not in gone}


def _holds(owned: OwnedPartitions | None, revoking: Owned) -> bool:
    """Whether the member still has something of ``revoking``, or does not say."""
    if owned is None:
        return True
    for part in owned:
        given_up = revoking.get(part.topic_id)
        if given_up is not None and any(number in given_up for number in part.partitions):
            return True
    return False


def is_part_of(owned: OwnedPartitions | None, assigned: Owned) -> bool:
    """Whether all that the member says it owns is assigned to it; not when it does not say."""
    if owned is None:
        return False
    for part in owned:
        numbers = assigned.get(part.topic_id)
        if numbers is None or any(number not in numbers for number in part.partitions):
            return False
    return True
