"""LeaveGroup: members go, of their own or because an admin removes them.

v3 several members at once, also by instance id (KIP-345), v4 flexible, v5 a reason (KIP-800). What happens
is in ``coordinator/classic_membership.py``.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_SEVERAL_FROM = 3


def handle(broker: "Broker", request: LeaveGroupRequest, context: RequestContext) -> Wait:
    runner = broker.groups.runner(request.group_id)
    wait = Wait()
    token: Wait | _ReplyToOne = wait
    if context.api_version < _SEVERAL_FROM:
        request.members = [MemberIdentity(member_id=request.member_id)]
        token = _ReplyToOne(wait)
    runner.perform(runner.shard.leave_group(request, token, runner.now()))
    return wait


class _ReplyToOne:
    """Before v3 there is one member, and its error is the answer's."""

    __slots__ = ("_wait",)

    def __init__(self, wait: Wait) -> None:
        self._wait = wait

    def complete(self, response: LeaveGroupResponse) -> None:
        if not response.error_code and response.members:
            response.error_code = response.members[0].error_code
        response.members = []
        self._wait.complete(response)


def refuse(request: LeaveGroupRequest, code: ErrorCode, message: str | None) -> LeaveGroupResponse:
    """``code`` for all of them."""
    return LeaveGroupResponse(error_code=code, members=[])
