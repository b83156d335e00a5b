"""DescribeGroups: state, members and assignments of classic groups.

v3 authorized operations (KIP-430), v4 static members (KIP-345), v5 flexible, v6 tells a missing group from a
dead one, in words (KIP-1043).
"""

from typing import TYPE_CHECKING

from odradek.broker import authorized_operations
from odradek.broker.requests import RequestContext
from odradek.coordinator.listing import describe_group
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_groups import (
    DescribedGroup,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: DescribeGroupsRequest, context: RequestContext
) -> DescribeGroupsResponse:
    return DescribeGroupsResponse(
        groups=[_describe(broker, group_id, request, context) for group_id in request.groups]
    )


def _describe(
    broker: "Broker", group_id: str, request: DescribeGroupsRequest, context: RequestContext
) -> DescribedGroup:
    try:
        runner = broker.groups.runner(group_id)
    except ApiError as error:
        return DescribedGroup(group_id=group_id, error_code=error.code)
    described = describe_group(group_id, runner.shard.groups.get(group_id), context.api_version)
    if request.include_authorized_operations and not described.error_code:
        described.authorized_operations = authorized_operations.GROUP
    return described


def refuse(request: DescribeGroupsRequest, code: ErrorCode, message: str | None) -> DescribeGroupsResponse:
    """``code`` for every group asked for."""
    return DescribeGroupsResponse(
        groups=[DescribedGroup(group_id=group_id, error_code=code) for group_id in request.groups]
    )
