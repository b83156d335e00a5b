"""ListTransactions: the transactional ids that this broker coordinates (KIP-664).

Filters by state and producer id; v1 by how long the transaction is open (KIP-994), v2 by a pattern that the
whole transactional id must match, in RE2's syntax (KIP-1152).
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext
from odradek.coordinator.regex import matcher
from odradek.coordinator.transactions.listing import Filter, list_transactions
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.list_transactions import ListTransactionsRequest, ListTransactionsResponse

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: ListTransactionsRequest, context: RequestContext
) -> ListTransactionsResponse:
    matches = None
    if request.transactional_id_pattern:
        matches = matcher(request.transactional_id_pattern)
    wanted = Filter(
        list(dict.fromkeys(request.state_filters)),
        frozenset(request.producer_id_filters),
        request.duration_filter,
        matches,
    )
    shards = [runner.shard for runner in broker.transactions.runners()]
    transactions = (one for shard in shards for one in shard.transactions.values())
    return list_transactions(transactions, wanted, broker.clock.now_ms())


def refuse(
    request: ListTransactionsRequest, code: ErrorCode, message: str | None
) -> ListTransactionsResponse:
    """``code`` at the top."""
    return ListTransactionsResponse(error_code=code, unknown_state_filters=[], transaction_states=[])
