"""FindCoordinator: which broker knows a consumer group or a transactional id.

The first question makes ``__consumer_offsets`` or ``__transaction_state`` and is answered once it is there,
where Kafka says COORDINATOR_NOT_AVAILABLE and lets the client come again.

v1 other kinds of coordinators (KIP-98), v3 flexible, v4 several keys at once (KIP-699), v5 transactions
version 2 (KIP-890), v6 share groups (KIP-932), which have no coordinator in this version of Odradek.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from odradek.broker.endpoints import advertised_endpoint
from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.shards import Shards

_GROUP = 0
_TRANSACTION = 1
_SEVERAL_KEYS_FROM = 4
_KINDS = {2: "share groups"}


def handle(
    broker: "Broker", request: FindCoordinatorRequest, context: RequestContext
) -> FindCoordinatorResponse | Wait:
    if request.key_type not in (_GROUP, _TRANSACTION):
        kind = _KINDS.get(request.key_type, f"key type {request.key_type}")
        message = f"{kind}: not served by this version of Odradek"
        return _answer(
            request, context, [_refused(ErrorCode.INVALID_REQUEST, message)] * _count(request, context)
        )
    coordinator: Shards[Any] = broker.groups if request.key_type == _GROUP else broker.transactions
    wait = Wait()

    def answer() -> None:
        found = [_find(broker, coordinator, key, context) for key in _keys(request, context)]
        wait.complete(_answer(request, context, found))

    try:
        coordinator.ensure_topic(answer)
    except ApiError as error:
        refused = _refused(ErrorCode.COORDINATOR_NOT_AVAILABLE, error.message)
        return _answer(request, context, [refused] * _count(request, context))
    return wait


def _keys(request: FindCoordinatorRequest, context: RequestContext) -> Sequence[str]:
    return request.coordinator_keys if context.api_version >= _SEVERAL_KEYS_FROM else [request.key]


def _count(request: FindCoordinatorRequest, context: RequestContext) -> int:
    return len(_keys(request, context))


def _find(broker: "Broker", coordinator: "Shards[Any]", key: str, context: RequestContext) -> Coordinator:
    if not coordinator.is_available(key):
        return _refused(
            ErrorCode.COORDINATOR_NOT_AVAILABLE, f"its partition of {coordinator.topic} is offline"
        )
    host, port = advertised_endpoint(broker.config, context.session)
    return Coordinator(node_id=broker.node_id, host=host, port=port, error_code=0, error_message="")


def _refused(code: ErrorCode, message: str | None) -> Coordinator:
    return Coordinator(node_id=-1, host="", port=-1, error_code=code, error_message=message)


def _answer(
    request: FindCoordinatorRequest, context: RequestContext, found: Sequence[Coordinator]
) -> FindCoordinatorResponse:
    if context.api_version < _SEVERAL_KEYS_FROM:
        one = found[0]
        return FindCoordinatorResponse(
            error_code=one.error_code,
            error_message=one.error_message or "NONE",
            node_id=one.node_id,
            host=one.host,
            port=one.port,
        )
    coordinators = [
        Coordinator(
            key=key,
            node_id=one.node_id,
            host=one.host,
            port=one.port,
            error_code=one.error_code,
            error_message=one.error_message,
        )
        for key, one in zip(request.coordinator_keys, found, strict=True)
    ]
    return FindCoordinatorResponse(coordinators=coordinators)


def refuse(request: FindCoordinatorRequest, code: ErrorCode, message: str | None) -> FindCoordinatorResponse:
    """``code`` at the top (up to v3) and for every key (from v4)."""
    return FindCoordinatorResponse(
        error_code=code,
        error_message=message,
        node_id=-1,
        port=-1,
        coordinators=[
            Coordinator(key=key, node_id=-1, port=-1, error_code=code, error_message=message)
            for key in request.coordinator_keys
        ],
    )
