"""The server-side assignors beside Apache Kafka's own."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given

from odradek.coordinator.assignors.assignor import Assignment
from odradek.coordinator.assignors.table import ASSIGNORS
from tests.conformance.java_oracle import JavaOracle, Unavailable
from tests.support.messages import few
from tests.unit.coordinator.assignors.groups import Group, groups, parts, topic

pytestmark = pytest.mark.java


@pytest.fixture(scope="module")
def kafka() -> Iterator[JavaOracle]:
    try:
        oracle = JavaOracle("AssignorOracle")
    except Unavailable as error:
        pytest.skip(str(error))
    yield oracle
    oracle.close()


def targets_of(kafka: JavaOracle, assignor: str, group: Group) -> dict[str, Assignment]:
    counts = ",".join(str(count) for _, count in sorted(group.partition_counts.items()))
    members = [
        f"{member_id};{member.instance_id or ''};{_topics(member.topics)};{_target(member.target)}"
        for member_id, member in group.members.items()
    ]
    found: dict[str, Assignment] = {member_id: {} for member_id in group.members}
    for word in kafka.ask(" ".join([assignor, f"{counts},", *members])).split():
        member_id, _, target = word.partition("=")
        found[member_id] = {
            topic(int(number)): frozenset(map(int, partitions.split(",")))
            for number, _, partitions in (one.partition(":") for one in target.split("/") if one)
        }
    return found


def _topics(topics: frozenset[bytes]) -> str:
    return ",".join(str(each[-1]) for each in sorted(topics))


def _target(target: Assignment) -> str:
    return "/".join(
        f"{each[-1]}:{','.join(map(str, sorted(partitions)))}" for each, partitions in target.items()
    )


def sane(group: Group) -> Group:
    """Without what Kafka's assignors are never given: topics and partitions that are not there, one partition
    with two owners, members without subscriptions in a group with some."""
    seen: set[tuple[bytes, int]] = set()
    members = {}
    for member_id, member in group.members.items():
        target: dict[bytes, frozenset[int]] = {}
        for topic_id, partition in sorted(parts(member.target)):
            count = group.partition_counts.get(topic_id, 0)
            if topic_id in member.topics and partition < count and (topic_id, partition) not in seen:
                seen.add((topic_id, partition))
                target[topic_id] = target.get(topic_id, frozenset()) | {partition}
        topics = member.topics & frozenset(group.partition_counts)
        members[member_id] = member._replace(topics=topics, target=target)
    return Group(members, group.partition_counts)


def kept(group: Group, targets: Mapping[str, Assignment]) -> int:
    return sum(len(parts(member.target) & parts(targets[name])) for name, member in group.members.items())


def test_range_is_kafkas(kafka: JavaOracle) -> None:
    @few(500)
    @given(groups())
    def check(drawn: Group) -> None:
        group = sane(drawn)
        if group.members:
            assert ASSIGNORS["range"](*group) == targets_of(kafka, "range", group)

    check()


def test_uniform_is_as_balanced_as_kafkas_and_moves_no_more(kafka: JavaOracle) -> None:
    @few(500)
    @given(groups(is_homogeneous=True))
    def check(drawn: Group) -> None:
        group = sane(drawn)
        if group.members:
            ours, theirs = ASSIGNORS["uniform"](*group), targets_of(kafka, "uniform", group)
            sizes = [sorted(len(parts(target)) for target in targets.values()) for targets in (ours, theirs)]
            assert sizes[0] == sizes[1]
            assert kept(group, ours) >= kept(group, theirs)

    check()


def test_uniform_with_different_subscriptions_is_no_less_even_than_kafkas(kafka: JavaOracle) -> None:
    worse = better = 0

    @few(500)
    @given(groups(is_homogeneous=False))
    def check(drawn: Group) -> None:
        nonlocal worse, better
        group = sane(drawn)
        if group.members:
            ours, theirs = ASSIGNORS["uniform"](*group), targets_of(kafka, "uniform", group)
            spread = [
                sum(len(parts(target)) ** 2 for target in targets.values()) for targets in (ours, theirs)
            ]
            worse += spread[0] > spread[1]
            better += spread[0] < spread[1]

    check()
    assert worse <= better
