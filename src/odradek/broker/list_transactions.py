"""ListTransactions: the transactional ids that this broker coordinates (KIP-664).

Filters by state and producer id; v1 by how long the transaction is open (KIP-994), v2 by a pattern that the
whole transactional id must match, in RE2's syntax (KIP-1152). What is not durable yet is waited for.
"""

from functools import partial
from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Several, Wait
from odradek.coordinator.regex import matcher
from odradek.coordinator.transactions.listing import Filter, list_transactions
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.list_transactions import ListTransactionsRequest, ListTransactionsResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(broker: "Broker", request: ListTransactionsRequest, context: RequestContext) -> Wait:
    matches = None
    if request.transactional_id_pattern:
        matches = matcher(request.transactional_id_pattern)
    wanted = Filter(
        list(dict.fromkeys(request.state_filters)),
        frozenset(request.producer_id_filters),
        request.duration_filter,
        matches,
    )
    runners = list(broker.transactions.runners())
    transactions = (one for runner in runners for one in runner.shard.transactions.values())
    response = list_transactions(transactions, wanted, broker.clock.now_ms())
    several = Several[ErrorCode](
        len(runners), lambda codes: refuse(request, max(codes), None) if any(codes) else response
    )
    for position, runner in enumerate(runners):
        runner.when_nothing_is_taken_back(partial(several.add, position))
    return several.wait


def refuse(
    request: ListTransactionsRequest, code: ErrorCode, message: str | None
) -> ListTransactionsResponse:
    """``code`` at the top."""
    return ListTransactionsResponse(error_code=code, unknown_state_filters=[], transaction_states=[])
