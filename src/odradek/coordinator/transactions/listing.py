"""What administrators are told of transactions.

Source: ``TransactionStateManager.listTransactionStates``, ``handleDescribeTransactions``.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from odradek.coordinator.transactions.transaction import State, Transaction
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_transactions import TopicData
from odradek.protocol.generated.describe_transactions import TransactionState as DescribedTransaction
from odradek.protocol.generated.list_transactions import ListTransactionsResponse, TransactionState

_STATE_NAMES = frozenset(state.value for state in State) | {"PrepareEpochFence"}
"""Those that Kafka knows; two of them are never shown."""


class Filter(NamedTuple):
    """Which transactions are wanted: of these states and producers (none named: of all), started longer
    ago than ``duration_ms`` (negative: any), and whose id ``matches``."""

    states: Sequence[str]
    producer_ids: frozenset[int]
    duration_ms: int
    matches: Callable[[str], bool] | None

    def takes(self, transaction: Transaction, now_ms: int) -> bool:
        return (
            (not self.producer_ids or transaction.producer_id in self.producer_ids)
            and (not self.states or transaction.state.value in self.states)
            and (self.duration_ms < 0 or now_ms - transaction.started_ms > self.duration_ms)
            and (self.matches is None or self.matches(transaction.transactional_id))
        )


def list_transactions(
    transactions: Iterable[Transaction], wanted: Filter, now_ms: int
) -> ListTransactionsResponse:
    """The transactions that ``wanted`` takes, and which of its states do not exist."""
    return ListTransactionsResponse(
        error_code=ErrorCode.NONE,
        unknown_state_filters=[state for state in wanted.states if state not in _STATE_NAMES],
        transaction_states=[
            TransactionState(
                transactional_id=transaction.transactional_id,
                producer_id=transaction.producer_id,
                transaction_state=transaction.state.value,
            )
            for transaction in transactions
            if wanted.takes(transaction, now_ms)
        ],
    )


def describe_transaction(transactional_id: str, transaction: Transaction | None) -> DescribedTransaction:
    """All about one transactional id."""
    if transaction is None:
        return DescribedTransaction(
            transactional_id=transactional_id, error_code=ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
        )
    topics: dict[str, list[int]] = {}
    for topic, index in sorted(transaction.partitions):
        topics.setdefault(topic, []).append(index)
    return DescribedTransaction(
        error_code=ErrorCode.NONE,
        transactional_id=transactional_id,
        transaction_state=transaction.state.value,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_start_time_ms=transaction.started_ms,
        producer_id=transaction.producer_id,
        producer_epoch=transaction.epoch,
        topics=[TopicData(topic=topic, partitions=indexes) for topic, indexes in topics.items()],
    )
