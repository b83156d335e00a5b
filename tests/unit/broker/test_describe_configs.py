import json
from pathlib import Path

import pytest

from odradek.core.config.keys import own_keys
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from odradek.protocol.generated.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResult,
)
from odradek.protocol.generated.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from tests.unit.broker.group_client import stable_member, with_groups
from tests.unit.broker.harness import Harness

TOPIC, BROKER, GROUP = 2, 4, 32


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    made = Harness(tmp_path, message_max_bytes="900000")
    configs = [CreatableTopicConfig(name="retention.ms", value="5")]
    topic = CreatableTopic(name="t", num_partitions=1, replication_factor=1, configs=configs)
    made.call(CreateTopicsRequest(topics=[topic]))
    return made


def describe(
    harness: Harness,
    kind: int,
    name: str,
    *keys: str,
    version: int = 4,
    documentation: bool = False,
) -> DescribeConfigsResult:
    resource = DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=list(keys) if keys else None
    )
    request = DescribeConfigsRequest(
        resources=[resource], include_synonyms=True, include_documentation=documentation
    )
    (result,) = harness.call(request, version).results
    assert isinstance(result, DescribeConfigsResult)
    return result


def alter_broker(harness: Harness, name: str, key: str, value: str) -> None:
    config = AlterableConfig(name=key, config_operation=0, value=value)
    resource = AlterConfigsResource(resource_type=BROKER, resource_name=name, configs=[config])
    harness.call(IncrementalAlterConfigsRequest(resources=[resource]))


@pytest.mark.parametrize("version", range(1, 5))
def test_every_version(harness: Harness, version: int) -> None:
    result = describe(harness, TOPIC, "t", version=version)
    entries = {entry.name: entry for entry in result.configs}
    assert len(entries) == 33
    own = entries["retention.ms"]
    assert (own.value, own.config_source, own.read_only, own.is_sensitive) == ("5", 1, False, False)
    assert own.config_type == (5 if version >= 3 else 0)


def test_sources_and_synonyms(harness: Harness) -> None:
    alter_broker(harness, "", "message.max.bytes", "800000")
    alter_broker(harness, "1", "message.max.bytes", "700000")
    (entry,) = describe(harness, TOPIC, "t", "max.message.bytes").configs
    assert (entry.value, entry.config_source) == ("700000", 2)
    said = [(synonym.name, synonym.value, synonym.source) for synonym in entry.synonyms]
    assert said == [
        ("message.max.bytes", "700000", 2),
        ("message.max.bytes", "800000", 3),
        ("message.max.bytes", "900000", 4),
        ("message.max.bytes", "1048588", 5),
    ]
    (entry,) = describe(harness, BROKER, "").configs
    assert (entry.name, entry.value, entry.config_source) == ("message.max.bytes", "800000", 3)


def test_broker(harness: Harness) -> None:
    entries = {entry.name: entry for entry in describe(harness, BROKER, "1").configs}
    assert len(entries) == 340 + len(own_keys())
    assert (entries["message.max.bytes"].value, entries["message.max.bytes"].read_only) == ("900000", False)
    assert (entries["num.partitions"].value, entries["num.partitions"].read_only) == ("1", True)
    assert entries["ssl.key.password"].is_sensitive


def test_documentation_only_when_asked(harness: Harness) -> None:
    (entry,) = describe(harness, TOPIC, "t", "flush.messages").configs
    assert entry.documentation is None
    (entry,) = describe(harness, TOPIC, "t", "flush.messages", documentation=True).configs
    assert entry.documentation is not None
    assert "on disk" in entry.documentation


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (TOPIC, "nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "x y", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (BROKER, "7", ErrorCode.INVALID_REQUEST),
        (BROKER, "abc", ErrorCode.INVALID_REQUEST),
        (8, "", ErrorCode.INVALID_REQUEST),
        (16, "", ErrorCode.INVALID_REQUEST),
        (32, "", ErrorCode.INVALID_REQUEST),
        (99, "x", ErrorCode.INVALID_REQUEST),
    ],
)
def test_refused(harness: Harness, kind: int, name: str, code: ErrorCode) -> None:
    result = describe(harness, kind, name)
    assert (result.error_code, result.resource_type, result.resource_name) == (code, kind, name)
    assert result.configs == []


def test_what_is_not_served_is_empty_or_default(harness: Harness) -> None:
    loggers = {entry.name: (entry.value, entry.config_source) for entry in describe(harness, 8, "1").configs}
    assert {"root", "odradek", "odradek.broker"} <= set(loggers)
    assert {source for _, source in loggers.values()} == {6}
    assert describe(harness, 16, "m").configs == []
    (entry,) = describe(harness, 32, "g", "consumer.session.timeout.ms").configs
    assert (entry.value, entry.config_source) == ("45000", 5)


def test_why_a_group_rebalanced_is_told_to_who_asks_for_it(tmp_path: Path) -> None:
    made = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, _ = stable_member(made, group_instance_id="i")
    (config,) = describe(made, GROUP, "g", "odradek.rebalances").configs
    assert config.read_only
    (entry,) = json.loads(config.value)
    assert (entry["cause"], entry["epoch"], entry["member_id"]) == ("joined", 0, member_id)
    assert (entry["client_id"], entry["detail"]) == ("tester", "")
    assert entry["time_ms"] == made.clock.now_ms()
    assert "odradek.rebalances" not in {config.name for config in describe(made, GROUP, "g").configs}
    assert describe(made, GROUP, "nothing", "odradek.rebalances").configs == []


def test_why_a_group_rebalanced_where_there_are_no_groups(harness: Harness) -> None:
    result = describe(harness, GROUP, "g", "odradek.rebalances", "consumer.session.timeout.ms")
    assert [config.name for config in result.configs] == ["consumer.session.timeout.ms"]
