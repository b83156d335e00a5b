"""Creating, deleting and growing topics; codes and reasons are those of a running Kafka 4.3."""

import random

import pytest

from odradek.cluster.fold import fold_all
from odradek.cluster.image import TOPIC_RESOURCE, ClusterImage
from odradek.cluster.records import ConfigChanged, PartitionCreated, TopicCreated
from odradek.cluster.topics import (
    MAX_RECORDS,
    CreatedTopic,
    GrownTopic,
    NewTopic,
    create_partitions,
    create_topics,
    delete_topics,
)
from odradek.core.config.broker import broker_config
from odradek.core.errors import ApiError, ErrorCode
from tests.unit.cluster.support import image_with, topic_id

CONFIG = broker_config({"num.partitions": "3"})


def create(image: ClusterImage, *topics: NewTopic) -> dict[str, CreatedTopic | ApiError]:
    return create_topics(image, topics, CONFIG, random.Random(1)).result


def test_records_of_a_new_topic() -> None:
    topic = NewTopic("a", 2, 1, (), [("retention.ms", "5")])
    change = create_topics(image_with(), [topic], CONFIG, random.Random(1))
    made = change.result["a"]
    assert isinstance(made, CreatedTopic)
    assert change.records == [
        TopicCreated("a", made.topic_id),
        ConfigChanged(TOPIC_RESOURCE, "a", "retention.ms", "5"),
        PartitionCreated(made.topic_id, 0, 1, (1,), (1,)),
        PartitionCreated(made.topic_id, 1, 1, (1,), (1,)),
    ]
    image = fold_all(image_with(), change.records, 2)
    assert image.topics["a"].configs == {"retention.ms": "5"}


def test_defaults_of_the_broker() -> None:
    made = create(image_with(), NewTopic("a"))["a"]
    assert isinstance(made, CreatedTopic)
    assert (made.partitions, made.replication_factor) == (3, 1)


def test_manual_assignment() -> None:
    made = create(image_with(), NewTopic("a", assignments=[(1, [1]), (0, [1])]))["a"]
    assert isinstance(made, CreatedTopic)
    assert (made.partitions, made.replication_factor) == (2, 1)


@pytest.mark.parametrize(
    ("topic", "code", "reason"),
    [
        (NewTopic(""), ErrorCode.INVALID_TOPIC_EXCEPTION, "the empty string"),
        (NewTopic("."), ErrorCode.INVALID_TOPIC_EXCEPTION, "'.' is not allowed"),
        (NewTopic(".."), ErrorCode.INVALID_TOPIC_EXCEPTION, "'..' is not allowed"),
        (NewTopic("a b"), ErrorCode.INVALID_TOPIC_EXCEPTION, "ASCII alphanumerics"),
        (NewTopic("é"), ErrorCode.INVALID_TOPIC_EXCEPTION, "ASCII alphanumerics"),
        (NewTopic("x" * 250), ErrorCode.INVALID_TOPIC_EXCEPTION, "longer than"),
        (NewTopic("there"), ErrorCode.TOPIC_ALREADY_EXISTS, "'there' already exists"),
        (NewTopic("a_b"), ErrorCode.INVALID_TOPIC_EXCEPTION, "collides with existing topic: a.b"),
        (NewTopic("__cluster_metadata"), ErrorCode.INVALID_REQUEST, "metadata log"),
        (NewTopic("n", 0), ErrorCode.INVALID_PARTITIONS, "non-positive"),
        (NewTopic("n", -2), ErrorCode.INVALID_PARTITIONS, "non-positive"),
        (NewTopic("n", MAX_RECORDS + 1), ErrorCode.POLICY_VIOLATION, "Excessively large"),
        (NewTopic("n", MAX_RECORDS), ErrorCode.POLICY_VIOLATION, "Excessively large"),
        (NewTopic("n", 0, 0), ErrorCode.INVALID_REPLICATION_FACTOR, "larger than 0"),
        (NewTopic("n", 1, -2), ErrorCode.INVALID_REPLICATION_FACTOR, "larger than 0"),
        (NewTopic("n", 1, 3), ErrorCode.INVALID_REPLICATION_FACTOR, "only 1 broker"),
        (NewTopic("n", -1, 1, [(0, [1])]), ErrorCode.INVALID_REQUEST, "replication factor was not set"),
        (NewTopic("n", 1, -1, [(0, [1])]), ErrorCode.INVALID_REQUEST, "numPartitions was not set"),
        (NewTopic("n", assignments=[(0, [9])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "broker 9"),
        (NewTopic("n", assignments=[(0, [1, 1])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "more than once"),
        (NewTopic("n", assignments=[(0, [])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "empty replica list"),
        (NewTopic("n", assignments=[(1, [1])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "0-based"),
        (NewTopic("n", assignments=[(0, [1])] * 2), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "multiple manual"),
        (NewTopic("n", 1, 1, (), [("retention.ms", None)]), ErrorCode.INVALID_CONFIG, "Null value"),
        (NewTopic("n", 1, 1, (), [("retention.ms", "x")]), ErrorCode.INVALID_CONFIG, "Not a number"),
        (NewTopic("n", 1, 1, (), [("retention", "1")]), ErrorCode.INVALID_CONFIG, "Unknown topic config"),
    ],
)
def test_refused(topic: NewTopic, code: ErrorCode, reason: str) -> None:
    change = create_topics(image_with("there", "a.b"), [topic], CONFIG, random.Random(1))
    error = change.result[topic.name]
    assert isinstance(error, ApiError)
    assert error.code is code
    assert error.message is not None
    assert reason in error.message
    assert change.records == []


def test_one_failure_does_not_hold_up_the_others() -> None:
    result = create(image_with(), NewTopic("a", 0), NewTopic("b.c", 1), NewTopic("b_c", 1))
    assert isinstance(result["a"], ApiError)
    assert isinstance(result["b.c"], CreatedTopic)
    assert isinstance(result["b_c"], ApiError)


def test_delete() -> None:
    image = image_with("a", "b")
    change = delete_topics(image, [topic_id(1), topic_id(9)])
    assert change.result[topic_id(1)] is image.topics["a"]
    missing = change.result[topic_id(9)]
    assert isinstance(missing, ApiError)
    assert missing.code is ErrorCode.UNKNOWN_TOPIC_ID
    assert list(fold_all(image, change.records, 2).topics) == ["b"]


def test_grow() -> None:
    image = image_with("a")
    change = create_partitions(image, [GrownTopic("a", 3)])
    assert change.result == {"a": None}
    assert len(fold_all(image, change.records, 2).topics["a"].partitions) == 3
    change = create_partitions(image, [GrownTopic("a", 2, [[1]])])
    assert len(change.records) == 1


@pytest.mark.parametrize(
    ("topic", "code", "reason"),
    [
        (GrownTopic("z", 3), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None),
        (GrownTopic("a", 2), ErrorCode.INVALID_PARTITIONS, "already has 2"),
        (GrownTopic("a", 1), ErrorCode.INVALID_PARTITIONS, "would not be an increase"),
        (GrownTopic("a", -1), ErrorCode.INVALID_PARTITIONS, "would not be an increase"),
        (GrownTopic("a", 4, [[1]]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "only 1 assignment"),
        (GrownTopic("a", 3, [[9]]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "broker 9"),
        (GrownTopic("a", 3, [[]]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "empty replica list"),
        (GrownTopic("a", 100_000), ErrorCode.POLICY_VIOLATION, "Excessively large"),
    ],
)
def test_growth_refused(topic: GrownTopic, code: ErrorCode, reason: str | None) -> None:
    error = create_partitions(image_with("a", partitions=2), [topic]).result[topic.name]
    assert error is not None
    assert error.code is code
    assert reason is None or (error.message is not None and reason in error.message)
