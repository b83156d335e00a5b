"""Records as Kafka wrote them, and those of kinds that are not served."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from odradek.coordinator import records
from odradek.coordinator.classic_group import ClassicGroup, Member, State
from odradek.coordinator.kept_offset import look
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.shard import GroupShard
from odradek.core.ids import ZERO_ID, id_text
from odradek.protocol.generated.legacy_offset_commit import LegacyOffsetCommitValue
from odradek.protocol.primitives import MalformedError
from odradek.protocol.versioned import encode_versioned
from odradek.records.batch import iterate_batches
from odradek.records.record import Record, read_records

from .harness import CONSUMER_CONFIG

KAFKA_LOG = Path(__file__).parent / "kafka_offsets_42.b64"
"""Partition 42 of a ``__consumer_offsets`` that Kafka 4.3 wrote: group g1 with one member and some commits,
which then left."""


def kafka_records() -> Iterator[Record]:
    log = base64.b64decode(KAFKA_LOG.read_text())
    for position, header in iterate_batches(log):
        yield from read_records(log[position : position + header.size])


def new_shard() -> GroupShard:
    return GroupShard(GroupSettings(), lambda _: CONSUMER_CONFIG, lambda: "suffix")


def test_a_partition_of_kafka_is_replayed() -> None:
    shard = new_shard()
    for record in kafka_records():
        value = bytes(record.value) if record.value is not None else None
        shard.replay(record.offset, -1, bytes(record.key or b""), value)
        group = shard.groups["g1"]
        if record.offset == 1:
            assert (group.state, group.generation, group.protocol_name) == (State.STABLE, 1, "range")
            (member,) = group.members.values()
            assert member.assignment == b"abc"
            assert member.client_host == "/127.0.0.1"
            assert group.subscribed_topics == {"t1"}
    assert (group.state, group.generation) == (State.EMPTY, 2)
    first, second = map(look, shard.offsets.groups["g1"]["t1"].values())
    assert (first.offset, first.record_offset, first.leader_epoch) == (50, 5, -1)
    assert (second.offset, id_text(second.topic_id)) == (11, "KPO0DGfKTKCNzjw31W13EQ")


def test_records_are_written_as_kafka_writes_them() -> None:
    for record in kafka_records():
        key, value = bytes(record.key or b""), bytes(record.value or b"")
        if records.key_type(key) == records.GROUP_KEY:
            group = records.read_group("g1", value)
            assignments = {member.member_id: member.assignment for member in group.members.values()}
            if not group.generation:
                assert records.new_group_record(group) == (key, value)
            assert records.group_record(group, assignments) == (key, value)
        else:
            name = records.read_offset_key(key)
            committed = records.read_offset_value(value, record.offset)
            assert records.offset_key(*name) == key
            assert records.offset_value(*committed[:-1]) == value


def test_a_retention_needs_the_old_version() -> None:
    value = records.offset_value(7, 3, "note", 1_000, 2_000, b"x" * 16)
    assert value[:2] == b"\0\1"
    assert records.read_offset_value(value, 9) == (7, -1, "note", 1_000, 2_000, ZERO_ID, 9)


@pytest.mark.parametrize("topic_id", [ZERO_ID, b"t" * 16])
@pytest.mark.parametrize("metadata", ["", "note"])
@pytest.mark.parametrize("numbers", [(0, -1, 0), (2**63 - 1, 2**31 - 1, 1_700_000_000_000)])
def test_a_value_says_what_was_committed(
    topic_id: bytes, metadata: str, numbers: tuple[int, int, int]
) -> None:
    offset, leader_epoch, commit_ms = numbers
    value = records.offset_value(offset, leader_epoch, metadata, commit_ms, -1, topic_id)
    assert records.read_offset_value(value, 9) == (
        offset,
        leader_epoch,
        metadata,
        commit_ms,
        -1,
        topic_id,
        9,
    )


def test_legacy_offsets_are_read() -> None:
    shard = new_shard()
    key = b"\0\0" + records.offset_key("g", "t", 1)[2:]
    legacy = LegacyOffsetCommitValue(offset=5, metadata="m", commit_timestamp=77)
    shard.replay(0, -1, key, encode_versioned(legacy, 0))
    committed = shard.offsets.get("g", "t", 1)
    assert committed is not None
    assert (committed.offset, committed.metadata, committed.commit_timestamp_ms) == (5, "m", 77)


@pytest.mark.parametrize("kind", [11, 17, 300, -2])
def test_other_kinds_of_groups_are_left_alone(kind: int) -> None:
    shard = new_shard()
    shard.replay(0, -1, kind.to_bytes(2, "big", signed=True) + b"\0\3abc", b"whatever")
    shard.replay(1, -1, kind.to_bytes(2, "big", signed=True) + b"\0\3abc", None)
    assert shard.foreign_records == 2
    assert not shard.groups


def test_a_key_too_short_to_have_a_kind_is_left_alone() -> None:
    shard = new_shard()
    shard.replay(0, -1, b"\0", None)
    assert shard.foreign_records == 1


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\3", b"\0\x63aaaa", b"\0\3\x7f\xff"])
def test_a_value_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedError):
        new_shard().replay(0, -1, records.group_key("g"), value)
    with pytest.raises(MalformedError):
        new_shard().replay(0, -1, records.offset_key("g", "t", 0), value)


def test_metadata_that_is_not_the_consumer_protocols_may_be_anything() -> None:
    group = ClassicGroup("g", 0)
    group.protocol_type, group.protocol_name = "consumer", "range"
    for metadata in (b"", b"\0", b"\0\0\xff\xff\xff\xff", b"\0\1\0\0\0\5"):
        group.members.clear()
        group.members["m"] = Member("m", None, "", "", 1, 1, (("range", metadata),))
        assert group.compute_subscribed_topics() in (None, frozenset())
    group.members["m"].protocols = (("range", b""),)
    assert group.compute_subscribed_topics() is None
    assert group.is_subscribed_to("anything")
