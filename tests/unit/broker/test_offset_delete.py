from pathlib import Path

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)

from .group_client import commit_request, committed, stable_member, with_groups
from .harness import Harness


def request(group_id: str, *partitions: tuple[str, int]) -> OffsetDeleteRequest:
    topics: dict[str, OffsetDeleteRequestTopic] = {}
    for name, index in partitions:
        topic = topics.setdefault(name, OffsetDeleteRequestTopic(name=name))
        topic.partitions.append(OffsetDeleteRequestPartition(partition_index=index))
    return OffsetDeleteRequest(group_id=group_id, topics=list(topics.values()))


def test_offsets_go_unless_the_group_reads_the_topic(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"), "t", "u")
    harness.call(commit_request(5), 8)
    harness.call(commit_request(6, topic="u"), 8)
    stable_member(harness)
    pending = harness.send(request("g", ("t", 0), ("u", 0), ("u", 4), ("missing", 0)))
    assert not pending.is_answered
    harness.flush()
    response = pending.response()
    found = {
        (topic.name, partition.partition_index): ErrorCode(partition.error_code)
        for topic in response.topics
        for partition in topic.partitions
    }
    assert found == {
        ("t", 0): ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,
        ("u", 0): ErrorCode.NONE,
        ("u", 4): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("missing", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert len({topic.name for topic in response.topics}) == len(response.topics)
    assert committed(harness) == {"t-0": 5}


def test_the_whole_request_is_refused(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    assert harness.call(request("missing", ("t", 0))).error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert harness.call(request("", ("t", 0))).error_code == ErrorCode.INVALID_GROUP_ID
