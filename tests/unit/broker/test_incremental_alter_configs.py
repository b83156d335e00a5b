from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from tests.unit.broker.harness import Harness


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    topics = [CreatableTopic(name=name, num_partitions=1, replication_factor=1) for name in ("a", "b")]
    made.call(CreateTopicsRequest(topics=topics))
    return made


def resource(kind: int, name: str, *configs: tuple[str, int, str | None]) -> AlterConfigsResource:
    return AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[
            AlterableConfig(name=key, config_operation=operation, value=value)
            for key, operation, value in configs
        ],
    )


def alter(
    harness: Harness, *resources: AlterConfigsResource, version: int = 1, validate: bool = False
) -> list[int]:
    request = IncrementalAlterConfigsRequest(resources=list(resources), validate_only=validate)
    return [response.error_code for response in harness.call(request, version).responses]


@pytest.mark.parametrize("version", range(2))
def test_every_version(harness: Harness, version: int) -> None:
    assert alter(harness, resource(2, "a", ("retention.ms", 0, "5")), version=version) == [0]
    assert harness.broker.image.topics["a"].configs == {"retention.ms": "5"}
    assert harness.broker.topics.by_name["a"].partitions[0].log.config.retention_ms == 5
    harness.restart()
    assert harness.broker.topics.by_name["a"].partitions[0].log.config.retention_ms == 5


def test_broker_settings_reach_topics_at_once(harness: Harness) -> None:
    assert alter(harness, resource(4, "", ("message.max.bytes", 0, "100"))) == [0]
    assert harness.broker.topics.by_name["a"].partitions[0].log.config.max_message_bytes == 100
    assert alter(harness, resource(4, "", ("message.max.bytes", 1, None))) == [0]
    assert harness.broker.topics.by_name["a"].partitions[0].log.config.max_message_bytes == 1_048_588


def test_resources_stand_alone(harness: Harness) -> None:
    codes = alter(
        harness,
        resource(2, "a", ("retention.ms", 0, "x")),
        resource(2, "b", ("retention.ms", 0, "5")),
        resource(2, "nope", ("retention.ms", 0, "5")),
    )
    assert codes == [ErrorCode.INVALID_CONFIG, 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert harness.broker.image.topics["b"].configs == {"retention.ms": "5"}


def test_a_resource_named_twice_is_refused_twice(harness: Harness) -> None:
    twice = [resource(2, "a", ("retention.ms", 0, "5"))] * 2
    assert alter(harness, *twice) == [ErrorCode.INVALID_REQUEST] * 2
    assert harness.broker.image.topics["a"].configs == {}


def test_validate_only(harness: Harness) -> None:
    assert alter(harness, resource(2, "a", ("retention.ms", 0, "5")), validate=True) == [0]
    assert harness.broker.image.topics["a"].configs == {}
