"""ConsumerGroupDescribe: state, epochs, members and assignments of consumer groups (KIP-848).

v1 says which protocol a member speaks (KIP-1099).
"""

from typing import TYPE_CHECKING

from odradek.broker import authorized_operations
from odradek.broker.requests import RequestContext
from odradek.coordinator.listing import describe_consumer_group
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: ConsumerGroupDescribeRequest, context: RequestContext
) -> ConsumerGroupDescribeResponse:
    return ConsumerGroupDescribeResponse(
        groups=[_describe(broker, group_id, request) for group_id in request.group_ids]
    )


def _describe(broker: "Broker", group_id: str, request: ConsumerGroupDescribeRequest) -> DescribedGroup:
    try:
        if not group_id:
            raise ApiError(ErrorCode.INVALID_GROUP_ID)
        shard = broker.groups.runner(group_id).shard
        described = describe_consumer_group(
            group_id, shard.groups.get(group_id), shard.topics, shard.settings
        )
    except ApiError as error:
        return _refused(group_id, error.code, error.message)
    if request.include_authorized_operations:
        described.authorized_operations = authorized_operations.GROUP
    return described


def _refused(group_id: str, code: ErrorCode, message: str | None) -> DescribedGroup:
    return DescribedGroup(group_id=group_id, error_code=code, error_message=message)


def refuse(
    request: ConsumerGroupDescribeRequest, code: ErrorCode, message: str | None
) -> ConsumerGroupDescribeResponse:
    """``code`` for every group asked for."""
    return ConsumerGroupDescribeResponse(
        groups=[_refused(group_id, code, message) for group_id in request.group_ids]
    )
