"""Changes to topics and configurations."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from odradek.client.client import Client
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicId


class ResourceType(IntEnum):
    """What a configuration belongs to. Source: ``org.apache.kafka.common.config.ConfigResource``."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    GROUP = 32


SOURCES = {
    1: "topic",
    2: "broker",
    3: "all brokers",
    4: "static",
    5: "default",
    6: "broker logger",
    7: "client metrics",
    8: "group",
}
"""Where a value comes from, by the code of DescribeConfigs (``DescribeConfigsResponse.ConfigSource``)."""

_OF_ONE_BROKER = (ResourceType.BROKER, ResourceType.BROKER_LOGGER)
_SET = 0
_UNSET = 1


class CreatedTopic(NamedTuple):
    """A topic that has been made; the counts are -1 when the broker is too old to tell."""

    name: str
    topic_id: TopicId
    partition_count: int
    replication_factor: int


class ConfigEntry(NamedTuple):
    """One key of a resource with the value in force; ``value`` is None when it is sensitive or unset."""

    name: str
    value: str | None
    source: str
    is_read_only: bool
    is_sensitive: bool


async def create_topic(
    client: Client,
    name: str,
    *,
    partitions: int = -1,
    replication_factor: int = -1,
    configs: Mapping[str, str] | None = None,
    validate_only: bool = False,
) -> CreatedTopic:
    """Make a topic; -1 leaves a count to the broker. Raises ``ApiError``, TOPIC_ALREADY_EXISTS
    among others.
    """
    from odradek.protocol.generated.create_topics import (
        CreatableTopic,
        CreatableTopicConfig,
        CreateTopicsRequest,
        CreateTopicsResponse,
    )

    topic = CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        assignments=[],
        configs=[CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()],
    )
    request = CreateTopicsRequest(topics=[topic], timeout_ms=client.timeout_ms, validate_only=validate_only)

    async def ask() -> CreatedTopic:
        connection = await client.controller()
        response = await connection.call(request, CreateTopicsResponse, timeout_ms=client.timeout_ms)
        result = response.topics[0]
        _check(result.error_code, result.error_message, f"topic {name}")
        return CreatedTopic(name, result.topic_id, result.num_partitions, result.replication_factor)

    return await client.retrying(ask)


async def delete_topic(client: Client, name: str) -> None:
    """Delete a topic and its records; raises ``ApiError``."""
    from odradek.protocol.generated.delete_topics import (
        DeleteTopicsRequest,
        DeleteTopicsResponse,
        DeleteTopicState,
    )

    request = DeleteTopicsRequest(
        topics=[DeleteTopicState(name=name)], topic_names=[name], timeout_ms=client.timeout_ms
    )
    connection = await client.controller()
    response = await connection.call(request, DeleteTopicsResponse, timeout_ms=client.timeout_ms)
    result = response.responses[0]
    _check(result.error_code, result.error_message, f"topic {name}")


async def create_partitions(client: Client, name: str, count: int, *, validate_only: bool = False) -> None:
    """Raise the number of partitions of a topic to ``count``; raises ``ApiError``."""
    from odradek.protocol.generated.create_partitions import (
        CreatePartitionsRequest,
        CreatePartitionsResponse,
        CreatePartitionsTopic,
    )

    topic = CreatePartitionsTopic(name=name, count=count, assignments=None)
    request = CreatePartitionsRequest(
        topics=[topic], timeout_ms=client.timeout_ms, validate_only=validate_only
    )
    connection = await client.controller()
    response = await connection.call(request, CreatePartitionsResponse, timeout_ms=client.timeout_ms)
    result = response.results[0]
    _check(result.error_code, result.error_message, f"topic {name}")


async def describe_configs(
    client: Client, resource_type: ResourceType, name: str, keys: Iterable[str] | None = None
) -> list[ConfigEntry]:
    """The configuration of a topic, broker or group, by key; ``keys`` None means all. Raises ``ApiError``."""
    from odradek.protocol.generated.describe_configs import (
        DescribeConfigsRequest,
        DescribeConfigsResource,
        DescribeConfigsResponse,
    )

    resource = DescribeConfigsResource(
        resource_type=resource_type,
        resource_name=name,
        configuration_keys=None if keys is None else list(keys),
    )
    request = DescribeConfigsRequest(resources=[resource])
    if resource_type in _OF_ONE_BROKER and name:
        connection = await client.broker(int(name))
    else:
        connection = await client.any_broker()
    response = await connection.call(request, DescribeConfigsResponse, timeout_ms=client.timeout_ms)
    result = response.results[0]
    _check(result.error_code, result.error_message, f"{resource_type.name.lower()} {name}")
    return sorted(
        ConfigEntry(
            entry.name,
            entry.value,
            SOURCES.get(entry.config_source, "unknown"),
            entry.read_only,
            entry.is_sensitive,
        )
        for entry in result.configs
    )


async def alter_configs(
    client: Client,
    resource_type: ResourceType,
    name: str,
    changes: Mapping[str, str | None],
    *,
    validate_only: bool = False,
) -> None:
    """Set each key to its value, or back to its default where the value is None; raises ``ApiError``.

    Source: KIP-339 (IncrementalAlterConfigs): keys that are not named stay as they are.
    """
    from odradek.protocol.generated.incremental_alter_configs import (
        AlterableConfig,
        AlterConfigsResource,
        IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse,
    )

    configs = [
        AlterableConfig(name=key, config_operation=_UNSET if value is None else _SET, value=value)
        for key, value in changes.items()
    ]
    resource = AlterConfigsResource(resource_type=resource_type, resource_name=name, configs=configs)
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
    if resource_type in _OF_ONE_BROKER and name:
        connection = await client.broker(int(name))
    else:
        connection = await client.controller()
    response = await connection.call(request, IncrementalAlterConfigsResponse, timeout_ms=client.timeout_ms)
    result = response.responses[0]
    _check(result.error_code, result.error_message, f"{resource_type.name.lower()} {name}")


def _check(error_code: int, message: str | None, what: str) -> None:
    if error_code:
        code = ErrorCode(error_code)
        if code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            message = f"there is no {what}"
        raise ApiError(code, message or what)
