from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.alter_configs import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
)
from odradek.protocol.generated.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from tests.unit.broker.harness import Harness


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    configs = [CreatableTopicConfig(name="segment.ms", value="100")]
    topic = CreatableTopic(name="a", num_partitions=1, replication_factor=1, configs=configs)
    made.call(CreateTopicsRequest(topics=[topic]))
    return made


def alter(
    harness: Harness, kind: int, name: str, *configs: tuple[str, str | None], version: int = 2, times: int = 1
) -> list[int]:
    resource = AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[AlterableConfig(name=key, value=value) for key, value in configs],
    )
    request = AlterConfigsRequest(resources=[resource] * times)
    return [response.error_code for response in harness.call(request, version).responses]


@pytest.mark.parametrize("version", range(3))
def test_the_whole_set_is_replaced(harness: Harness, version: int) -> None:
    assert alter(harness, 2, "a", ("retention.ms", "5"), version=version) == [0]
    assert harness.broker.image.topics["a"].configs == {"retention.ms": "5"}
    assert alter(harness, 2, "a") == [0]
    assert harness.broker.image.topics["a"].configs == {}


def test_refused(harness: Harness) -> None:
    assert alter(harness, 2, "a", ("retention.ms", None)) == [ErrorCode.INVALID_REQUEST]
    assert alter(harness, 2, "a", ("retention.ms", "x")) == [ErrorCode.INVALID_CONFIG]
    assert alter(harness, 4, "1", ("num.partitions", "2")) == [ErrorCode.INVALID_REQUEST]
    assert alter(harness, 8, "1", ("root", "INFO")) == [ErrorCode.INVALID_REQUEST]
    assert alter(harness, 2, "a", times=2) == [ErrorCode.INVALID_REQUEST] * 2
    assert harness.broker.image.topics["a"].configs == {"segment.ms": "100"}


def test_validate_only(harness: Harness) -> None:
    resource = AlterConfigsResource(resource_type=2, resource_name="a", configs=[])
    harness.call(AlterConfigsRequest(resources=[resource], validate_only=True))
    assert harness.broker.image.topics["a"].configs == {"segment.ms": "100"}
