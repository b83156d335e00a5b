"""ListConfigResources: the names of resources that have, or could have, a configuration (KIP-1142).

v0 knows client metrics only (KIP-714, ListClientMetricsResources), v1 all kinds. Topics and brokers are
listed because they exist, groups and client metrics when something is set for them.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext
from odradek.cluster.image import (
    BROKER_LOGGER_RESOURCE,
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
)
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_KINDS = (
    TOPIC_RESOURCE,
    BROKER_RESOURCE,
    BROKER_LOGGER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
)


def handle(
    broker: "Broker", request: ListConfigResourcesRequest, context: RequestContext
) -> ListConfigResourcesResponse:
    asked = {CLIENT_METRICS_RESOURCE} if context.api_version == 0 else set(request.resource_types or _KINDS)
    if not asked <= set(_KINDS):
        return refuse(request, ErrorCode.UNSUPPORTED_VERSION, None)
    return ListConfigResourcesResponse(
        config_resources=[
            ConfigResource(resource_name=name, resource_type=kind)
            for kind in _KINDS
            if kind in asked
            for name in _names(broker, kind)
        ]
    )


def _names(broker: "Broker", kind: int) -> list[str]:
    image = broker.image
    if kind == TOPIC_RESOURCE:
        return list(image.topics)
    if kind in (BROKER_RESOURCE, BROKER_LOGGER_RESOURCE):
        return [str(broker_id) for broker_id in image.brokers]
    return [name for resource_type, name in image.configs if resource_type == kind]


def refuse(
    request: ListConfigResourcesRequest, code: ErrorCode, message: str | None
) -> ListConfigResourcesResponse:
    """``code`` for the whole request."""
    return ListConfigResourcesResponse(error_code=code, config_resources=[])
