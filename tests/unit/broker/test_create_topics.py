from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from tests.unit.broker.harness import Harness


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def topic(name: str, partitions: int = 1, **fields: object) -> CreatableTopic:
    return CreatableTopic(name=name, num_partitions=partitions, replication_factor=1, **fields)  # type: ignore[arg-type]


def create(
    harness: Harness, *topics: CreatableTopic, version: int = 7, **fields: bool
) -> CreateTopicsResponse:
    response = harness.call(CreateTopicsRequest(topics=list(topics), **fields), version)  # type: ignore[arg-type]
    assert isinstance(response, CreateTopicsResponse)
    return response


@pytest.mark.parametrize("version", range(2, 8))
def test_every_version(harness: Harness, version: int) -> None:
    (result,) = create(harness, topic("t", 2), version=version).topics
    assert (result.name, result.error_code, result.error_message) == ("t", 0, None)
    made = harness.broker.image.topics["t"]
    assert len(made.partitions) == 2
    assert len(harness.broker.topics.by_name["t"].partitions) == 2
    if version >= 5:
        assert (result.num_partitions, result.replication_factor) == (2, 1)
        assert len(result.configs or ()) == 33
    if version >= 7:
        assert result.topic_id == made.topic_id


def test_the_answer_waits_for_the_disk(harness: Harness) -> None:
    pending = harness.send(CreateTopicsRequest(topics=[topic("t")]))
    assert not pending.is_answered
    assert "t" not in harness.broker.image.topics
    twice = harness.send(CreateTopicsRequest(topics=[topic("t")]))
    harness.flush()
    assert pending.response().topics[0].error_code == 0
    assert twice.response().topics[0].error_code == ErrorCode.TOPIC_ALREADY_EXISTS


def test_configs_come_back_with_their_source(harness: Harness) -> None:
    configs = [CreatableTopicConfig(name="retention.ms", value=" 5 ")]
    (result,) = create(harness, topic("t", configs=configs)).topics
    found = {config.name: (config.value, config.config_source) for config in result.configs or ()}
    assert found["retention.ms"] == ("5", 1)
    assert found["flush.messages"] == ("1", 5)
    assert harness.broker.topics.by_name["t"].partitions[0].log.config.retention_ms == 5


def test_validate_only_makes_nothing(harness: Harness) -> None:
    (result,) = create(harness, topic("t"), validate_only=True).topics
    assert result.error_code == 0
    assert harness.broker.image.topics == {}


def test_duplicates_and_refusals_leave_the_others_alone(harness: Harness) -> None:
    response = create(harness, topic("a"), topic("a"), topic("b"), topic("c", 0))
    assert {result.name: result.error_code for result in response.topics} == {
        "a": ErrorCode.INVALID_REQUEST,
        "b": 0,
        "c": ErrorCode.INVALID_PARTITIONS,
    }
    assert list(harness.broker.image.topics) == ["b"]


def test_manual_assignment(harness: Harness) -> None:
    manual = CreatableTopic(
        name="t",
        num_partitions=-1,
        replication_factor=-1,
        assignments=[CreatableReplicaAssignment(partition_index=0, broker_ids=[1])],
    )
    assert create(harness, manual).topics[0].error_code == 0


def test_topics_survive_a_restart(harness: Harness) -> None:
    made = create(harness, topic("t", 3)).topics[0].topic_id
    harness.restart()
    assert harness.broker.image.topics["t"].topic_id == made
    assert create(harness, topic("t")).topics[0].error_code == ErrorCode.TOPIC_ALREADY_EXISTS
