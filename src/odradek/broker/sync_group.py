"""SyncGroup: brings the leader's assignment and gives each member its part, once that is durable.

v3 static members (KIP-345), v4 flexible, v5 names the protocol that the member means (KIP-559), so that an
assignment made for another one is not taken. What happens is in ``coordinator/classic_membership.py``.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_PROTOCOL_FROM = 5


def handle(broker: "Broker", request: SyncGroupRequest, context: RequestContext) -> Wait:
    names_protocol = request.protocol_type is not None and request.protocol_name is not None
    if context.api_version >= _PROTOCOL_FROM and not names_protocol:
        raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    runner = broker.groups.runner(request.group_id)
    wait = Wait()
    runner.perform(runner.shard.sync_group(request, wait, runner.now()))
    return wait


def refuse(request: SyncGroupRequest, code: ErrorCode, message: str | None) -> SyncGroupResponse:
    """``code`` for the member that asked."""
    return SyncGroupResponse(error_code=code)
