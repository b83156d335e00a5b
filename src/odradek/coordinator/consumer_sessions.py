"""The timers of a consumer group's members.

``session`` is every member's: it must send something within its session timeout. ``rebalance`` runs while a
member is asked to give up partitions. ``join`` and ``sync`` are for members of the classic protocol: they
run from when one is asked to join again, and from its JoinGroup to its SyncGroup.
"""

from collections.abc import Container

from odradek.coordinator.consumer_group import ConsumerGroup
from odradek.coordinator.consumer_member import Session
from odradek.coordinator.step import Now, Step, TimerKey

SESSION = "consumer-session"
REBALANCE = "consumer-rebalance"
JOIN = "consumer-join"
SYNC = "consumer-sync"
KINDS = frozenset((SESSION, REBALANCE, JOIN, SYNC))

RESUME_MS = 5_000
"""When a member is looked at again whose removal could not be written."""


def session_key(group: ConsumerGroup, member_id: str) -> TimerKey:
    return SESSION, group.group_id, member_id


def session_of(group: ConsumerGroup, member_id: str) -> Session:
    session = group.sessions.get(member_id)
    if session is None:
        session = group.sessions[member_id] = Session()
    return session


def keep_session(step: Step, group: ConsumerGroup, member_id: str, timeout_ms: int, now: Now) -> None:
    """Gives the member until ``timeout_ms`` from now. As for classic groups the timer is only touched when
    it would fire too late."""
    session = session_of(group, member_id)
    deadline_ms = now.monotonic_ms + timeout_ms
    if not session.prolong(deadline_ms):
        session.deadline_ms = session.timer_deadline_ms = deadline_ms
        step.set_timer(session_key(group, member_id), deadline_ms)


def drop_session(step: Step, group: ConsumerGroup, member_id: str) -> None:
    """Cancels all timers of a member that is gone."""
    session = group.sessions.pop(member_id, None)
    if session is None:
        return
    step.cancel_timer(session_key(group, member_id))
    if session.rebalance_epoch is not None:
        step.cancel_timer((REBALANCE, group.group_id, member_id))
    if session.has_join_timer:
        step.cancel_timer((JOIN, group.group_id, member_id))
    if session.has_sync_timer:
        step.cancel_timer((SYNC, group.group_id, member_id))


def drop_orphans(step: Step, group: ConsumerGroup, members: Container[str]) -> None:
    """Cancels the timers of whoever is not one of ``members`` after all."""
    for member_id in list(group.sessions):
        if member_id not in members:
            drop_session(step, group, member_id)


def resume_session(step: Step, group: ConsumerGroup, member_id: str, now: Now) -> None:
    """A member whose removal was refused is still there, and must be looked at again."""
    if member_id in group.members:
        keep_session(step, group, member_id, RESUME_MS, now)


def watch_revocation(
    step: Step, group: ConsumerGroup, member_id: str, epoch: int, timeout_ms: int, now: Now
) -> None:
    """The member must leave ``epoch`` in time, by giving up what it was asked to."""
    session_of(group, member_id).rebalance_epoch = epoch
    step.set_timer((REBALANCE, group.group_id, member_id), now.monotonic_ms + timeout_ms)


def stop_watching(step: Step, group: ConsumerGroup, member_id: str) -> None:
    session = group.sessions.get(member_id)
    if session is not None and session.rebalance_epoch is not None:
        session.rebalance_epoch = None
        step.cancel_timer((REBALANCE, group.group_id, member_id))


def await_join(step: Step, group: ConsumerGroup, member_id: str, timeout_ms: int, now: Now) -> None:
    """A classic member was told to join again: the first time, the time for it begins."""
    session = session_of(group, member_id)
    if not session.has_join_timer:
        session.has_join_timer = True
        step.set_timer((JOIN, group.group_id, member_id), now.monotonic_ms + timeout_ms)


def joined(step: Step, group: ConsumerGroup, member_id: str, timeout_ms: int, now: Now) -> None:
    """A classic member joined: now it must ask for its assignment."""
    session = session_of(group, member_id)
    if session.has_join_timer:
        session.has_join_timer = False
        step.cancel_timer((JOIN, group.group_id, member_id))
    session.has_sync_timer = True
    step.set_timer((SYNC, group.group_id, member_id), now.monotonic_ms + timeout_ms)


def synced(step: Step, group: ConsumerGroup, member_id: str) -> None:
    """A classic member has its assignment."""
    session = session_of(group, member_id)
    if session.has_sync_timer:
        session.has_sync_timer = False
        step.cancel_timer((SYNC, group.group_id, member_id))
