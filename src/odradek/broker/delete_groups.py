"""DeleteGroups: groups without members go, with all their offsets (KIP-229). v2 is flexible."""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.group_shard import GroupRunner


def handle(
    broker: "Broker", request: DeleteGroupsRequest, context: RequestContext
) -> DeleteGroupsResponse | Wait:
    response = DeleteGroupsResponse(results=[])
    by_runner: dict[GroupRunner, list[str]] = {}
    for group_id in dict.fromkeys(request.groups_names):
        try:
            by_runner.setdefault(broker.groups.runner(group_id), []).append(group_id)
        except ApiError as error:
            response.results.append(DeletableGroupResult(group_id=group_id, error_code=error.code))
    if not by_runner:
        return response
    gathering = _Gathering(response, len(by_runner))
    for runner, group_ids in by_runner.items():
        runner.perform(runner.shard.delete_groups(group_ids, gathering))
    return gathering.wait


class _Gathering:
    """Puts the answers of several shards together."""

    __slots__ = ("_missing", "_response", "wait")

    def __init__(self, response: DeleteGroupsResponse, missing: int) -> None:
        self.wait = Wait()
        self._response = response
        self._missing = missing

    def complete(self, part: DeleteGroupsResponse) -> None:
        self._response.results.extend(part.results)
        self._missing -= 1
        if not self._missing:
            self.wait.complete(self._response)


def refuse(request: DeleteGroupsRequest, code: ErrorCode, message: str | None) -> DeleteGroupsResponse:
    """``code`` for every group asked for."""
    return DeleteGroupsResponse(
        results=[
            DeletableGroupResult(group_id=group_id, error_code=code) for group_id in request.groups_names
        ]
    )
