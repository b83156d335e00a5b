"""AlterConfigs: replaces all settings of a topic, a broker or a group (KIP-133).

What is not named gets its default. v1 throttling, v2 flexible. Clients should use IncrementalAlterConfigs, as
two that write whole sets undo each other's work.
"""

from collections import Counter
from typing import TYPE_CHECKING

from odradek.broker.incremental_alter_configs import ONLY_ONCE
from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.controller import alter_configs
from odradek.cluster.image import BROKER_LOGGER_RESOURCE
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: AlterConfigsRequest, context: RequestContext
) -> AlterConfigsResponse | Wait:
    asked = Counter((resource.resource_type, resource.resource_name) for resource in request.resources)
    wanted = [
        (
            (resource.resource_type, resource.resource_name),
            [(config.name, config.value) for config in resource.configs],
        )
        for resource in request.resources
        if asked[resource.resource_type, resource.resource_name] == 1
    ]
    change = alter_configs(broker.metadata.proposed, wanted, broker.config)
    responses = []
    for resource in request.resources:
        key = (resource.resource_type, resource.resource_name)
        if asked[key] > 1:
            responses.append(_response(resource, ErrorCode.INVALID_REQUEST, ONLY_ONCE))
            continue
        error = change.result[key]
        if error is None:
            responses.append(_response(resource, ErrorCode.NONE, None))
        elif resource.resource_type == BROKER_LOGGER_RESOURCE:
            # Log levels never were part of this API, so that it need not be told that they may come.
            reason = f"Unknown resource type {resource.resource_type}"
            responses.append(_response(resource, ErrorCode.INVALID_REQUEST, reason))
        else:
            responses.append(_response(resource, error.code, error.message))
    response = AlterConfigsResponse(responses=responses)
    if request.validate_only:
        return response
    return broker.commit_metadata(change, lambda image: response)


def _response(
    resource: AlterConfigsResource, code: ErrorCode, message: str | None
) -> AlterConfigsResourceResponse:
    return AlterConfigsResourceResponse(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )


def refuse(request: AlterConfigsRequest, code: ErrorCode, message: str | None) -> AlterConfigsResponse:
    """``code`` for every resource asked for."""
    return AlterConfigsResponse(
        responses=[_response(resource, code, message) for resource in request.resources]
    )
