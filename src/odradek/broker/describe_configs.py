"""DescribeConfigs: every setting of a topic, a broker or a group, where it comes from and what else is said.

v1 synonyms (KIP-226), v2 throttling, v3 types and documentation (KIP-569), v4 flexible. Log levels
are those of KIP-412. Client metrics (KIP-714) are not served: what exists of them is told to be nothing.
"""

from typing import TYPE_CHECKING

from odradek.broker import log_levels
from odradek.broker.requests import RequestContext
from odradek.cluster.configs import check_broker_name
from odradek.cluster.controller import broker_layers
from odradek.cluster.image import (
    BROKER_LOGGER_RESOURCE,
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
)
from odradek.cluster.names import invalid_name_reason
from odradek.coordinator.rebalances import REBALANCES_KEY
from odradek.core.config.describe import (
    TYPES,
    Entry,
    describe_broker,
    describe_default_broker,
    describe_group,
    describe_topic,
)
from odradek.core.config.layers import ConfigSource
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: DescribeConfigsRequest, context: RequestContext
) -> DescribeConfigsResponse:
    results = []
    for resource in request.resources:
        try:
            entries = _entries(broker, resource)
        except ApiError as error:
            results.append(_refusal(resource, error.code, error.message))
            continue
        results.append(
            DescribeConfigsResult(
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
                configs=[
                    _result(entry, request.include_synonyms, request.include_documentation)
                    for entry in entries
                ],
            )
        )
    return DescribeConfigsResponse(results=results)


def _entries(broker: "Broker", resource: DescribeConfigsResource) -> list[Entry]:
    """Source: ``ConfigHelper.describeConfigs``."""
    image = broker.image
    name = resource.resource_name
    names = set(resource.configuration_keys or ())
    layers = broker_layers(image, broker.config)
    kind = resource.resource_type
    if kind == TOPIC_RESOURCE:
        reason = invalid_name_reason(name)
        if reason is not None:
            raise ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, reason)
        topic = image.topics.get(name)
        if topic is None:
            raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
        return describe_topic(layers, topic.configs, names)
    if kind == BROKER_RESOURCE:
        check_broker_name(name, broker.config, "Broker id must be an integer, but it is: ")
        return describe_broker(layers, names) if name else describe_default_broker(layers, names)
    if kind == GROUP_RESOURCE:
        if not name:
            raise ApiError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
        entries = describe_group(layers, image.resource_configs((kind, name)), names)
        return entries + _rebalances(broker, name) if REBALANCES_KEY in names else entries
    if kind == BROKER_LOGGER_RESOURCE:
        if not name:
            raise ApiError(ErrorCode.INVALID_REQUEST, "Broker id must not be empty")
        check_broker_name(name, broker.config, "Broker id must be an integer, but it is: ")
        return log_levels.describe(names)
    if kind == CLIENT_METRICS_RESOURCE:
        if not name:
            raise ApiError(ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty")
        return []
    raise ApiError(ErrorCode.INVALID_REQUEST, f"Unsupported resource type: {kind}")


def _rebalances(broker: "Broker", group_id: str) -> list[Entry]:
    """Why a group rebalanced lately; nothing when it is not there. Raises COORDINATOR_LOAD_IN_PROGRESS."""
    if not broker.groups.is_available(group_id):
        return []
    group = broker.groups.runner(group_id).shard.groups.get(group_id)
    if group is None:
        return []
    text = group.rebalances.to_json()
    what = "Why the group rebalanced lately (JSON)."
    return [Entry(REBALANCES_KEY, text, ConfigSource.UNKNOWN, TYPES.index("STRING"), True, False, (), what)]


def _result(entry: Entry, with_synonyms: bool, with_documentation: bool) -> DescribeConfigsResourceResult:
    result = DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.is_read_only,
        config_source=entry.source,
        is_sensitive=entry.is_sensitive,
        config_type=entry.type,
        documentation=entry.documentation if with_documentation else None,
    )
    if with_synonyms:
        result.synonyms = [
            DescribeConfigsSynonym(name=synonym.name, value=synonym.value, source=synonym.source)
            for synonym in entry.synonyms
        ]
    return result


def _refusal(
    resource: DescribeConfigsResource, code: ErrorCode, message: str | None
) -> DescribeConfigsResult:
    return DescribeConfigsResult(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )


def refuse(request: DescribeConfigsRequest, code: ErrorCode, message: str | None) -> DescribeConfigsResponse:
    """``code`` for every resource asked for."""
    return DescribeConfigsResponse(
        results=[_refusal(resource, code, message) for resource in request.resources]
    )
