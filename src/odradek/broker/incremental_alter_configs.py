"""IncrementalAlterConfigs: sets, deletes, appends to and subtracts from single settings (KIP-339).

v1 flexible. Each resource succeeds or fails as a whole. Topics, brokers, groups and log levels (KIP-412) can
be altered; client metrics are refused, as nothing would follow from it yet.
"""

from collections import Counter
from typing import TYPE_CHECKING

from odradek.broker import log_levels
from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.controller import Alteration, incremental_alter_configs
from odradek.cluster.image import BROKER_LOGGER_RESOURCE
from odradek.core.errors import ApiError, ErrorCode
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
    loggers = [(key[1], changes) for key, changes in alterations if key[0] == BROKER_LOGGER_RESOURCE]
    kept = [alteration for alteration in alterations if alteration[0][0] != BROKER_LOGGER_RESOURCE]
    change = incremental_alter_configs(broker.metadata.proposed, kept, broker.config)
    results = dict(change.result)
    for name, changes in loggers:
        results[BROKER_LOGGER_RESOURCE, name] = _alter_loggers(broker, name, changes, request.validate_only)
    responses = []
    for resource in request.resources:
        key = (resource.resource_type, resource.resource_name)
        if asked[key] > 1:
            responses.append(_response(resource, ErrorCode.INVALID_REQUEST, ONLY_ONCE))
            continue
        error = results[key]
        if error is None:
            responses.append(_response(resource, ErrorCode.NONE, None))
        else:
            responses.append(_response(resource, error.code, error.message))
    response = IncrementalAlterConfigsResponse(responses=responses)
    if request.validate_only:
        return response
    return broker.commit_metadata(change, lambda image: response)


def _alter_loggers(
    broker: "Broker", name: str, changes: list[Alteration], validate_only: bool
) -> ApiError | None:
    try:
        log_levels.alter(broker.node_id, name, changes, validate_only=validate_only)
    except ApiError as error:
        return error
    return None


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
