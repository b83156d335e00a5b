"""DescribeCluster: the cluster's id, its brokers, its controller (KIP-700).

v1 says which kind of endpoint is meant, brokers or controllers (KIP-919), v2 fenced brokers (KIP-1073); none
is ever fenced here. A lone node is its own controller.
"""

from typing import TYPE_CHECKING

from odradek.broker import authorized_operations
from odradek.broker.endpoints import advertised_endpoint
from odradek.broker.requests import RequestContext
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_BROKERS = 1
_CONTROLLERS = 2


def handle(
    broker: "Broker", request: DescribeClusterRequest, context: RequestContext
) -> DescribeClusterResponse:
    if context.api_version >= 1 and request.endpoint_type != _BROKERS:
        if request.endpoint_type == _CONTROLLERS:
            raise ApiError(
                ErrorCode.MISMATCHED_ENDPOINT_TYPE,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type"
                " CONTROLLER",
            )
        raise ApiError(
            ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {request.endpoint_type}"
        )
    host, port = advertised_endpoint(broker.config, context.session)
    response = DescribeClusterResponse(
        endpoint_type=_BROKERS,
        cluster_id=broker.image.cluster_id,
        controller_id=broker.node_id,
        brokers=[
            DescribeClusterBroker(
                broker_id=broker.node_id, host=host, port=port, rack=broker.config.broker_rack
            )
        ],
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = authorized_operations.CLUSTER
    return response


def refuse(request: DescribeClusterRequest, code: ErrorCode, message: str | None) -> DescribeClusterResponse:
    """``code`` at the top."""
    return DescribeClusterResponse(error_code=code, error_message=message, brokers=[])
