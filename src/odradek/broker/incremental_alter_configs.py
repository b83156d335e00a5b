"""IncrementalAlterConfigs: sets, deletes, appends to and subtracts from single settings (KIP-339).

v1 flexible. Each resource succeeds or fails as a whole. Topics, brokers and groups can be altered; client
metrics and log levels are refused, as nothing would follow from it yet.
"""

from collections import Counter
from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.controller import Alteration, incremental_alter_configs
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.incremental_alter_configs import (
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

ONLY_ONCE = "Each resource must appear at most once."


def handle(
    broker: "Broker", request: IncrementalAlterConfigsRequest, context: RequestContext
) -> IncrementalAlterConfigsResponse | Wait:
    asked = Counter((resource.resource_type, resource.resource_name) for resource in request.resources)
    alterations = [
        (
            (resource.resource_type, resource.resource_name),
            [Alteration(config.name, config.config_operation, config.value) for config in resource.configs],
        )
        for resource in request.resources
        if asked[resource.resource_type, resource.resource_name] == 1
    ]
    change = incremental_alter_configs(broker.metadata.proposed, alterations, broker.config)
    responses = []
    for resource in request.resources:
        key = (resource.resource_type, resource.resource_name)
        if asked[key] > 1:
            responses.append(_response(resource, ErrorCode.INVALID_REQUEST, ONLY_ONCE))
            continue
        error = change.result[key]
        if error is None:
            responses.append(_response(resource, ErrorCode.NONE, None))
        else:
            responses.append(_response(resource, error.code, error.message))
    response = IncrementalAlterConfigsResponse(responses=responses)
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


def refuse(
    request: IncrementalAlterConfigsRequest, code: ErrorCode, message: str | None
) -> IncrementalAlterConfigsResponse:
    """``code`` for every resource asked for."""
    return IncrementalAlterConfigsResponse(
        responses=[_response(resource, code, message) for resource in request.resources]
    )
