"""What administrators are told of transactions.

Source: ``TransactionStateManager.listTransactionStates``, ``handleDescribeTransactions``.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from odradek.coordinator.transactions.transaction import State, Transaction
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_transactions import TopicData
from odradek.protocol.generated.describe_transactions import TransactionState as DescribedTransaction
from odradek.protocol.generated.list_transactions import ListTransactionsResponse, TransactionState

_STATE_NAMES = frozenset(state.value for state in State) | {"PrepareEpochFence"}
"""Those that Kafka knows; two of them are never shown."""


PATTERN_MEMORY_BYTES = 1 << 20
"""Patterns whose program needs more are refused."""


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


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Whether a whole text matches ``pattern``, in RE2's syntax: linear in the text whatever the pattern is.

    Raises :class:`ApiError`: INVALID_REGULAR_EXPRESSION.
    """
    import re2  # Only where somebody asks so: start-up does not pay for it.

    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = f"{pattern[:200]!r} is no regular expression of RE2's syntax: {error}"
        raise ApiError(ErrorCode.INVALID_REGULAR_EXPRESSION, reason) from error
    return lambda text: compiled.fullmatch(text) is not None


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
