"""ConsumerGroupHeartbeat: joins a consumer group, lives in it, learns what to read, leaves (KIP-848).

v1 subscribes by regular expression, and the client makes the member id (KIP-1082). What happens is in
``coordinator/consumer_heartbeat.py``.
"""

from typing import TYPE_CHECKING

from odradek.broker.group_shard import GroupRunner
from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.features import GROUP_VERSION
from odradek.coordinator.classic_join import Client
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(broker: "Broker", request: ConsumerGroupHeartbeatRequest, context: RequestContext) -> Wait:
    runner = runner_of(broker, request.group_id)
    wait = Wait()
    runner.perform(runner.shard.consumer_heartbeat(request, client_of(context), wait, runner.now()))
    return wait


def runner_of(broker: "Broker", group_id: str) -> GroupRunner:
    """Where the group is, if such groups are served. Raises :class:`ApiError`."""
    if not broker.config.serves_consumer_protocol:
        raise _unsupported("group.coordinator.rebalance.protocols does not include consumer")
    if not broker.image.features.get(GROUP_VERSION, 0):
        raise _unsupported("group.version is not at level 1 (UpdateFeatures raises it)")
    return broker.groups.runner(group_id)


def client_of(context: RequestContext) -> Client:
    """What the machine is told of whoever sends a heartbeat."""
    return Client(context.api_version, context.client_id or "", "/" + context.session.client_host)


def _unsupported(reason: str) -> ApiError:
    return ApiError(ErrorCode.UNSUPPORTED_VERSION, f"{reason}; use group.protocol=classic")


def refuse(
    request: ConsumerGroupHeartbeatRequest, code: ErrorCode, message: str | None
) -> ConsumerGroupHeartbeatResponse:
    """``code`` for the member that asked."""
    return ConsumerGroupHeartbeatResponse(error_code=code, error_message=message)
