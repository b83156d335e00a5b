"""EndTxn: commits or aborts a transaction; answered when that is decided, the markers follow (KIP-98).

v1 throttling, v2 PRODUCER_FENCED (KIP-588), v3 flexible, v4 TRANSACTION_ABORTABLE, v5 the epoch is bumped and
told with the answer (KIP-890).
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.broker.transactions import Told
from odradek.coordinator.step import Producer
from odradek.coordinator.transactions.decisions import Ending
from odradek.coordinator.transactions.effects import Initialized
from odradek.coordinator.transactions.transaction import VERSION_2
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.end_txn import EndTxnRequest, EndTxnResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_FENCED_FROM = 2
_BUMPS_FROM = 5


def handle(broker: "Broker", request: EndTxnRequest, context: RequestContext) -> Wait:
    if not request.transactional_id:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    runner = broker.transactions.runner(request.transactional_id)
    wait = Wait()

    def told(outcome: Initialized) -> None:
        code = outcome.code
        if code is ErrorCode.PRODUCER_FENCED and context.api_version < _FENCED_FROM:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        producer_id, epoch = outcome.producer
        wait.complete(EndTxnResponse(error_code=code, producer_id=producer_id, producer_epoch=epoch))

    ending = Ending(
        request.transactional_id,
        Producer(request.producer_id, request.producer_epoch),
        request.committed,
        VERSION_2 if context.api_version >= _BUMPS_FROM else 0,
    )
    runner.perform(runner.shard.end(ending, Told(told), runner.now()))
    return wait


def refuse(request: EndTxnRequest, code: ErrorCode, message: str | None) -> EndTxnResponse:
    """``code`` at the top."""
    return EndTxnResponse(error_code=code)
