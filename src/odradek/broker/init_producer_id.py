"""InitProducerId: an id and an epoch under which a producer numbers its batches (KIP-98).

v1 throttling, v2 flexible, v3 a producer recovers its epoch (KIP-360), v4 PRODUCER_FENCED (KIP-588), v5
transactions version 2 (KIP-890), v6 two-phase commit (KIP-939), which Kafka 4.3 does not release.

Without a transactional id Kafka gives a new id to everyone who asks, also to those that had one. With one the
transaction coordinator answers, and whoever used the id before is fenced.
"""

from typing import TYPE_CHECKING

from odradek.broker.producer_ids import Taker
from odradek.broker.requests import RequestContext, Wait
from odradek.broker.transactions import Told
from odradek.coordinator.step import Producer
from odradek.coordinator.transactions.decisions import Initialization
from odradek.coordinator.transactions.effects import Initialized
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_NONE = -1
_FENCED_FROM = 4


def handle(broker: "Broker", request: InitProducerIdRequest, context: RequestContext) -> Wait:
    if (request.producer_id == _NONE) != (request.producer_epoch == _NONE):
        raise ApiError(ErrorCode.INVALID_REQUEST)
    if request.transactional_id is not None:
        return _initialize(broker, request, request.transactional_id, context)
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


def _initialize(
    broker: "Broker", request: InitProducerIdRequest, transactional_id: str, context: RequestContext
) -> Wait:
    if not transactional_id:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    if not 0 < request.transaction_timeout_ms <= broker.config.transaction_max_timeout_ms:
        raise ApiError(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
    expected = None
    if request.producer_id != _NONE:
        expected = Producer(request.producer_id, request.producer_epoch)
    runner = broker.transactions.runner(transactional_id)
    wait = Wait()

    def told(outcome: Initialized) -> None:
        code = outcome.code
        if code is ErrorCode.PRODUCER_FENCED and context.api_version < _FENCED_FROM:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        producer_id, epoch = outcome.producer
        wait.complete(InitProducerIdResponse(error_code=code, producer_id=producer_id, producer_epoch=epoch))

    initialization = Initialization(transactional_id, request.transaction_timeout_ms, expected)
    runner.perform(runner.shard.initialize(initialization, Told(told), runner.now()))
    return wait


def refuse(request: InitProducerIdRequest, code: ErrorCode, message: str | None) -> InitProducerIdResponse:
    """``code`` at the top."""
    return InitProducerIdResponse(error_code=code, producer_epoch=_NONE)
