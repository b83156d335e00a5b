"""A commit that is known by its bytes is what any other would be, in the log, in memory and in its answer."""

import errno
from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.protocol.generated.offset_commit import OffsetCommitRequest
from odradek.records.batch import iterate_batches
from odradek.records.record import Record, read_records

from .group_client import commit_request, committed, stable_member, with_groups
from .harness import Harness
from .repeating import from_scratch, is_known, learn, send_watched
from .test_consumer_group_heartbeat import assigned, beat_request
from .test_gathered import offsets_log
from .test_quotas import set_quota

VERSIONS = range(6, 11)


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return with_groups(
        Harness(
            tmp_path,
            offsets_topic_num_partitions="1",
            num_partitions="3",
            offset_metadata_max_bytes="100",
        )
    )


def commit(harness: Harness, offset: int, leader_epoch: int = -1, **fields: Any) -> OffsetCommitRequest:
    """A request that fits every version."""
    request = commit_request(offset, **fields)
    (topic,) = request.topics
    topic.topic_id = harness.broker.topics.by_name["t"].topic_id
    topic.partitions[0].committed_leader_epoch = leader_epoch
    return request


def code(response: Any) -> int:
    (topic,) = response.topics
    (partition,) = topic.partitions
    found: int = partition.error_code
    return found


def records_from(harness: Harness, start: int) -> list[Record]:
    log = offsets_log(harness)
    view = memoryview(log.read(start, 1 << 20, log.log_end_offset).records)
    return [
        record._replace(offset=0, key=bytes(record.key or b""), value=bytes(record.value or b""))
        for position, header in iterate_batches(view)
        for record in read_records(view[position : position + header.size])
    ]


@pytest.mark.parametrize("version", range(2, 11))
@pytest.mark.parametrize("metadata", ["", "note ü", None])
def test_it_is_what_the_first_would_be(harness: Harness, version: int, metadata: str | None) -> None:
    def asked(offset: int, leader_epoch: int) -> OffsetCommitRequest:
        request = commit(harness, offset, leader_epoch)
        request.topics[0].partitions[0].committed_metadata = metadata
        return request

    if version not in VERSIONS:
        for _ in range(8):
            harness.call(asked(1, -1), version)
        assert not harness.session.repeats.known, "no leader epoch: such old requests are not learnt"
        return
    learn(harness, asked(1, -1), version)
    shard = harness.broker.groups.runner("g").shard
    for offset, leader_epoch in ((7, 3), (2**63 - 1, 2**31 - 1), (0, 0), (-1, -1)):
        start = offsets_log(harness).log_end_offset
        pending, was_known = send_watched(harness, asked(offset, leader_epoch), version)
        assert was_known
        kept = shard.offsets.get("g", "t", 0)
        assert pending.response() == from_scratch(harness, asked(offset, leader_epoch), version)
        known, unknown = records_from(harness, start)
        assert known == unknown
        again = shard.offsets.get("g", "t", 0)
        assert kept is not None
        assert again == kept._replace(record_offset=start + 1)
    harness.restart()
    assert harness.broker.groups.runner("g").shard.offsets.get("g", "t", 0) == again


def test_it_is_answered_when_it_is_durable(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    start = offsets_log(harness).log_end_offset
    pending = harness.send(commit(harness, 5), 9)
    assert offsets_log(harness).log_end_offset == start + 1
    assert not pending.is_answered
    harness.flush()
    assert code(pending.response()) == 0
    assert committed(harness) == {"t-0": 5}


def test_known_and_unknown_go_into_one_batch(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    start = offsets_log(harness).log_end_offset
    broker = harness.broker
    handle, broker.handle = broker.handle, broker.handle_gathering  # type: ignore[method-assign]
    pending = [harness.send(commit(harness, 5 + n, partition=n % 2), 9) for n in range(4)]
    broker.handle = handle  # type: ignore[method-assign]
    broker.gathered.write()
    harness.flush()
    assert [code(each.response()) for each in pending] == [0, 0, 0, 0]
    log = offsets_log(harness)
    read = log.read(start, 1 << 20, log.log_end_offset)
    assert [header.record_count for _, header in iterate_batches(memoryview(read.records))] == [4]
    assert committed(harness) == {"t-0": 7, "t-1": 8}


def test_what_is_not_the_same_is_not_known(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    other_metadata = commit(harness, 5)
    other_metadata.topics[0].partitions[0].committed_metadata = "x"
    two_partitions = commit(harness, 5)
    two_partitions.topics[0].partitions.append(commit(harness, 6, partition=1).topics[0].partitions[0])
    for other in (
        other_metadata,
        two_partitions,
        commit(harness, 5, partition=1),
        commit(harness, 5, partition=9),
        commit(harness, 5, topic="u"),
        commit(harness, 5, group_id="h"),
        commit(harness, 5, member_id="m"),
        commit(harness, 5, generation_id_or_member_epoch=1),
    ):
        pending, was_known = send_watched(harness, other, 9)
        assert not was_known
        assert pending.response() == from_scratch(harness, other, 9)


@pytest.mark.parametrize("spoilt", ["partition", "topic", "metadata", "member"])
def test_what_is_refused_is_not_learnt_or_not_answered_so(harness: Harness, spoilt: str) -> None:
    request = commit(harness, 1, topic="nowhere" if spoilt == "topic" else "t")
    data = request.topics[0].partitions[0]
    if spoilt == "partition":
        data.partition_index = 9
    elif spoilt == "metadata":
        data.committed_metadata = "é" * 51 + "😀" * 25
    elif spoilt == "member":
        request.generation_id_or_member_epoch = 4
    refused = harness.call(request, 9)
    assert code(refused) != 0
    for _ in range(16):
        assert harness.call(request, 9) == refused
    assert committed(harness) == {}


def test_a_group_that_got_members_takes_no_more_from_others(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    from_scratch(harness, beat_request("m"), 1)
    pending, was_known = send_watched(harness, commit(harness, 5), 9)
    assert not was_known
    assert code(pending.response()) == ErrorCode.UNKNOWN_MEMBER_ID
    assert committed(harness) == {"t-0": 1}


@pytest.mark.parametrize(("partition", "expected"), [(0, ErrorCode.NONE), (2, ErrorCode.STALE_MEMBER_EPOCH)])
def test_an_older_epoch_is_good_for_what_the_member_kept(
    harness: Harness, partition: int, expected: ErrorCode
) -> None:
    harness.advance(2_000)
    harness.call(beat_request("m"))
    request = commit(harness, 5, partition=partition, member_id="m", generation_id_or_member_epoch=2)
    learn(harness, request, 9)
    from_scratch(harness, beat_request("n"), 1)
    harness.advance(1_000)
    assert assigned(harness.call(beat_request("m", 2))) == {0, 1}
    assert harness.call(beat_request("m", 2, topic_partitions=[])).member_epoch == 3
    pending, was_known = send_watched(harness, request, 9)
    assert was_known == (expected == ErrorCode.NONE)
    assert code(pending.response()) == expected


def test_a_member_that_left_is_told_so(harness: Harness) -> None:
    harness.call(beat_request("m"))
    request = commit(harness, 5, member_id="m", generation_id_or_member_epoch=2)
    learn(harness, request, 9)
    from_scratch(harness, beat_request("m", -1), 1)
    pending, was_known = send_watched(harness, request, 9)
    assert not was_known
    assert code(pending.response()) == ErrorCode.UNKNOWN_MEMBER_ID


def test_it_keeps_a_classic_member_alive(harness: Harness) -> None:
    member_id, generation = stable_member(harness)
    fields = {"member_id": member_id, "generation_id_or_member_epoch": generation}
    learn(harness, commit(harness, 1, **fields), 9)
    for offset in range(5):
        harness.advance(9_000)
        assert is_known(harness, commit(harness, offset, **fields), 9)
    harness.advance(10_000)
    pending, was_known = send_watched(harness, commit(harness, 9, **fields), 9)
    assert not was_known
    assert code(pending.response()) == ErrorCode.UNKNOWN_MEMBER_ID
    assert committed(harness) == {"t-0": 4}


def test_a_topic_of_others_changes_nothing(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="other")]), 9)
    assert is_known(harness, commit(harness, 5), 9)


def test_a_topic_that_is_gone_or_new(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000), 6)
    pending, was_known = send_watched(harness, commit_request(5), 9)
    assert not was_known
    assert code(pending.response()) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    pending, was_known = send_watched(harness, commit_request(5), 9)
    assert not was_known
    kept = harness.broker.groups.runner("g").shard.offsets.get("g", "t", 0)
    assert kept is not None
    assert kept.topic_id == harness.broker.topics.by_name["t"].topic_id


def test_quotas_end_it(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    set_quota(harness, {"client-id": "someone else"}, request_percentage=50.0)
    assert not is_known(harness, commit(harness, 5), 9)


def test_without_its_coordinator_it_is_not_known(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    (partition,) = harness.broker.topics.by_name["__consumer_offsets"].partitions
    partition.log.failed(OSError(5, "gone"))
    pending, was_known = send_watched(harness, commit(harness, 5), 9)
    assert not was_known
    assert code(pending.response()) == ErrorCode.NOT_COORDINATOR


def test_a_full_disk_refuses_it(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(harness, commit(harness, 1), 9)

    def full(fd: int, data: object, position: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(offsets_log(harness), "_pwrite", full)
        pending, was_known = send_watched(harness, commit(harness, 5), 9)
        assert was_known
        refused = from_scratch(harness, commit(harness, 5), 9)
    assert code(refused) == ErrorCode.NOT_COORDINATOR
    assert pending.response() == refused
    assert committed(harness) == {"t-0": 1}
    assert is_known(harness, commit(harness, 6), 9)


def test_a_disk_that_loses_it_refuses_it(harness: Harness) -> None:
    learn(harness, commit(harness, 1), 9)
    pending = harness.send(commit(harness, 5), 9)
    offsets_log(harness).failed(OSError(5, "gone"))
    assert code(pending.response()) == ErrorCode.NOT_COORDINATOR


def test_a_fault_of_ours_is_answered(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    learn(harness, commit(harness, 1), 9)
    broker = harness.broker
    handle, broker.handle = broker.handle, broker.handle_gathering  # type: ignore[method-assign]
    pending = [harness.send(commit(harness, offset), 9) for offset in (5, 6)]
    broker.handle = handle  # type: ignore[method-assign]
    offsets = broker.groups.runner("g").shard.offsets
    put, calls = offsets.put, []

    def broken_once(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise RuntimeError("broken")
        put(*arguments)

    monkeypatch.setattr(offsets, "put", broken_once)
    broker.gathered.write()
    harness.flush()
    assert [code(each.response()) for each in pending] == [ErrorCode.UNKNOWN_SERVER_ERROR, 0]
    assert "a step of __consumer_offsets-0 failed" in caplog.text
