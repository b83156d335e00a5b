from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.list_config_resources import ListConfigResourcesRequest
from tests.unit.broker.harness import Harness
from tests.unit.broker.test_incremental_alter_configs import alter, resource


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path)
    made.call(CreateTopicsRequest(topics=[CreatableTopic(name="t", num_partitions=1, replication_factor=1)]))
    assert alter(made, resource(32, "g", ("consumer.session.timeout.ms", 0, "50000"))) == [0]
    return made


def listed(harness: Harness, *kinds: int, version: int = 1) -> list[tuple[int, str]]:
    response = harness.call(ListConfigResourcesRequest(resource_types=list(kinds)), version)
    assert response.error_code == 0
    return [(found.resource_type, found.resource_name) for found in response.config_resources]


def test_all_kinds(harness: Harness) -> None:
    assert listed(harness) == [(2, "t"), (4, "1"), (8, "1"), (32, "g")]


def test_asked_kinds(harness: Harness) -> None:
    assert listed(harness, 32, 2, 32) == [(2, "t"), (32, "g")]
    assert listed(harness, 16) == []


def test_version_0_knows_client_metrics_only(harness: Harness) -> None:
    response = harness.call(ListConfigResourcesRequest(), 0)
    assert (response.error_code, response.config_resources) == (0, [])


def test_a_group_without_settings_is_not_listed(harness: Harness) -> None:
    assert alter(harness, resource(32, "g", ("consumer.session.timeout.ms", 1, None))) == [0]
    assert listed(harness, 32) == []


def test_kinds_that_do_not_exist(harness: Harness) -> None:
    response = harness.call(ListConfigResourcesRequest(resource_types=[32, 99]), 1)
    assert (response.error_code, response.config_resources) == (ErrorCode.UNSUPPORTED_VERSION, [])
