from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from tests.unit.broker.harness import Harness


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    topics = [CreatableTopic(name=name, num_partitions=2, replication_factor=1) for name in ("a", "b")]
    made.call(CreateTopicsRequest(topics=topics))
    return made


def grow(
    harness: Harness, *topics: CreatePartitionsTopic, version: int = 3, validate: bool = False
) -> dict[str, int]:
    request = CreatePartitionsRequest(topics=list(topics), validate_only=validate)
    return {result.name: result.error_code for result in harness.call(request, version).results}


def to(
    name: str, count: int, assignments: list[CreatePartitionsAssignment] | None = None
) -> CreatePartitionsTopic:
    return CreatePartitionsTopic(name=name, count=count, assignments=assignments)


@pytest.mark.parametrize("version", range(4))
def test_every_version(harness: Harness, version: int) -> None:
    assert grow(harness, to("a", 4), version=version) == {"a": 0}
    assert len(harness.broker.image.topics["a"].partitions) == 4
    assert len(harness.broker.topics.by_name["a"].partitions) == 4
    harness.restart()
    assert len(harness.broker.topics.by_name["a"].partitions) == 4


def test_refusals(harness: Harness) -> None:
    assert grow(harness, to("a", 1), to("nope", 3), to("b", 3), to("b", 4)) == {
        "a": ErrorCode.INVALID_PARTITIONS,
        "nope": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "b": ErrorCode.INVALID_REQUEST,
    }


def test_assignments(harness: Harness) -> None:
    known, unknown = CreatePartitionsAssignment(broker_ids=[1]), CreatePartitionsAssignment(broker_ids=[7])
    assert grow(harness, to("a", 3, [known]), to("b", 3, [unknown])) == {
        "a": 0,
        "b": ErrorCode.INVALID_REPLICA_ASSIGNMENT,
    }


def test_validate_only(harness: Harness) -> None:
    assert grow(harness, to("a", 4), validate=True) == {"a": 0}
    assert len(harness.broker.image.topics["a"].partitions) == 2
