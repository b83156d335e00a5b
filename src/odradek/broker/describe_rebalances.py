"""DescribeRebalances: why groups rebalanced lately. An API of our own: Kafka's protocol has no way to ask.

Its key is beyond those that Apache Kafka gives out (docs/decisions/0006-own-apis.md); clients that do not
know it ignore that it is announced. Causes are the names of ``coordinator/rebalances.py`` in lower case.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_rebalances import (
    DescribeRebalancesRequest,
    DescribeRebalancesResponse,
    Rebalance,
    RebalancedGroup,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: DescribeRebalancesRequest, context: RequestContext
) -> DescribeRebalancesResponse:
    return DescribeRebalancesResponse(groups=[_describe(broker, group_id) for group_id in request.group_ids])


def _describe(broker: "Broker", group_id: str) -> RebalancedGroup:
    try:
        group = broker.groups.runner(group_id).shard.groups.get(group_id)
    except ApiError as error:
        return _refused(group_id, error.code, error.message)
    if group is None:
        return _refused(group_id, ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
    return RebalancedGroup(
        group_id=group_id,
        rebalances=[
            Rebalance(
                timestamp_ms=entry.wall_ms,
                epoch=entry.epoch,
                cause=entry.cause.name.lower(),
                member_id=entry.member_id,
                client_id=entry.client_id,
                detail=entry.detail,
            )
            for entry in group.rebalances.all()
        ],
    )


def _refused(group_id: str, code: ErrorCode, message: str | None) -> RebalancedGroup:
    return RebalancedGroup(group_id=group_id, error_code=code, error_message=message)


def refuse(
    request: DescribeRebalancesRequest, code: ErrorCode, message: str | None
) -> DescribeRebalancesResponse:
    """``code`` for every group asked for."""
    return DescribeRebalancesResponse(
        groups=[_refused(group_id, code, message) for group_id in request.group_ids]
    )
