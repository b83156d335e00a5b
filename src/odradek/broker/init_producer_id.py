"""InitProducerId: an id under which an idempotent producer numbers its batches (KIP-98).

v1 throttling, v2 flexible, v3 a producer recovers its epoch (KIP-360), v4 PRODUCER_FENCED (KIP-588), v5
transactions version 2 (KIP-890), v6 two-phase commit (KIP-939), which Kafka 4.3 does not release.

Without a transactional id Kafka gives a new id to everyone who asks, also to those that had one. With one the
transaction coordinator would answer; it is not built yet. UNSUPPORTED_VERSION is said then, as every client
takes it for final, where a coordinator's own errors would be tried again until some timeout.
"""

from typing import TYPE_CHECKING

from odradek.broker.producer_ids import Taker
from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_NONE = -1


def handle(broker: "Broker", request: InitProducerIdRequest, context: RequestContext) -> Wait:
    if (request.producer_id == _NONE) != (request.producer_epoch == _NONE):
        raise ApiError(ErrorCode.INVALID_REQUEST)
    if request.transactional_id is not None:
        _refuse_transaction(broker, request)
    wait = Wait()
    broker.producer_ids.take(
        Taker(
            lambda producer_id: wait.complete(
                InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)
            ),
            lambda code: wait.complete(refuse(request, code, None)),
        )
    )
    return wait


def _refuse_transaction(broker: "Broker", request: InitProducerIdRequest) -> None:
    if not request.transactional_id:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    if not 0 < request.transaction_timeout_ms <= broker.config.transaction_max_timeout_ms:
        raise ApiError(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
    raise ApiError(ErrorCode.UNSUPPORTED_VERSION)


def refuse(request: InitProducerIdRequest, code: ErrorCode, message: str | None) -> InitProducerIdResponse:
    """``code`` at the top."""
    return InitProducerIdResponse(error_code=code, producer_epoch=_NONE)
