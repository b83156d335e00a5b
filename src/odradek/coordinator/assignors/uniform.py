"""The ``uniform`` assignor: members read about as many partitions each, and keep what they have.

Topics that the same members subscribe to form a *class* and are balanced as one; a group whose members all
subscribe to the same topics has one class. Within a class, as in Kafka:

- Balance: a subscriber that has two partitions more than another one has none of this class to give. So if
  all subscriptions are equal, members differ by one partition at most.
- Stickiness: a partition moves only from a member with two or more partitions above the one that gets it. If
  all subscriptions are equal, no balanced assignment moves fewer.

With overlapping subscriptions, balancing one class may unbalance another. Rounds over all classes go on
until nothing moves, or until ``_MAX_ROUNDS``, as in Kafka.

Source: KIP-848, ``UniformAssignor``. Kafka balances topic by topic where subscriptions differ, and gives the
odd partitions to members in no particular order; here they stay where they are.
"""

from collections.abc import Mapping
from heapq import heapify, heappop, heapreplace

from odradek.coordinator.assignors.assignor import Assignment, MemberSubscription
from odradek.core.ids import TopicId

_MAX_ROUNDS = 16

_Partition = tuple[TopicId, int]


def assign_uniformly(
    members: Mapping[str, MemberSubscription], partition_counts: Mapping[TopicId, int]
) -> dict[str, Assignment]:
    """See :class:`~odradek.coordinator.assignors.assignor.Assignor`."""
    member_ids = sorted(members)
    subscriptions = [members[member_id] for member_id in member_ids]
    classes = _classes(subscriptions, partition_counts)
    loads = [0] * len(member_ids)
    changed: set[int] = set()
    _keep(classes, subscriptions, loads, changed)
    for each in classes:
        each.hand_out(loads, changed)
    for _ in range(_MAX_ROUNDS):
        moves = [each.level(loads, changed) for each in classes]
        if len(classes) == 1 or not any(moves):
            break
    result = {member_id: members[member_id].target for member_id in member_ids}
    for index in changed:
        assignment = _assignment(classes, index)
        if assignment != result[member_ids[index]]:
            result[member_ids[index]] = assignment
    return result


class _Class:
    """Topics that the same members subscribe to, and who holds which of their partitions."""

    __slots__ = ("counts", "held", "owners", "subscribers")

    def __init__(self, subscribers: list[int], counts: dict[TopicId, int]) -> None:
        self.subscribers = subscribers
        self.counts = counts
        """Partitions of each topic, in the order of topic ids."""
        self.owners = {topic: [False] * count for topic, count in counts.items()}
        """Whether a partition has an owner yet."""
        self.held: dict[int, list[_Partition]] = {}
        """Partitions by member, those that it would give away first at the end."""

    def hand_out(self, loads: list[int], changed: set[int]) -> None:
        """Gives what nobody has to those that have least."""
        least = [(loads[index], index) for index in self.subscribers]
        heapify(least)
        for topic, owned in self.owners.items():
            for partition, is_owned in enumerate(owned):
                if is_owned:
                    continue
                load, taker = least[0]
                heapreplace(least, (load + 1, taker))
                self.held.setdefault(taker, []).append((topic, partition))
                changed.add(taker)
        for load, index in least:
            loads[index] = load

    def level(self, loads: list[int], changed: set[int]) -> int:
        """Moves partitions from those that have most to those that have least; returns how many.

        Neither heap learns what the other one's moves did to a load. It need not: the highest load only
        sinks and the lowest only rises, so whoever gave or got is out of the race until they are next to
        each other, which is the end.
        """
        least = [(loads[index], index) for index in self.subscribers]
        most = [(-loads[index], index) for index in self.held]
        heapify(least)
        heapify(most)
        moves = 0
        while most:
            high, giver = most[0]
            low, taker = least[0]
            if -high - low < 2:
                break
            given = self.held[giver]
            self.held.setdefault(taker, []).append(given.pop())
            if given:
                heapreplace(most, (high + 1, giver))
            else:
                del self.held[giver]
                heappop(most)
            heapreplace(least, (low + 1, taker))
            loads[giver] -= 1
            loads[taker] += 1
            changed.update((giver, taker))
            moves += 1
        return moves


def _classes(
    subscriptions: list[MemberSubscription], partition_counts: Mapping[TopicId, int]
) -> list[_Class]:
    """The classes, those with most partitions for each subscriber first: what comes later evens it out."""
    alike: dict[frozenset[TopicId], list[int]] = {}
    for index, subscription in enumerate(subscriptions):
        alike.setdefault(subscription.topics, []).append(index)
    kinds = list(alike.values())
    kinds_of_topic: dict[TopicId, list[int]] = {}
    for kind, topics in enumerate(alike):
        for topic in topics:
            if topic in partition_counts:
                kinds_of_topic.setdefault(topic, []).append(kind)
    topics_of_kinds: dict[tuple[int, ...], list[TopicId]] = {}
    for topic, its_kinds in sorted(kinds_of_topic.items()):
        topics_of_kinds.setdefault(tuple(its_kinds), []).append(topic)
    classes = [
        _Class(
            sorted(index for kind in its_kinds for index in kinds[kind]),
            {topic: partition_counts[topic] for topic in topics},
        )
        for its_kinds, topics in topics_of_kinds.items()
    ]
    classes.sort(
        key=lambda each: (
            -sum(each.counts.values()) / len(each.subscribers),
            len(each.subscribers),
            min(each.counts),
        )
    )
    return classes


def _keep(
    classes: list[_Class], subscriptions: list[MemberSubscription], loads: list[int], changed: set[int]
) -> None:
    """Leaves members what they have, unless they no longer subscribe to it, or it is gone or taken.

    Two members can claim one partition when the group comes from the classic protocol, where clients assign.
    """
    class_of_topic = {topic: each for each in classes for topic in each.counts}
    for index, subscription in enumerate(subscriptions):
        for topic, partitions in sorted(subscription.target.items()):
            each = class_of_topic.get(topic)
            if each is None or topic not in subscription.topics:
                changed.add(index)
                continue
            owned = each.owners[topic]
            for partition in sorted(partitions):
                if partition < len(owned) and not owned[partition]:
                    owned[partition] = True
                    each.held.setdefault(index, []).append((topic, partition))
                    loads[index] += 1
                else:
                    changed.add(index)


def _assignment(classes: list[_Class], index: int) -> Assignment:
    partitions: dict[TopicId, set[int]] = {}
    for each in classes:
        for topic, partition in each.held.get(index, ()):
            partitions.setdefault(topic, set()).add(partition)
    return {topic: frozenset(which) for topic, which in partitions.items()}
