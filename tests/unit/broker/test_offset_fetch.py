from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)

from .group_client import commit_request, with_groups
from .harness import Harness


def started(folder: Path) -> Harness:
    harness = with_groups(Harness(folder, offsets_topic_num_partitions="2"), "t", "u")
    harness.call(commit_request(5), 8)
    harness.call(commit_request(6, topic="u", group_id="h"), 8)
    return harness


@pytest.mark.parametrize("version", range(1, 8))
def test_versions_with_one_group(tmp_path: Path, version: int) -> None:
    harness = started(tmp_path)
    topics = [OffsetFetchRequestTopic(name="t", partition_indexes=[0, 9])]
    response = harness.call(OffsetFetchRequest(group_id="g", topics=topics), version)
    (topic,) = response.topics
    assert [(p.partition_index, p.committed_offset, p.error_code) for p in topic.partitions] == [
        (0, 5, 0),
        (9, -1, 0),
    ]
    if version >= 2:
        (everything,) = harness.call(OffsetFetchRequest(group_id="g", topics=None), version).topics
        assert everything.name == "t"


@pytest.mark.parametrize("version", [8, 9])
def test_versions_with_several_groups(tmp_path: Path, version: int) -> None:
    harness = started(tmp_path)
    request = OffsetFetchRequest(
        groups=[
            OffsetFetchRequestGroup(group_id="g", topics=None),
            OffsetFetchRequestGroup(group_id="missing", topics=None),
            OffsetFetchRequestGroup(
                group_id="h",
                topics=[OffsetFetchRequestTopics(name="nowhere", partition_indexes=[0])],
            ),
        ]
    )
    first, missing, other = harness.call(request, version).groups
    assert first.topics[0].partitions[0].committed_offset == 5
    assert (missing.topics, missing.error_code) == ([], 0)
    assert (other.topics[0].partitions[0].committed_offset, other.error_code) == (-1, 0)
    assert harness.call(OffsetFetchRequest(groups=[]), version).groups == []


def test_topic_ids(tmp_path: Path) -> None:
    harness = started(tmp_path)
    topic_id = harness.broker.topics.by_name["t"].topic_id
    unknown = b"x" * 16
    request = OffsetFetchRequest(
        groups=[
            OffsetFetchRequestGroup(
                group_id="g",
                topics=[
                    OffsetFetchRequestTopics(topic_id=unknown, partition_indexes=[0]),
                    OffsetFetchRequestTopics(topic_id=topic_id, partition_indexes=[0]),
                ],
            ),
            OffsetFetchRequestGroup(group_id="g", topics=None),
        ]
    )
    by_id, everything = harness.call(request, 10).groups
    assert [(topic.topic_id, topic.partitions[0].error_code) for topic in by_id.topics] == [
        (topic_id, 0),
        (unknown, ErrorCode.UNKNOWN_TOPIC_ID),
    ]
    assert by_id.topics[0].partitions[0].committed_offset == 5
    assert everything.topics[0].topic_id == topic_id


def test_what_is_not_durable_is_waited_for(tmp_path: Path) -> None:
    harness = started(tmp_path)
    commit = harness.send(commit_request(50), 8)
    topics = [OffsetFetchRequestTopic(name="t", partition_indexes=[0])]
    fetch = harness.send(OffsetFetchRequest(group_id="g", topics=topics), 7)
    assert not commit.is_answered
    assert not fetch.is_answered
    harness.flush()
    assert fetch.response().topics[0].partitions[0].committed_offset == 50


def test_without_a_coordinator(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    topics = [OffsetFetchRequestTopic(name="t", partition_indexes=[4])]
    first = harness.call(OffsetFetchRequest(group_id="g", topics=topics), 1)
    assert first.topics[0].partitions[0].error_code == ErrorCode.NOT_COORDINATOR
    assert first.topics[0].partitions[0].committed_offset == -1
    second = harness.call(OffsetFetchRequest(group_id="g", topics=topics), 2)
    assert (second.error_code, second.topics) == (ErrorCode.NOT_COORDINATOR, [])
    groups = [OffsetFetchRequestGroup(group_id="g", topics=None)]
    (third,) = harness.call(OffsetFetchRequest(groups=groups), 8).groups
    assert third.error_code == ErrorCode.NOT_COORDINATOR
