import time
from collections.abc import Mapping
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from odradek.coordinator.assignors.assignor import Assignment, MemberSubscription
from odradek.coordinator.assignors.uniform import assign_uniformly

from .groups import (
    Group,
    check_complete,
    check_unchanged_are_the_same_object,
    groups,
    parts,
    subscribing,
    topic,
    with_targets,
)


def loads(targets: Mapping[str, Assignment]) -> dict[str, int]:
    return {member_id: len(parts(assignment)) for member_id, assignment in targets.items()}


@given(groups())
def test_each_partition_goes_to_one_subscriber(group: Group) -> None:
    targets = assign_uniformly(*group)
    check_complete(group, targets)
    check_unchanged_are_the_same_object(group, targets)


@given(groups(), st.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_does_not_matter(group: Group, random: Random) -> None:
    members = list(group.members.items())
    counts = list(group.partition_counts.items())
    random.shuffle(members)
    random.shuffle(counts)
    assert assign_uniformly(dict(members), dict(counts)) == assign_uniformly(*group)


@given(groups())
def test_no_single_move_would_balance_better(group: Group) -> None:
    targets = assign_uniformly(*group)
    load = loads(targets)
    for giver, assignment in targets.items():
        for taker, member in group.members.items():
            if any(topic in member.topics for topic in assignment):
                assert load[giver] - load[taker] < 2


@given(groups(is_homogeneous=True))
def test_with_equal_subscriptions_members_differ_by_one(group: Group) -> None:
    load = loads(assign_uniformly(*group)).values()
    assert not load or max(load) - min(load) <= 1


@given(groups(is_homogeneous=True))
def test_with_equal_subscriptions_no_balanced_assignment_moves_fewer(group: Group) -> None:
    once = with_targets(group.members, assign_uniformly(*group))
    for leaver in sorted(once)[:1]:
        del once[leaver]
    once["newcomer"] = MemberSubscription(
        next((member.topics for member in group.members.values()), frozenset({topic(0)}))
    )
    targets = assign_uniformly(once, group.partition_counts)
    total = sum(loads(targets).values())
    least, odd = divmod(total, len(once))
    had = sorted((len(parts(member.target)) for member in once.values()), reverse=True)
    quotas = [least + (rank < odd) for rank in range(len(had))]
    could_stay = sum(map(min, had, quotas))
    stayed = sum(len(parts(targets[member_id]) & parts(once[member_id].target)) for member_id in once)
    assert stayed == could_stay


@given(groups())
def test_nothing_moves_unless_something_changed(group: Group) -> None:
    targets = assign_uniformly(*group)
    again = assign_uniformly(with_targets(group.members, targets), group.partition_counts)
    assert all(again[member_id] is targets[member_id] for member_id in targets)


def test_classes_even_each_other_out() -> None:
    members = {"a": subscribing(1), "b": subscribing(1, 2), "c": subscribing(1, 2)}
    targets = assign_uniformly(members, {topic(1): 3, topic(2): 6})
    assert loads(targets) == {"a": 3, "b": 3, "c": 3}


def test_partitions_of_each_topic_are_spread() -> None:
    members = {name: subscribing(1, 2) for name in "abc"}
    targets = assign_uniformly(members, {topic(1): 3, topic(2): 3})
    assert all(len(target) == 2 for target in targets.values())


def test_new_partitions_go_to_those_with_least() -> None:
    members = {
        "a": subscribing(1)._replace(target={topic(1): frozenset({0, 1})}),
        "b": subscribing(1)._replace(target={topic(1): frozenset({2})}),
    }
    targets = assign_uniformly(members, {topic(1): 4})
    assert targets == {"a": members["a"].target, "b": {topic(1): frozenset({2, 3})}}


def test_a_thousand_members_over_a_thousand_partitions() -> None:
    counts = {topic(number): 100 for number in range(10)}
    members = {f"member-{number:04}": subscribing(*range(10)) for number in range(1000)}
    members = with_targets(members, assign_uniformly(members, counts))
    begin = time.process_time()
    joined = assign_uniformly(members | {"member-9999": subscribing(*range(10))}, counts)
    del members["member-0500"]
    left = assign_uniformly(members, counts)
    assert time.process_time() - begin < 0.5
    assert joined["member-9999"] == {}
    assert sum(left[member_id] is not members[member_id].target for member_id in members) == 1
