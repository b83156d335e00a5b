"""JoinGroup: enters a classic consumer group; answered when the group has its next generation.

v1 a rebalance timeout of its own (KIP-62), v4 an id first, then the join (KIP-394), v5 static members
(KIP-345), v6 flexible, v7 the protocol's type in the answer (KIP-559), v8 a reason (KIP-800), v9 a leader
that came back may skip the assignment (KIP-814). What happens is in ``coordinator/classic_join.py``.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.coordinator.classic_join import Client
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.join_group import JoinGroupRequest, JoinGroupResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_NULL_PROTOCOL_FROM = 7


def handle(broker: "Broker", request: JoinGroupRequest, context: RequestContext) -> Wait:
    runner = broker.groups.runner(request.group_id)
    wait = Wait()
    client = Client(context.api_version, context.client_id or "", "/" + context.session.client_host)
    token = _Reply(wait, context.api_version)
    runner.perform(runner.shard.join_group(request, client, token, runner.now()))
    return wait


class _Reply:
    """What the machine answers through: errors have no protocol, which only later versions can say."""

    __slots__ = ("_version", "_wait")

    def __init__(self, wait: Wait, version: int) -> None:
        self._wait = wait
        self._version = version

    def complete(self, response: JoinGroupResponse) -> None:
        if response.error_code:
            response.protocol_name = None if self._version >= _NULL_PROTOCOL_FROM else ""
        self._wait.complete(response)


def refuse(request: JoinGroupRequest, code: ErrorCode, message: str | None) -> JoinGroupResponse:
    """``code`` for the member that asked."""
    return JoinGroupResponse(error_code=code, member_id=request.member_id)
