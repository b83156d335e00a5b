from random import Random

from hypothesis import given
from hypothesis import strategies as st

from odradek.coordinator.assignors.range import assign_ranges

from .groups import (
    Group,
    check_complete,
    check_unchanged_are_the_same_object,
    groups,
    subscribing,
    topic,
    with_targets,
)


@given(groups())
def test_each_partition_goes_to_one_subscriber(group: Group) -> None:
    targets = assign_ranges(*group)
    check_complete(group, targets)
    check_unchanged_are_the_same_object(group, targets)


@given(groups(), st.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_does_not_matter(group: Group, random: Random) -> None:
    members = list(group.members.items())
    random.shuffle(members)
    assert assign_ranges(dict(members), group.partition_counts) == assign_ranges(*group)


@given(groups())
def test_ranges_are_contiguous_and_differ_by_one(group: Group) -> None:
    targets = assign_ranges(*group)
    for topic_id, count in group.partition_counts.items():
        readers = [name for name, member in group.members.items() if topic_id in member.topics]
        ranges = [targets[name].get(topic_id, frozenset()) for name in readers]
        assert all(max(each) - min(each) + 1 == len(each) for each in ranges if each)
        assert all(len(each) - count // len(readers) in (0, 1) for each in ranges)


@given(groups())
def test_topics_with_the_same_subscribers_are_co_partitioned(group: Group) -> None:
    targets = assign_ranges(*group)
    readers = {
        topic_id: {name for name, member in group.members.items() if topic_id in member.topics}
        for topic_id in group.partition_counts
    }
    for one, count in group.partition_counts.items():
        for other, other_count in group.partition_counts.items():
            if count == other_count and readers[one] == readers[other]:
                assert all(target.get(one) == target.get(other) for target in targets.values())


@given(groups())
def test_static_members_keep_theirs_under_new_member_ids(group: Group) -> None:
    renamed = {
        f"new-{name}" if member.instance_id else name: member for name, member in group.members.items()
    }
    before, after = assign_ranges(*group), assign_ranges(renamed, group.partition_counts)
    for name, member in group.members.items():
        assert after[f"new-{name}" if member.instance_id else name] == before[name]


def test_static_members_come_first() -> None:
    members = {"a": subscribing(1, 2), "z": subscribing(1, 2, instance_id="one")}
    assert assign_ranges(members, {topic(1): 3, topic(2): 3}) == {
        "a": {topic(1): frozenset({2}), topic(2): frozenset({2})},
        "z": {topic(1): frozenset({0, 1}), topic(2): frozenset({0, 1})},
    }


def test_nothing_changes_for_those_who_have_their_range() -> None:
    members = {name: subscribing(1) for name in "abc"}
    targets = assign_ranges(members, {topic(1): 7})
    again = assign_ranges(with_targets(members, targets), {topic(1): 7})
    assert all(again[name] is targets[name] for name in members)
