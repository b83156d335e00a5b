"""A consumer group of the new protocol (KIP-848): its states, and what follows from its members.

The group has a *target assignment*, made by the coordinator whenever the group's epoch moved; every member
walks from what it has to its target in steps of its own (``consumer_member``). The moves of the group stand
in :data:`GROUP_TRANSITIONS`; the drawing in docs/groups.md is made from it. This module knows what a group
*is*: every field that has a record is changed by the changes in ``consumer_changes`` only, in replay as in
service. What moves it is in ``consumer_heartbeat``, ``consumer_target``, ``consumer_leave`` and
``classic_in_consumer``.

Source: KIP-848; ``ConsumerGroup`` and ``ModernGroup`` of Kafka's group coordinator.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple, Protocol

from odradek.coordinator.assignors.assignor import Assignment
from odradek.coordinator.classic_group import CONSUMER_PROTOCOL_TYPE
from odradek.coordinator.consumer_member import (
    GONE,
    ConsumerMember,
    MemberState,
    Owned,
    Progress,
    Session,
    Subscription,
)
from odradek.coordinator.rebalances import Rebalances
from odradek.coordinator.step import Token
from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicId


class GroupState(Enum):
    """States of a group, by the names that ListGroups and ConsumerGroupDescribe give."""

    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    RECONCILING = "Reconciling"
    STABLE = "Stable"
    DEAD = "Dead"


class GroupEvent(Enum):
    """What is true of a group after a change."""

    NO_MEMBERS = "nobody is left"
    BEHIND = "a member came, went or subscribed anew, or topics changed"
    ON_THE_WAY = "a new target assignment, and not all members have it"
    ALL_THERE = "all members have their target"
    REMOVED = "deleted, expired, converted or moved away"


_LEADS_TO = {
    GroupEvent.NO_MEMBERS: GroupState.EMPTY,
    GroupEvent.BEHIND: GroupState.ASSIGNING,
    GroupEvent.ON_THE_WAY: GroupState.RECONCILING,
    GroupEvent.ALL_THERE: GroupState.STABLE,
    GroupEvent.REMOVED: GroupState.DEAD,
}
GROUP_TRANSITIONS: dict[GroupState, dict[GroupEvent, GroupState]] = {
    state: {} if state is GroupState.DEAD else _LEADS_TO for state in GroupState
}

NO_TARGET: Assignment = {}


class ResolvedRegex(NamedTuple):
    """What a regular expression matches: one record. ``version`` is the metadata's, ``timestamp_ms`` the
    wall clock's."""

    topics: frozenset[str]
    version: int
    timestamp_ms: int


class PendingWrite(Protocol):
    """Records that are not durable yet, and the replies that wait for them: each with its token and with
    what makes an error of it."""

    replies: list[tuple[Token, Any, Callable[[ErrorCode], Any]]]


class ConsumerGroup:
    """One consumer group.

    Invariants: ``owners`` names, for every partition that a member has assigned or is revoking, that member;
    ``static_members`` maps instance ids to members that say so; the counts are those of ``members``;
    ``unsettled`` counts the members that are not stable in the target's epoch.
    """

    __slots__ = (
        "assignors",
        "classic_protocols",
        "epoch",
        "group_id",
        "in_flight",
        "members",
        "metadata_hash",
        "needs_refresh",
        "owners",
        "rebalances",
        "regex_members",
        "regexes",
        "regexes_seen",
        "revision",
        "sessions",
        "state",
        "static_members",
        "target_epoch",
        "target_timestamp_ms",
        "targets",
        "topic_members",
        "unsettled",
    )

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.revision = 0
        """Moves with every change, and when topics must be looked at: as long as it stands still, a heartbeat
        that changed nothing changes nothing the next time either."""
        self.epoch = 1
        """Every change of members, subscriptions or topics moves it; a group without a record is in 1."""
        self.metadata_hash = 0
        self.target_epoch = 1
        self.target_timestamp_ms = 0
        """Wall clock."""
        self.members: dict[str, ConsumerMember] = {}
        self.static_members: dict[str, str] = {}
        self.targets: dict[str, Assignment] = {}
        self.owners: dict[TopicId, dict[int, str]] = {}
        self.regexes: dict[str, ResolvedRegex] = {}
        self.topic_members: dict[str, int] = {}
        """Members that subscribe to a topic by its name."""
        self.regex_members: dict[str, int] = {}
        self.assignors: dict[str, int] = {}
        self.classic_protocols: dict[str, int] = {}
        """Protocols of the members of the classic protocol, and how many of them speak each."""
        self.unsettled = 0
        self.needs_refresh = True
        """Topics changed, or might have, since the metadata hash was made."""
        self.regexes_seen: Mapping[str, object] | None = None
        """The topics that ``regexes`` were resolved against; ``None`` when that must be done afresh."""
        self.sessions: dict[str, Session] = {}
        self.rebalances = Rebalances()
        self.in_flight: PendingWrite | None = None
        """The last write of this group that is not durable yet."""

    # Changes, each of which answers what was there before

    def put_subscription(self, member_id: str, said: Subscription | None) -> Subscription | None:
        """Replaces what a member said; ``None`` removes the member, which must have given up everything."""
        self.revision += 1
        old = self.members.get(member_id)
        if old is not None:
            self._count(old.said, -1)
            instance_id = old.said.instance_id
            if instance_id is not None and self.static_members.get(instance_id) == member_id:
                del self.static_members[instance_id]
        if said is None:
            if old is not None:
                self._put_progress(old, GONE)
                self.unsettled -= not self.is_settled(self.members.pop(member_id))
        else:
            member = ConsumerMember(member_id, said) if old is None else old._replace(said=said)
            self.members[member_id] = member
            self.unsettled += old is None and not self.is_settled(member)
            self._count(said, 1)
            if said.instance_id is not None:
                self.static_members[said.instance_id] = member_id
        return old.said if old is not None else None

    def _count(self, said: Subscription, change: int) -> None:
        for topic in said.topics:
            _add(self.topic_members, topic, change)
        if said.regex:
            _add(self.regex_members, said.regex, change)
        if said.server_assignor is not None:
            _add(self.assignors, said.server_assignor, change)
        if said.classic is not None:
            for name, _ in said.classic.protocols:
                _add(self.classic_protocols, name, change)

    def put_progress(self, member_id: str, at: Progress | None) -> Progress | None:
        """Replaces how far a member is; ``None`` takes everything from it."""
        member = self.members.get(member_id)
        if member is None:
            if at is None:
                return None
            # In a compacted log a member's subscription may come after its progress.
            self.put_subscription(member_id, Subscription())
            member = self.members[member_id]
        self._put_progress(member, GONE if at is None else at)
        return member.at

    def _put_progress(self, member: ConsumerMember, at: Progress) -> None:
        self.revision += 1
        member_id = member.member_id
        self._release(member_id, member.at.assigned)
        self._release(member_id, member.at.revoking)
        for part in (at.assigned, at.revoking):
            for topic_id, partitions in part.items():
                owners = self.owners.get(topic_id)
                if owners is None:
                    owners = self.owners[topic_id] = {}
                for partition in partitions:
                    owners[partition] = member_id
        changed = member._replace(at=at)
        self.members[member_id] = changed
        self.unsettled += self.is_settled(member) - self.is_settled(changed)

    def _release(self, member_id: str, part: Owned) -> None:
        for topic_id, partitions in part.items():
            owners = self.owners.get(topic_id)
            if owners is None:
                continue
            for partition in partitions:
                if owners.get(partition) == member_id:
                    del owners[partition]
            if not owners:
                del self.owners[topic_id]

    def put_target(self, member_id: str, target: Assignment | None) -> Assignment | None:
        self.revision += 1
        old = self.targets.get(member_id)
        if target is None:
            self.targets.pop(member_id, None)
        else:
            self.targets[member_id] = target
        return old

    def put_epoch(self, epoch: int, metadata_hash: int) -> tuple[int, int]:
        self.revision += 1
        old = self.epoch, self.metadata_hash
        self.epoch, self.metadata_hash = epoch, metadata_hash
        return old

    def put_target_epoch(self, epoch: int, timestamp_ms: int) -> tuple[int, int]:
        self.revision += 1
        old = self.target_epoch, self.target_timestamp_ms
        self.target_epoch, self.target_timestamp_ms = epoch, timestamp_ms
        self.unsettled = sum(not self.is_settled(member) for member in self.members.values())
        return old

    def put_regex(self, regex: str, resolved: ResolvedRegex | None) -> ResolvedRegex | None:
        self.revision += 1
        old = self.regexes.get(regex)
        if resolved is None:
            self.regexes.pop(regex, None)
        else:
            self.regexes[regex] = resolved
        return old

    def must_refresh(self) -> None:
        """Has the next heartbeat look at the topics: they changed, or what was learnt of them is void."""
        self.revision += 1
        self.needs_refresh = True

    def moved(self) -> None:
        """Takes the state over that the last changes led to."""
        if not self.members:
            event = GroupEvent.NO_MEMBERS
        elif self.epoch > self.target_epoch:
            event = GroupEvent.BEHIND
        elif self.unsettled:
            event = GroupEvent.ON_THE_WAY
        else:
            event = GroupEvent.ALL_THERE
        self.state = GROUP_TRANSITIONS[self.state][event]

    # What follows

    def is_settled(self, member: ConsumerMember) -> bool:
        """Whether the member needs nothing more to be what the target wants."""
        at = member.at
        return at.state is MemberState.STABLE and at.epoch == self.target_epoch

    def owner(self, topic_id: TopicId, partition: int) -> str | None:
        """Who holds a partition, in whatever epoch."""
        owners = self.owners.get(topic_id)
        return owners.get(partition) if owners is not None else None

    def topics_of(self, said: Subscription) -> frozenset[str]:
        """The names that a member subscribes to, those of its regular expression included."""
        if not said.regex:
            return said.topics
        resolved = self.regexes.get(said.regex)
        return said.topics if resolved is None else said.topics | resolved.topics

    def subscribed_topics(self) -> set[str]:
        """All names that members subscribe to."""
        names = set(self.topic_members)
        for regex in self.regex_members:
            resolved = self.regexes.get(regex)
            if resolved is not None:
                names |= resolved.topics
        return names

    def preferred_assignor(self) -> str:
        """What most members that name an assignor name; the first to be named wins a tie. Else ``""``."""
        return max(self.assignors, key=lambda name: self.assignors[name], default="")

    @property
    def classic_count(self) -> int:
        """Members of the classic protocol. Walks over all: for conversions, not for heartbeats."""
        return sum(member.is_classic for member in self.members.values())

    def accepts(self, protocol_type: str, names: Iterable[str]) -> bool:
        """Whether a member of the classic protocol fits: all others of it must speak one of its protocols."""
        if protocol_type != CONSUMER_PROTOCOL_TYPE:
            return False
        count = self.classic_count
        return any(self.classic_protocols.get(name, 0) == count for name in names)

    # What every kind of group can say

    @property
    def is_empty(self) -> bool:
        return not self.members

    @property
    def protocol_type(self) -> str:
        return CONSUMER_PROTOCOL_TYPE

    @property
    def protocol_name(self) -> str:
        """The assignor that members ask for, where a classic group has the protocol they agreed on."""
        return self.preferred_assignor()

    @property
    def speaks_consumer_protocol(self) -> bool:
        return True

    def is_subscribed_to(self, topic: str) -> bool:
        return topic in self.topic_members or any(
            topic in resolved.topics
            for regex, resolved in self.regexes.items()
            if regex in self.regex_members
        )


def _add(counts: dict[str, int], name: str, change: int) -> None:
    count = counts.get(name, 0) + change
    if count:
        counts[name] = count
    else:
        del counts[name]
