"""AddOffsetsToTxn: a group's partition of ``__consumer_offsets`` takes part in a transaction (KIP-98).

v1 throttling, v2 PRODUCER_FENCED (KIP-588), v3 flexible, v4 TRANSACTION_ABORTABLE (KIP-890). Clients of
transactions version 2 leave it out: TxnOffsetCommit adds the partition by the way.
"""

from typing import TYPE_CHECKING

from odradek.broker.partitions import OFFSETS_TOPIC
from odradek.broker.requests import RequestContext, Wait
from odradek.broker.transactions import Told
from odradek.coordinator.hashing import partition_for
from odradek.coordinator.step import Producer
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_FENCED_FROM = 2


def handle(broker: "Broker", request: AddOffsetsToTxnRequest, context: RequestContext) -> Wait:
    if not request.transactional_id:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    runner = broker.transactions.runner(request.transactional_id)
    wait = Wait()

    def told(code: ErrorCode) -> None:
        if code is ErrorCode.PRODUCER_FENCED and context.api_version < _FENCED_FROM:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        wait.complete(AddOffsetsToTxnResponse(error_code=code))

    partition = (OFFSETS_TOPIC, partition_for(request.group_id, broker.groups.partition_count))
    runner.perform(
        runner.shard.add_partitions(
            request.transactional_id,
            Producer(request.producer_id, request.producer_epoch),
            frozenset((partition,)),
            0,
            Told(told),
            runner.now(),
            patience_ms=broker.transactions.patience_ms,
        )
    )
    return wait


def refuse(request: AddOffsetsToTxnRequest, code: ErrorCode, message: str | None) -> AddOffsetsToTxnResponse:
    """``code`` at the top."""
    return AddOffsetsToTxnResponse(error_code=code)
