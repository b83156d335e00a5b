from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicState,
)
from tests.unit.broker.harness import Harness


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    topics = [CreatableTopic(name=name, num_partitions=2, replication_factor=1) for name in ("a", "b", "c")]
    made.call(CreateTopicsRequest(topics=topics))
    return made


def delete(harness: Harness, *states: DeleteTopicState) -> list[DeletableTopicResult]:
    responses = harness.call(DeleteTopicsRequest(topics=list(states)), 6).responses
    assert isinstance(responses, list)
    return responses


@pytest.mark.parametrize("version", range(1, 6))
def test_by_name_in_every_older_version(harness: Harness, version: int) -> None:
    responses = harness.call(DeleteTopicsRequest(topic_names=["a", "nope"]), version).responses
    assert {result.name: result.error_code for result in responses} == {
        "a": 0,
        "nope": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert sorted(harness.broker.image.topics) == ["b", "c"]
    assert sorted(harness.broker.topics.by_name) == ["b", "c"]


def test_by_id(harness: Harness) -> None:
    topic_id = harness.broker.image.topics["b"].topic_id
    (result,) = delete(harness, DeleteTopicState(topic_id=topic_id))
    assert (result.name, result.topic_id, result.error_code) == ("b", topic_id, 0)


def test_the_name_may_be_used_again(harness: Harness) -> None:
    before = harness.broker.image.topics["a"].topic_id
    delete(harness, DeleteTopicState(name="a"))
    topic = CreatableTopic(name="a", num_partitions=1, replication_factor=1)
    harness.call(CreateTopicsRequest(topics=[topic]))
    assert harness.broker.image.topics["a"].topic_id != before
    harness.restart()
    assert len(harness.broker.image.topics["a"].partitions) == 1


def test_states_that_cannot_be_tried(harness: Harness) -> None:
    topic_id = harness.broker.image.topics["a"].topic_id
    unknown = b"\x01" * 16
    results = delete(
        harness,
        DeleteTopicState(name="a", topic_id=topic_id),
        DeleteTopicState(),
        DeleteTopicState(name="b"),
        DeleteTopicState(name="b"),
        DeleteTopicState(topic_id=unknown),
        DeleteTopicState(topic_id=harness.broker.image.topics["c"].topic_id),
        DeleteTopicState(name="c"),
    )
    reasons = {(result.name, result.error_code): result.error_message for result in results}
    assert reasons == {
        ("a", 42): "You may not specify both topic name and topic id.",
        (None, 42): "Neither topic name nor id were specified.",
        ("b", 42): "Duplicate topic name.",
        (None, 100): "This server does not host this topic ID.",
        ("c", 42): "The provided topic name maps to an ID that was already supplied.",
    }
    assert sorted(harness.broker.image.topics) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("version", "code"),
    [
        (1, ErrorCode.INVALID_REQUEST),
        (3, ErrorCode.TOPIC_DELETION_DISABLED),
        (6, ErrorCode.TOPIC_DELETION_DISABLED),
    ],
)
def test_disabled(tmp_path: Path, version: int, code: ErrorCode) -> None:
    harness = Harness(tmp_path, delete_topic_enable="false")
    request = DeleteTopicsRequest(topic_names=["a"], topics=[DeleteTopicState(name="a")])
    if version < 6:
        request.topics = []
    else:
        request.topic_names = []
    (result,) = harness.call(request, version).responses
    assert (result.name, result.error_code) == ("a", code)
