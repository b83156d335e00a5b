"""DescribeTransactions: state, producer, timeout and partitions of transactional ids (KIP-664).

Like OffsetFetch it waits for what is not durable yet, so that no crash takes back what it tells.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Several, Wait
from odradek.coordinator.transactions.listing import describe_transaction
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_transactions import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    TransactionState,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(broker: "Broker", request: DescribeTransactionsRequest, context: RequestContext) -> Wait:
    names = request.transactional_ids
    several = Several[TransactionState](
        len(names), lambda states: DescribeTransactionsResponse(transaction_states=states)
    )
    for position, name in enumerate(names):
        _describe(broker, name, several, position)
    return several.wait


def _describe(
    broker: "Broker", transactional_id: str, several: Several[TransactionState], position: int
) -> None:
    def refused(code: ErrorCode) -> None:
        several.add(position, TransactionState(transactional_id=transactional_id, error_code=code))

    if not transactional_id:
        refused(ErrorCode.INVALID_REQUEST)
        return
    try:
        runner = broker.transactions.runner(transactional_id)
    except ApiError as error:
        refused(error.code)
        return
    found = describe_transaction(transactional_id, runner.shard.transactions.get(transactional_id))
    runner.when_nothing_is_taken_back(lambda code: refused(code) if code else several.add(position, found))


def refuse(
    request: DescribeTransactionsRequest, code: ErrorCode, message: str | None
) -> DescribeTransactionsResponse:
    """``code`` for every id."""
    return DescribeTransactionsResponse(
        transaction_states=[
            TransactionState(transactional_id=name, error_code=code) for name in request.transactional_ids
        ]
    )
