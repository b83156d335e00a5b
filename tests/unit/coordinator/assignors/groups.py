"""Random groups for the assignors, and what holds for every assignment."""

from collections.abc import Mapping
from typing import NamedTuple

from hypothesis import strategies as st

from odradek.coordinator.assignors.assignor import Assignment, MemberSubscription
from odradek.core.ids import TopicId


class Group(NamedTuple):
    members: dict[str, MemberSubscription]
    partition_counts: dict[TopicId, int]


def topic(number: int) -> TopicId:
    return bytes(15) + bytes([number])


def subscribing(*numbers: int, instance_id: str | None = None) -> MemberSubscription:
    return MemberSubscription(frozenset(map(topic, numbers)), instance_id=instance_id)


def parts(assignment: Assignment) -> set[tuple[TopicId, int]]:
    return {(topic, partition) for topic, partitions in assignment.items() for partition in partitions}


def with_targets(
    members: Mapping[str, MemberSubscription], targets: Mapping[str, Assignment]
) -> dict[str, MemberSubscription]:
    """The members as they come to the next assignment; newcomers bring what they had."""
    return {
        member_id: member._replace(target=targets.get(member_id, member.target))
        for member_id, member in members.items()
    }


_TOPICS = 6
_PARTITIONS = 14


def bits(mask: int) -> list[int]:
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


@st.composite
def groups(draw: st.DrawFn, is_homogeneous: bool | None = None) -> Group:
    """Groups of up to 8 members over up to 5 topics, with any previous targets: stale, doubled, gone."""
    counts = draw(st.lists(st.integers(0, 12), max_size=_TOPICS - 1))
    masks = st.lists(st.integers(0, (1 << _PARTITIONS) - 1), max_size=_TOPICS)
    subscriptions = draw(st.lists(st.tuples(st.integers(0, (1 << _TOPICS) - 1), masks), max_size=8))
    if is_homogeneous if is_homogeneous is not None else draw(st.booleans()):
        subscriptions = [(subscriptions[0][0], targets) for _, targets in subscriptions]
    static, order = draw(st.integers(0, 255)), draw(st.sampled_from([1, 3, 5, 7]))
    members = {
        f"m{number * order % 8}": MemberSubscription(
            frozenset(map(topic, bits(topics))),
            {topic(index): frozenset(bits(mask)) for index, mask in enumerate(targets) if mask},
            f"i{number}" if static >> number & 1 else None,
        )
        for number, (topics, targets) in enumerate(subscriptions)
    }
    return Group(members, {topic(number): count for number, count in enumerate(counts)})


def check_complete(group: Group, targets: Mapping[str, Assignment]) -> None:
    """Each partition of a topic with subscribers goes to one of them; nothing else goes to anybody."""
    assert targets.keys() == group.members.keys()
    given = [
        (member_id, topic, partition)
        for member_id, assignment in targets.items()
        for topic, partition in parts(assignment)
    ]
    assert all(topic in group.members[member_id].topics for member_id, topic, _ in given)
    assert all(partitions for assignment in targets.values() for partitions in assignment.values())
    subscribed = frozenset[TopicId]().union(*(member.topics for member in group.members.values()))
    wanted = [
        (topic, partition)
        for topic, count in group.partition_counts.items()
        if topic in subscribed
        for partition in range(count)
    ]
    assert sorted((topic, partition) for _, topic, partition in given) == sorted(wanted)


def check_unchanged_are_the_same_object(group: Group, targets: Mapping[str, Assignment]) -> None:
    for member_id, member in group.members.items():
        assert targets[member_id] is member.target or targets[member_id] != member.target
