"""ListGroups: the groups that this broker coordinates.

v3 flexible, v4 states, to show and to filter by (KIP-518), v5 the same for types (KIP-848).
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext
from odradek.coordinator.listing import list_groups
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.list_groups import ListGroupsRequest, ListGroupsResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(broker: "Broker", request: ListGroupsRequest, context: RequestContext) -> ListGroupsResponse:
    response = ListGroupsResponse(error_code=0, groups=[])
    for runner in broker.groups.runners():
        groups = runner.shard.groups.values()
        response.groups.extend(list_groups(groups, request.states_filter, request.types_filter))
    return response


def refuse(request: ListGroupsRequest, code: ErrorCode, message: str | None) -> ListGroupsResponse:
    """``code`` for the whole request."""
    return ListGroupsResponse(error_code=code, groups=[])
