from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    RequestCursor,
    TopicRequest,
)
from tests.unit.broker.harness import Harness

Page = tuple[list[tuple[str, int, list[int]]], tuple[str, int] | None]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    topics = [
        CreatableTopic(name=name, num_partitions=count, replication_factor=1)
        for name, count in (("b", 3), ("a", 2), ("c", 1))
    ]
    made.call(CreateTopicsRequest(topics=topics))
    return made


def page(
    harness: Harness, names: list[str], limit: int = 2000, cursor: tuple[str, int] | None = None
) -> Page:
    """(topic, error, partitions) of each topic, and the next cursor."""
    request = DescribeTopicPartitionsRequest(
        topics=[TopicRequest(name=name) for name in names], response_partition_limit=limit
    )
    if cursor is not None:
        request.cursor = RequestCursor(topic_name=cursor[0], partition_index=cursor[1])
    response = harness.call(request)
    assert isinstance(response, DescribeTopicPartitionsResponse)
    after = response.next_cursor
    return [
        (topic.name or "", topic.error_code, [partition.partition_index for partition in topic.partitions])
        for topic in response.topics
    ], None if after is None else (after.topic_name, after.partition_index)


def test_all_topics_in_order(harness: Harness) -> None:
    assert page(harness, []) == ([("a", 0, [0, 1]), ("b", 0, [0, 1, 2]), ("c", 0, [0])], None)


def test_pages_cover_everything_once(harness: Harness) -> None:
    for limit in range(1, 8):
        seen: list[tuple[str, int]] = []
        cursor = None
        while True:
            topics, cursor = page(harness, [], limit, cursor)
            seen += [(name, index) for name, _, indexes in topics for index in indexes]
            if cursor is None:
                break
        assert seen == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]


def test_a_full_page_points_to_the_next_topic(harness: Harness) -> None:
    assert page(harness, ["a", "b"], 2) == ([("a", 0, [0, 1])], ("b", 0))
    assert page(harness, ["a"], 2) == ([("a", 0, [0, 1])], None)


def test_unknown_and_illegal_names(harness: Harness) -> None:
    topics, cursor = page(harness, ["nope", "a", "x y", "a"])
    assert topics == [
        ("a", 0, [0, 1]),
        ("nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, []),
        ("x y", ErrorCode.INVALID_TOPIC_EXCEPTION, []),
    ]
    assert cursor is None


def test_limits_below_one_count_as_one(harness: Harness) -> None:
    assert page(harness, ["b"], 0) == ([("b", 0, [0])], ("b", 1))
    assert page(harness, ["b"], -5) == ([("b", 0, [0])], ("b", 1))


def test_the_brokers_own_limit(tmp_path: Path) -> None:
    harness = Harness(tmp_path, max_request_partition_size_limit="2")
    harness.call(
        CreateTopicsRequest(topics=[CreatableTopic(name="t", num_partitions=3, replication_factor=1)])
    )
    assert page(harness, ["t"]) == ([("t", 0, [0, 1])], ("t", 2))


def test_cursors(harness: Harness) -> None:
    assert page(harness, ["a", "b"], 5, ("b", 1)) == ([("b", 0, [1, 2])], None)
    assert page(harness, ["b"], 5, ("b", 9)) == ([("b", 0, [])], None)
    assert page(harness, [], 5, ("bb", 1)) == ([("c", 0, [0])], None)
    assert page(harness, ["b"], 5, ("b", -1)) == ([("b", ErrorCode.INVALID_REQUEST, [])], None)
    assert page(harness, ["b"], 5, ("c", 0)) == ([("b", ErrorCode.INVALID_REQUEST, [])], None)


def test_fields_of_a_partition(harness: Harness) -> None:
    response = harness.call(DescribeTopicPartitionsRequest(topics=[TopicRequest(name="c")]))
    (topic,) = response.topics
    (partition,) = topic.partitions
    assert topic.topic_id == harness.broker.image.topics["c"].topic_id
    assert topic.topic_authorized_operations == 3576
    assert (partition.leader_id, partition.leader_epoch) == (1, 0)
    assert (partition.replica_nodes, partition.isr_nodes, partition.offline_replicas) == ([1], [1], [])
