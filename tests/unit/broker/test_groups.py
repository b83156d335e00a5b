"""Shards on their partitions: restarts, failing disks, topics that go, loading bit by bit."""

from pathlib import Path

import pytest

from odradek.broker import shard_runner
from odradek.coordinator import records
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.describe_groups import DescribeGroupsRequest
from odradek.protocol.generated.heartbeat import HeartbeatRequest
from odradek.protocol.generated.list_groups import ListGroupsRequest
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.protocol.generated.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup
from odradek.records.builder import build_batch
from odradek.records.control import build_marker
from odradek.records.record import Record
from odradek.storage.log import COORDINATOR
from odradek.storage.producers import Vouched

from .group_client import commit_request, committed, join_request, stable_member, start_join, with_groups
from .harness import Harness


def state(harness: Harness, group_id: str = "g") -> str:
    (described,) = harness.call(DescribeGroupsRequest(groups=[group_id])).groups
    return described.group_state


def test_a_group_survives_a_restart_and_its_members_must_show_up(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="3"))
    member_id, generation = stable_member(harness)
    harness.call(commit_request(5, member_id=member_id, generation_id_or_member_epoch=generation), 8)
    harness.restart()
    assert state(harness) == "Stable"
    beat = HeartbeatRequest(group_id="g", generation_id=generation, member_id=member_id)
    assert harness.call(beat).error_code == 0
    assert committed(harness) == {"t-0": 5}
    harness.restart()
    harness.advance(0)
    harness.advance(10_000)
    harness.flush()
    assert harness.call(beat).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert state(harness) == "Empty"
    harness.stop()


def test_a_failed_disk_tells_everyone_who_waits(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, _ = stable_member(harness, "other")
    joining = start_join(harness)
    commit = harness.send(commit_request(5, group_id="simple"), 8)
    fetch = harness.send(OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="g", topics=None)]), 9)
    (partition,) = harness.broker.topics.by_name["__consumer_offsets"].partitions
    partition.log.failed(OSError(5, "Input/output error"))
    code = ErrorCode.NOT_COORDINATOR
    assert joining.response().error_code == code
    assert commit.response().topics[0].partitions[0].error_code == code
    assert fetch.response().groups[0].error_code == code
    assert harness.call(HeartbeatRequest(group_id="other", member_id=member_id)).error_code == code
    assert harness.call(ListGroupsRequest()).groups == []
    harness.advance(1_000_000)


def test_what_is_too_large_is_refused_alone(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    (partition,) = harness.broker.topics.by_name["__consumer_offsets"].partitions
    request = commit_request(1)
    entry = request.topics[0].partitions[0]
    entry.committed_metadata = "x" * 4_000
    request.topics[0].partitions = [entry] * 300
    response = harness.call(request, 8)
    assert {part.error_code for part in response.topics[0].partitions} == {ErrorCode.UNKNOWN_SERVER_ERROR}
    assert committed(harness) == {}
    harness.call(commit_request(2), 8)
    assert committed(harness) == {"t-0": 2}
    assert partition.log.offline is None


def test_offsets_go_with_their_topic(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="3"), "t", "u")
    for group_id in ("a", "b"):
        harness.call(commit_request(5, group_id=group_id), 8)
        harness.call(commit_request(6, topic="u", group_id=group_id), 8)
    harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000))
    assert committed(harness, "a") == {"u-0": 6}
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    harness.restart()
    assert committed(harness, "a") == committed(harness, "b") == {"u-0": 6}
    harness.stop()


def test_offsets_of_an_earlier_topic_are_forgotten_at_start(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    harness.call(commit_request(5), 8)
    (runner,) = harness.broker.groups.runners()
    stale = records.offset_value(9, -1, "", 1_000, -1, b"o" * 16)
    runner.append_batch(runner._build([(records.offset_key("g", "t", 0), stale)]))
    harness.restart()
    assert committed(harness) == {}
    harness.stop()


def test_deleting_the_offsets_topic_ends_all_groups(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    joining = start_join(harness)
    harness.flush()
    topics = [DeleteTopicState(name="__consumer_offsets")]
    harness.call(DeleteTopicsRequest(topics=topics, timeout_ms=1_000))
    assert joining.response().error_code == ErrorCode.NOT_COORDINATOR
    assert harness.call(join_request()).error_code == ErrorCode.NOT_COORDINATOR
    with_groups(harness)
    assert state(harness) == "Dead"


def test_loading_goes_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    for offset in range(5):
        harness.call(commit_request(offset, group_id=f"g{offset}"), 8)
    monkeypatch.setattr(shard_runner, "LOAD_BYTES", 1)
    monkeypatch.setattr(shard_runner, "LOAD_SLICE_MS", 0)
    harness.restart()
    loading = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert harness.call(join_request("g0")).error_code == loading
    assert harness.call(ListGroupsRequest()).error_code == loading
    response = harness.call(commit_request(9, group_id="g0"), 8)
    assert response.topics[0].partitions[0].error_code == loading
    assert harness.call(HeartbeatRequest(group_id="g0", member_id="m")).error_code == 0
    for _ in range(6):
        harness.advance(0)
    assert len(harness.call(ListGroupsRequest()).groups) == 5
    assert committed(harness, "g3") == {"t-0": 3}
    harness.stop()


def test_a_log_with_transactions_and_strange_records_is_loaded(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    (partition,) = harness.broker.topics.by_name["__consumer_offsets"].partitions

    def append(*entries: tuple[bytes, bytes], **fields: object) -> None:
        raw = build_batch([Record(0, 1_000, key, value) for key, value in entries], **fields)  # type: ignore[arg-type]
        write(raw)

    def write(raw: bytearray) -> None:
        partition.log.append(
            memoryview(raw), 2_000, leader_epoch=0, origin=COORDINATOR, vouched=Vouched.VERIFIED
        )

    def offset(topic: str, number: int) -> tuple[bytes, bytes]:
        topic_id = harness.broker.topics.by_name["t"].topic_id
        return records.offset_key("g", topic, 0), records.offset_value(number, -1, "", 1_000, -1, topic_id)

    append(offset("t", 1), (b"\0\x0b\0\1k", b"of a share group"), (records.group_key("x"), b"\0\3"))
    for producer_id, number, is_commit in ((7, 2, False), (8, 3, True)):
        append(
            offset("t", number),
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=0,
            transactional=True,
        )
        write(bytearray(build_marker(producer_id, 0, is_commit, 0, 1_000)))
    harness.flush()
    harness.restart()
    assert committed(harness) == {"t-0": 3}
    (runner,) = harness.broker.groups.runners()
    assert runner.shard.foreign_records == 1
    harness.stop()


def test_offsets_expire(tmp_path: Path) -> None:
    harness = with_groups(
        Harness(
            tmp_path,
            offsets_topic_num_partitions="3",
            offsets_retention_minutes="1",
            offsets_retention_check_interval_ms="1000",
        )
    )
    harness.call(commit_request(5), 8)
    harness.advance(59_000)
    assert committed(harness) == {"t-0": 5}
    harness.advance(1_000)
    harness.advance(1_000)
    harness.flush()
    assert committed(harness) == {}
    assert harness.call(ListGroupsRequest()).groups == []


def test_very_many_tombstones_go_in_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    assert shard_runner._split([(b"k" * 10, None)] * 5, 100) == [[(b"k" * 10, None)] * 2] * 2 + [
        [(b"k" * 10, None)]
    ]
    assert shard_runner._split([(b"k" * 1_000, b"v")], 100) == [[(b"k" * 1_000, b"v")]]
    harness.call(commit_request(5), 8)
    (partition,) = harness.broker.topics.by_name["__consumer_offsets"].partitions
    before = partition.log.log_end_offset
    monkeypatch.setattr(shard_runner, "RECORD_OVERHEAD", 10_000_000)
    harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000))
    (runner,) = harness.broker.groups.runners()
    for step in runner.shard.expire(runner.now()):
        runner.perform(step)
    assert partition.log.log_end_offset > before
