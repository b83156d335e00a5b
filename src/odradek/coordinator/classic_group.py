"""A classic consumer group: its states, its members and what follows from them.

All transitions stand in :data:`TRANSITIONS`; the drawing in docs/groups.md is made from it. This module
knows what a group *is*; how requests and timers move it is in ``classic_join``, ``classic_rebalance`` and
``classic_membership``.

Source: ``ClassicGroup``, ``ClassicGroupState`` and ``ClassicGroupMember`` of Kafka's group coordinator.
"""

from collections.abc import Iterable
from enum import Enum

from odradek.coordinator.rebalances import Rebalances
from odradek.coordinator.step import Token
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.consumer_protocol import ConsumerProtocolSubscription
from odradek.protocol.primitives import MalformedError

CONSUMER_PROTOCOL_TYPE = "consumer"


class State(Enum):
    """States of a group, by the names that DescribeGroups and ListGroups give."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class Event(Enum):
    """What moves a group from one state to another."""

    REBALANCE = "a member joined, changed, left or was lost"
    MEMBERS_JOINED = "all members rejoined or the rebalance timeout passed"
    NOBODY_JOINED = "nobody is left"
    ASSIGNED = "the leader's assignment is durable"
    REMOVED = "deleted, expired or moved away"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.EMPTY: {
        Event.REBALANCE: State.PREPARING_REBALANCE,
        Event.REMOVED: State.DEAD,
    },
    State.PREPARING_REBALANCE: {
        Event.MEMBERS_JOINED: State.COMPLETING_REBALANCE,
        Event.NOBODY_JOINED: State.EMPTY,
        Event.REMOVED: State.DEAD,
    },
    State.COMPLETING_REBALANCE: {
        Event.ASSIGNED: State.STABLE,
        Event.REBALANCE: State.PREPARING_REBALANCE,
        Event.REMOVED: State.DEAD,
    },
    State.STABLE: {
        Event.REBALANCE: State.PREPARING_REBALANCE,
        Event.REMOVED: State.DEAD,
    },
    State.DEAD: {},
}

Protocols = tuple[tuple[str, bytes], ...]
"""What a member can speak, in its order of preference: name and metadata."""


class Member:
    """One member: what it said when it joined, its assignment, and what it waits for."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "group_instance_id",
        "is_new",
        "join_token",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session_deadline_ms",
        "session_timeout_ms",
        "sync_token",
        "timer_deadline_ms",
    )

    def __init__(
        self,
        member_id: str,
        group_instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: Protocols,
        assignment: bytes = b"",
    ) -> None:
        self.member_id = member_id
        self.group_instance_id = group_instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        self.assignment = assignment
        self.is_new = False
        """It has not seen its first JoinGroup response, so it can be lost while it waits for it."""
        self.join_token: Token | None = None
        self.sync_token: Token | None = None
        self.session_deadline_ms = 0
        """Monotonic. A heartbeat moves only this; the timer, when it fires early, is set anew."""
        self.timer_deadline_ms: int | None = None
        """When the timer that is set will fire; ``None`` when none is set."""

    def metadata(self, protocol_name: str | None) -> bytes:
        """What the member sent for ``protocol_name``; empty when it does not speak it."""
        for name, metadata in self.protocols:
            if name == protocol_name:
                return metadata
        return b""

    @property
    def is_excused_from_heartbeat(self) -> bool:
        """It waits for an answer of ours and cannot send heartbeats meanwhile."""
        return not self.is_new and (self.join_token is not None or self.sync_token is not None)


class ClassicGroup:
    """One group.

    Invariants: the leader is a member; ``static_members`` maps each instance id to a member with that id;
    ``awaiting_join`` counts the members with a join token; ``supported`` counts, per protocol, the members
    that speak it.
    """

    __slots__ = (
        "awaiting_join",
        "generation",
        "group_id",
        "initial_delay_ms",
        "initial_remaining_ms",
        "is_assignment_in_flight",
        "leader_id",
        "members",
        "new_member_added",
        "pending_members",
        "pending_sync",
        "previous_state",
        "protocol_name",
        "protocol_type",
        "rebalances",
        "state",
        "state_since_ms",
        "static_members",
        "subscribed_topics",
        "supported",
    )

    def __init__(self, group_id: str, state_since_ms: int) -> None:
        self.group_id = group_id
        self.state = State.EMPTY
        self.previous_state = State.DEAD
        self.state_since_ms = state_since_ms
        """Wall clock; -1 when an old record did not say."""
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.leader_id: str | None = None
        self.members: dict[str, Member] = {}
        self.static_members: dict[str, str] = {}
        self.pending_members: set[str] = set()
        """Member ids that were handed out (KIP-394) and did not come back yet."""
        self.pending_sync: set[str] = set()
        self.awaiting_join = 0
        self.supported: dict[str, int] = {}
        self.subscribed_topics: frozenset[str] | None = None
        """``None`` when unknown: no consumer group, or metadata that is not the consumer protocol's."""
        self.new_member_added = False
        """Someone came during the initial delay, which may therefore be extended."""
        self.initial_delay_ms: int | None = None
        """The initial delay that is running; ``None`` outside of an initial rebalance."""
        self.initial_remaining_ms = 0
        self.is_assignment_in_flight = False
        """The leader's assignment of this generation is appended and not durable yet."""
        self.rebalances = Rebalances()

    def transition(self, event: Event, wall_ms: int) -> None:
        """Moves to the state that :data:`TRANSITIONS` gives; ``KeyError`` for what it does not foresee."""
        self.previous_state, self.state = self.state, TRANSITIONS[self.state][event]
        self.state_since_ms = wall_ms

    # Members

    def add(self, member: Member) -> None:
        """Takes ``member`` in; the first one brings the group's protocol type with it (see ``join``)."""
        self.members[member.member_id] = member
        if member.group_instance_id is not None:
            self.static_members[member.group_instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self._count_protocols(member, 1)
        if member.join_token is not None:
            self.awaiting_join += 1
        self.pending_members.discard(member.member_id)

    def remove(self, member_id: str) -> Member | None:
        """Takes a member (or a pending one) out; the longest-standing member follows a removed leader."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._count_protocols(member, -1)
            if member.join_token is not None:
                self.awaiting_join -= 1
            if member.group_instance_id is not None:
                self.static_members.pop(member.group_instance_id, None)
            if self.leader_id == member_id:
                self.leader_id = next(iter(self.members), None)
        self.pending_members.discard(member_id)
        self.pending_sync.discard(member_id)
        return member

    def replace_static(self, old_member_id: str, member: Member) -> Member:
        """Puts ``member`` in the place of the one with the same instance id; returns that one."""
        old = self.members.pop(old_member_id)
        self.pending_sync.discard(old_member_id)
        was_leader = self.leader_id == old_member_id
        self._count_protocols(old, -1)
        if old.join_token is not None:
            self.awaiting_join -= 1
        self.add(member)
        if was_leader:
            self.leader_id = member.member_id
        return old

    def await_join(self, member: Member, token: Token) -> Token | None:
        """Notes that ``member`` waits for the next generation; returns the token that this one displaces."""
        displaced = member.join_token
        if displaced is None:
            self.awaiting_join += 1
        member.join_token = token
        return displaced

    def take_join_token(self, member: Member) -> Token | None:
        """The token of a waiting member, which waits no longer."""
        token, member.join_token = member.join_token, None
        if token is not None:
            self.awaiting_join -= 1
        return token

    def set_protocols(self, member: Member, protocols: Protocols) -> None:
        self._count_protocols(member, -1)
        member.protocols = protocols
        self._count_protocols(member, 1)

    def _count_protocols(self, member: Member, change: int) -> None:
        for name, _ in member.protocols:
            count = self.supported.get(name, 0) + change
            if count:
                self.supported[name] = count
            else:
                del self.supported[name]

    def validate_member(self, member_id: str, group_instance_id: str | None) -> Member:
        """The member of that id; raises FENCED_INSTANCE_ID when another holds its instance id, else
        UNKNOWN_MEMBER_ID."""
        if group_instance_id is not None:
            holder = self.static_members.get(group_instance_id)
            if holder is None:
                raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
            if holder != member_id:
                raise ApiError(ErrorCode.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    @property
    def has_all_members_joined(self) -> bool:
        return len(self.members) == self.awaiting_join and not self.pending_members

    @property
    def rebalance_timeout_ms(self) -> int:
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    @property
    def is_empty(self) -> bool:
        """In state Empty; a group that is about to get its first members is not."""
        return self.state is State.EMPTY

    # Protocols and topics

    def accepts(self, protocol_type: str, protocol_names: Iterable[str]) -> bool:
        """Whether a member with these protocols fits: one of them must be spoken by all members."""
        if self.state is State.EMPTY:
            return bool(protocol_type) and any(True for _ in protocol_names)
        size = len(self.members)
        return protocol_type == self.protocol_type and any(
            self.supported.get(name, 0) == size for name in protocol_names
        )

    def select_protocol(self) -> str:
        """The protocol that all speak and most prefer; the oldest member's vote decides a tie."""
        size = len(self.members)
        votes: dict[str, int] = {}
        for member in self.members.values():
            choice = next(name for name, _ in member.protocols if self.supported[name] == size)
            votes[choice] = votes.get(choice, 0) + 1
        return max(votes, key=lambda name: votes[name])

    def start_generation(self, wall_ms: int) -> None:
        """Ends the joining: the next generation, with a protocol and the topics its members subscribe to."""
        self.generation += 1
        self.pending_sync.clear()
        self.is_assignment_in_flight = False
        self.protocol_name = self.select_protocol() if self.members else None
        self.subscribed_topics = self.compute_subscribed_topics()
        self.transition(Event.MEMBERS_JOINED if self.members else Event.NOBODY_JOINED, wall_ms)

    @property
    def speaks_consumer_protocol(self) -> bool:
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    def compute_subscribed_topics(self) -> frozenset[str] | None:
        """What the members subscribe to, read with version 0, which begins every later version."""
        if not self.speaks_consumer_protocol:
            return None
        if not self.members:
            return frozenset()
        if self.protocol_name is None:
            return None
        topics: set[str] = set()
        try:
            for member in self.members.values():
                metadata = memoryview(member.metadata(self.protocol_name))
                subscription, _ = ConsumerProtocolSubscription.decode(metadata, 2, 0)
                topics.update(subscription.topics)
        except MalformedError:
            return None
        return frozenset(topics)

    def is_subscribed_to(self, topic: str) -> bool:
        """An unknown subscription of a consumer group may be to anything."""
        if self.subscribed_topics is None:
            return self.speaks_consumer_protocol
        return topic in self.subscribed_topics
