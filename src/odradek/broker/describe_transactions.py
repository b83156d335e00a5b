"""DescribeTransactions: state, producer, timeout and partitions of transactional ids (KIP-664)."""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext
from odradek.coordinator.transactions.listing import describe_transaction
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_transactions import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    TransactionState,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: DescribeTransactionsRequest, context: RequestContext
) -> DescribeTransactionsResponse:
    return DescribeTransactionsResponse(
        transaction_states=[_describe(broker, name) for name in request.transactional_ids]
    )


def _describe(broker: "Broker", transactional_id: str) -> TransactionState:
    if not transactional_id:
        return TransactionState(transactional_id=transactional_id, error_code=ErrorCode.INVALID_REQUEST)
    try:
        known = broker.transactions.runner(transactional_id).shard.transactions
    except ApiError as error:
        return TransactionState(transactional_id=transactional_id, error_code=error.code)
    return describe_transaction(transactional_id, known.get(transactional_id))


def refuse(
    request: DescribeTransactionsRequest, code: ErrorCode, message: str | None
) -> DescribeTransactionsResponse:
    """``code`` for every id."""
    return DescribeTransactionsResponse(
        transaction_states=[
            TransactionState(transactional_id=name, error_code=code) for name in request.transactional_ids
        ]
    )
