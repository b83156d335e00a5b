"""Heartbeat: a member of a classic group lives, and learns whether it must rejoin.

v3 static members (KIP-345), v4 flexible. While the group is being loaded every heartbeat is good: nobody
may lose its place because the broker restarted.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.heartbeat import HeartbeatRequest, HeartbeatResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(broker: "Broker", request: HeartbeatRequest, context: RequestContext) -> HeartbeatResponse | Wait:
    try:
        runner = broker.groups.runner(request.group_id)
    except ApiError as error:
        if error.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
            return HeartbeatResponse(error_code=0)
        raise
    wait = Wait()
    runner.perform(runner.shard.heartbeat(request, wait, runner.now()))
    return wait


def refuse(request: HeartbeatRequest, code: ErrorCode, message: str | None) -> HeartbeatResponse:
    """``code`` for the member that asked."""
    return HeartbeatResponse(error_code=code)
