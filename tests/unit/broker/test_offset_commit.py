from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)

from .group_client import commit_request, committed, stable_member, with_groups
from .harness import Harness


def codes(response: object) -> list[tuple[int, int]]:
    return [(p.partition_index, p.error_code) for topic in response.topics for p in topic.partitions]  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", range(2, 10))
def test_every_version_with_names(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    assert codes(harness.call(commit_request(5), version)) == [(0, 0)]
    assert committed(harness) == {"t-0": 5}


def test_topic_ids(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    topic_id = harness.broker.topics.by_name["t"].topic_id
    entries = [OffsetCommitRequestPartition(partition_index=index, committed_offset=7) for index in (0, 9)]
    request = OffsetCommitRequest(
        group_id="g",
        topics=[
            OffsetCommitRequestTopic(topic_id=topic_id, partitions=entries),
            OffsetCommitRequestTopic(topic_id=b"x" * 16, partitions=entries[:1]),
        ],
    )
    response = harness.call(request, 10)
    assert [topic.topic_id for topic in response.topics] == [topic_id, b"x" * 16]
    assert codes(response) == [
        (9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (0, ErrorCode.NONE),
        (0, ErrorCode.UNKNOWN_TOPIC_ID),
    ]
    assert committed(harness) == {"t-0": 7}


def test_it_is_answered_when_it_is_durable(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    pending = harness.send(commit_request(5), 8)
    assert not pending.is_answered
    harness.flush()
    assert codes(pending.response()) == [(0, 0)]


def test_unknown_partitions_do_not_hold_others_up(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    request = commit_request(5)
    request.topics[0].partitions.append(OffsetCommitRequestPartition(partition_index=3, committed_offset=1))
    request.topics.append(commit_request(1, topic="missing").topics[0])
    response = harness.call(request, 8)
    assert [topic.name for topic in response.topics] == ["t", "missing"]
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert codes(response) == [(3, unknown), (0, 0), (0, unknown)]


def test_a_refused_member_is_told_so_for_each_partition(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, generation = stable_member(harness)
    request = commit_request(5, member_id="nobody", generation_id_or_member_epoch=generation)
    request.topics[0].partitions.append(OffsetCommitRequestPartition(partition_index=3, committed_offset=1))
    response = harness.call(request, 8)
    assert len(response.topics) == 1
    assert codes(response) == [(3, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), (0, ErrorCode.UNKNOWN_MEMBER_ID)]
    good = commit_request(6, member_id=member_id, generation_id_or_member_epoch=generation)
    assert codes(harness.call(good, 8)) == [(0, 0)]


def test_nothing_known_needs_no_coordinator(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    request = commit_request(5, topic="missing")
    assert codes(harness.call(request, 8)) == [(0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]
    assert harness.call(OffsetCommitRequest(group_id="g"), 8).topics == []


def test_without_a_coordinator_each_partition_says_so(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    (partition,) = harness.broker.topics.by_name["__consumer_offsets"].partitions
    (runner,) = harness.broker.groups.runners()
    partition.log.failed(OSError(5, "gone"))
    assert runner.is_over
    assert codes(harness.call(commit_request(5), 8)) == [(0, ErrorCode.NOT_COORDINATOR)]


def test_metadata_survives(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    request = commit_request(5)
    request.topics[0].partitions[0].committed_metadata = "note ü"
    harness.call(request, 8)
    harness.restart()
    (runner,) = harness.broker.groups.runners()
    found = runner.shard.offsets.get("g", "t", 0)
    assert found is not None
    assert (found.offset, found.metadata) == (5, "note ü")
    harness.stop()
