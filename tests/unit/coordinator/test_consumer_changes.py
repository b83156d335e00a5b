"""Records of consumer groups, held against those that a Kafka 4.3 wrote (two groups: one subscribes by a
regular expression, the other has members of both protocols)."""

from pathlib import Path

import pytest

from odradek.coordinator import consumer_changes
from odradek.coordinator.consumer_changes import PutProgress, PutSubscription, read_change
from odradek.coordinator.consumer_group import ConsumerGroup, GroupState
from odradek.coordinator.consumer_member import MemberState, Progress, Subscription
from odradek.coordinator.records import key_type
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.shard import GroupShard
from odradek.protocol.generated.consumer_group_current_member_assignment import (
    ConsumerGroupCurrentMemberAssignmentValue,
    TopicPartitions,
)
from odradek.protocol.primitives import MalformedError
from odradek.protocol.versioned import encode_versioned

from .harness import CONSUMER_CONFIG

FILE = Path(__file__).parent / "kafka_consumer_groups_43.txt"


def kafka_records() -> list[tuple[bytes, bytes | None]]:
    """Key and value per line, in hexadecimal; ``-`` is a tombstone."""
    lines = [line.split() for line in FILE.read_text().splitlines()]
    return [(bytes.fromhex(key), None if value == "-" else bytes.fromhex(value)) for key, value in lines]


def new_shard() -> GroupShard:
    return GroupShard(GroupSettings(), lambda _: CONSUMER_CONFIG, lambda: "suffix")


def test_what_kafka_wrote_is_what_we_write() -> None:
    kinds = set()
    for key, value in kafka_records():
        kinds.add(key_type(key))
        group_id, change = read_change(key_type(key), key, value)
        assert change is not None
        assert change.record(group_id) == (key, value)
    assert kinds == consumer_changes.KEYS - {consumer_changes.PARTITION_METADATA_KEY}


def test_groups_of_kafka_are_replayed() -> None:
    shard = new_shard()
    for offset, (key, value) in enumerate(kafka_records()):
        shard.replay(offset, -1, key, value)
    by_regex, mixed = shard.groups.values()
    assert isinstance(by_regex, ConsumerGroup)
    assert isinstance(mixed, ConsumerGroup)
    assert (by_regex.state, by_regex.epoch, by_regex.members) == (GroupState.EMPTY, 6, {})
    assert by_regex.regexes == by_regex.owners == by_regex.targets == {}
    assert (mixed.state, mixed.epoch, mixed.target_epoch) == (GroupState.ASSIGNING, 5, 3)
    member_id, other_id = mixed.members
    (topic_id,) = mixed.owners
    assert mixed.owners[topic_id] == {2: member_id, 3: member_id}
    assert mixed.members[member_id].at == Progress(3, 3, MemberState.STABLE, {topic_id: {2: 3, 3: 3}}, {})
    assert mixed.classic_protocols == {"sticky": 1}
    assert other_id == "new"


def test_a_change_can_be_taken_back() -> None:
    group = ConsumerGroup("g")
    said = Subscription(instance_id="i", topics=frozenset("t"), regex="x", server_assignor="range")
    at = Progress(2, 1, MemberState.UNREVOKED, {b"t": {0: 1}}, {b"t": {1: 1}})
    back = [PutSubscription("m", said).apply(group), PutProgress("m", at).apply(group)]
    assert group.owners == {b"t": {0: "m", 1: "m"}}
    for change in reversed(back):
        change.apply(group)
    assert group.members == group.owners == group.static_members == group.topic_members == {}
    assert group.regex_members == group.assignors == {}
    assert group.unsettled == 0


def test_progress_may_come_before_the_subscription() -> None:
    """As in a log that was compacted."""
    shard = new_shard()
    key, value = PutProgress("m", Progress(2, 1, assigned={b"t" * 16: {0: 1}})).record("g")
    shard.replay(0, -1, key, value)
    key, value = PutSubscription("m", Subscription(topics=frozenset("t"))).record("g")
    shard.replay(1, -1, key, value)
    group = shard.groups["g"]
    assert isinstance(group, ConsumerGroup)
    assert group.members["m"].said.topics == {"t"}
    assert group.members["m"].at.epoch == 2


def test_records_of_earlier_and_later_kafkas() -> None:
    """Without assignment epochs partitions are held since the member's epoch; an unknown state is looked at
    anew."""
    value = ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=7,
        previous_member_epoch=6,
        state=9,
        assigned_partitions=[TopicPartitions(topic_id=b"t" * 16, partitions=[1, 2])],
    )
    key, _ = PutProgress("m", None).record("g")
    _, change = read_change(8, key, encode_versioned(value, 0))
    assert change == PutProgress("m", Progress(7, 6, MemberState.UNRELEASED, {b"t" * 16: {1: 7, 2: 7}}, {}))
    key, _ = PutSubscription("m", None).record("g")
    kafka_3_7 = bytes.fromhex("00000000047261770b2f3132372e302e302e310102780000138800" + "00")
    _, change = read_change(5, key, kafka_3_7)
    assert isinstance(change, PutSubscription)
    assert change.said is not None
    assert change.said.classic is None


def test_tombstones_without_a_group_make_none() -> None:
    shard = new_shard()
    for key, _ in kafka_records():
        shard.replay(0, -1, key, None)
    shard.replay(0, -1, consumer_changes.partition_metadata_key("g"), b"\0\0\1\0")
    assert not shard.groups


@pytest.mark.parametrize("kind", sorted(consumer_changes.KEYS - {consumer_changes.PARTITION_METADATA_KEY}))
def test_a_value_that_is_none_is_refused(kind: int) -> None:
    key = next(key for key, _ in kafka_records() if key_type(key) == kind)
    for value in (b"", b"\0", b"\0\x63", b"\0\0\x7f"):
        with pytest.raises(MalformedError):
            new_shard().replay(0, -1, key, value)
    with pytest.raises(MalformedError):
        new_shard().replay(0, -1, key[:3], None)
