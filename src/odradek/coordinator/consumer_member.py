"""A member of a consumer group: its states, what it says of itself, and how far it is.

All moves of a member stand in :data:`MEMBER_TRANSITIONS`; the drawing in docs/groups.md is made from it.

Source: KIP-848; ``ConsumerGroupMember``, ``MemberState`` of Kafka's group coordinator.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import NamedTuple

from odradek.coordinator.classic_group import Protocols
from odradek.core.ids import TopicId

LEFT_EPOCH = -1
"""A member that sends this epoch leaves."""
AWAY_EPOCH = -2
"""A static member that sends this epoch goes, and will be back within its session timeout."""


class MemberState(IntEnum):
    """Where a member is on its way to its target; the numbers are those of Kafka's records."""

    STABLE = 0
    UNREVOKED = 1
    UNRELEASED = 2


class MemberEvent(Enum):
    """What a member's next look at its target comes to."""

    MUST_REVOKE = "must give up partitions first"
    MUST_WAIT = "others still hold partitions of its target"
    REACHED = "has its whole target"


_NEXT = {
    MemberEvent.MUST_REVOKE: MemberState.UNREVOKED,
    MemberEvent.MUST_WAIT: MemberState.UNRELEASED,
    MemberEvent.REACHED: MemberState.STABLE,
}
MEMBER_TRANSITIONS: dict[MemberState, dict[MemberEvent, MemberState]] = {
    MemberState.STABLE: _NEXT,
    MemberState.UNREVOKED: _NEXT,
    MemberState.UNRELEASED: _NEXT,
}
"""A member looks at its target when its heartbeat comes: a stable one when the target or its subscription
moved, one with partitions to revoke when its heartbeat says that they are, one that waits every time."""


Owned = Mapping[TopicId, Mapping[int, int]]
"""Partitions by topic, each with the epoch in which the member got it (KIP-1251). Never changed once made."""

NOTHING: Owned = {}


class ClassicPart(NamedTuple):
    """What a member of the classic protocol said, kept so that the group can become a classic one again."""

    session_timeout_ms: int
    protocols: Protocols


class Subscription(NamedTuple):
    """What a member says of itself: one record. An empty ``regex`` is none."""

    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: frozenset[str] = frozenset()
    regex: str = ""
    rebalance_timeout_ms: int = -1
    server_assignor: str | None = None
    classic: ClassicPart | None = None


class Progress(NamedTuple):
    """How far a member is: one record. ``revoking`` is what it still holds and must give up."""

    epoch: int = 0
    previous_epoch: int = 0
    state: MemberState = MemberState.STABLE
    assigned: Owned = NOTHING
    revoking: Owned = NOTHING


GONE = Progress(LEFT_EPOCH, LEFT_EPOCH)
"""What a deleted progress record stands for."""


class ConsumerMember(NamedTuple):
    """One member as a value."""

    member_id: str
    said: Subscription = Subscription()
    at: Progress = Progress()

    @property
    def is_classic(self) -> bool:
        return self.said.classic is not None


class Session:
    """What is kept in memory only of a member: its deadlines, monotonic."""

    __slots__ = ("deadline_ms", "has_join_timer", "has_sync_timer", "rebalance_epoch", "timer_deadline_ms")

    def __init__(self) -> None:
        self.deadline_ms = 0
        """A heartbeat moves only this; the timer, when it fires early, is set anew."""
        self.timer_deadline_ms: int | None = None
        self.rebalance_epoch: int | None = None
        """The epoch that the member must leave before its rebalance timer fires."""
        self.has_join_timer = False
        """A classic member was asked to join again, and the time for that runs."""
        self.has_sync_timer = False
        """It joined, and the time to ask for its assignment runs."""

    def prolong(self, deadline_ms: int) -> bool:
        """Moves the deadline, if the timer that runs will fire in time for it."""
        if self.timer_deadline_ms is None or self.timer_deadline_ms > deadline_ms:
            return False
        self.deadline_ms = deadline_ms
        return True
