"""What a request makes of a transaction, or with which code it is refused: pure functions, no effects.

Source: ``TransactionCoordinator.prepareInitProducerIdTransit``, ``endTransaction`` and
``endTransactionWithTV1``. The tables of answers stand in ``tests/conformance/cases/transactions.py``, as
Kafka 4.3 gave them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from odradek.coordinator.step import Producer
from odradek.coordinator.transactions.transaction import (
    LAST_EPOCH,
    NO_EPOCH,
    NO_PRODUCER_ID,
    PREPARED,
    VERSION_2,
    State,
    TopicPartitionKey,
    Transaction,
    new_transaction,
)
from odradek.core.errors import ApiError, ErrorCode

StillOpen = Mapping[Producer, frozenset[TopicPartitionKey]]
"""Under which producer ids and epochs transactions are open in which partitions."""


class End(NamedTuple):
    """How a transaction ended in some partitions, by the markers there."""

    is_commit: bool
    partitions: frozenset[TopicPartitionKey]


Ended = Mapping[Producer, End]
"""By the id and epoch that the markers bear: ends which they alone tell of, maybe."""


class NeedsProducerIdError(Exception):
    """The decision needs a producer id that nobody had before: ask again with one."""


class Initialization(NamedTuple):
    """One InitProducerId; ``expected`` is what the producer believes to be, if it says so (KIP-360)."""

    transactional_id: str
    timeout_ms: int
    expected: Producer | None


class Ending(NamedTuple):
    """One EndTxn. ``version`` is the client's: 2 when the epoch is to be bumped, else 0."""

    transactional_id: str
    producer: Producer
    is_commit: bool
    version: int


def initialize(
    transaction: Transaction | None, request: Initialization, fresh_id: int | None, now_ms: int
) -> Transaction:
    """What InitProducerId makes of a transaction that is not open. The open one must be fenced first.

    Raises :class:`ApiError` (CONCURRENT_TRANSACTIONS, PRODUCER_FENCED) and :class:`NeedsProducerIdError`.
    """
    expected = request.expected
    if transaction is None:
        transaction = new_transaction(request.transactional_id, _fresh(fresh_id), request.timeout_ms, now_ms)
        return transaction.initialized(transaction.producer_id, 0, NO_EPOCH, request.timeout_ms, now_ms)
    check_may_initialize(transaction, expected)
    known = expected.epoch if expected is not None else None
    if transaction.is_exhausted and known in (None, transaction.epoch, transaction.last_epoch):
        last_epoch = NO_EPOCH if known is None else transaction.epoch
        return transaction.initialized(_fresh(fresh_id), 0, last_epoch, request.timeout_ms, now_ms)
    if known is None or known == transaction.epoch:
        epoch, last_epoch = transaction.epoch + 1, NO_EPOCH if known is None else transaction.epoch
    elif known == transaction.last_epoch:
        # The answer to its first try was lost.
        epoch, last_epoch = transaction.epoch, transaction.last_epoch
    else:
        raise ApiError(ErrorCode.PRODUCER_FENCED)
    return transaction.initialized(transaction.producer_id, epoch, last_epoch, request.timeout_ms, now_ms)


def check_may_initialize(transaction: Transaction, expected: Producer | None) -> None:
    """Raises :class:`ApiError`: PRODUCER_FENCED when another producer took over, CONCURRENT_TRANSACTIONS
    while the last transaction is being ended."""
    if expected is not None:
        is_retry_of_the_last = (
            expected.producer_id == transaction.previous_producer_id and expected.epoch >= LAST_EPOCH - 1
        )
        if expected.producer_id != transaction.producer_id and not is_retry_of_the_last:
            raise ApiError(ErrorCode.PRODUCER_FENCED)
    if transaction.state in PREPARED:
        raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)


def check_producer(transaction: Transaction | None, producer: Producer) -> Transaction:
    """The transaction, which ``producer`` may add to.

    Raises :class:`ApiError`: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS.
    """
    if transaction is None or transaction.producer_id != producer.producer_id:
        raise ApiError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if transaction.epoch != producer.epoch:
        raise ApiError(ErrorCode.PRODUCER_FENCED)
    if transaction.state in PREPARED:
        raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)
    return transaction


def verify(
    transaction: Transaction | None, producer: Producer, partitions: frozenset[TopicPartitionKey]
) -> dict[TopicPartitionKey, ErrorCode]:
    """Which of ``partitions`` are in the open transaction of ``producer``: NONE, else TRANSACTION_ABORTABLE.

    Raises :class:`ApiError` as :func:`check_producer` does.
    """
    known = check_producer(transaction, producer).partitions
    return {
        partition: ErrorCode.NONE if partition in known else ErrorCode.TRANSACTION_ABORTABLE
        for partition in partitions
    }


def end(
    transaction: Transaction | None, request: Ending, fresh_id: int | None, now_ms: int
) -> Transaction | None:
    """The transaction with its end decided; ``None`` when it has ended so already.

    Raises :class:`ApiError` and :class:`NeedsProducerIdError`.
    """
    if transaction is None:
        raise ApiError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if request.version >= VERSION_2:
        return _end_of_version_2(transaction, request, fresh_id, now_ms)
    return _end_of_version_1(transaction, request, now_ms)


def _end_of_version_1(transaction: Transaction, request: Ending, now_ms: int) -> Transaction | None:
    """The same epoch ends one transaction after the other, so a retry and a late duplicate look alike."""
    if transaction.producer_id != request.producer.producer_id:
        raise ApiError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if transaction.epoch != request.producer.epoch:
        raise ApiError(ErrorCode.PRODUCER_FENCED)
    state = transaction.state
    if state is State.ONGOING:
        return transaction.ended(
            is_commit=request.is_commit, version=0, next_producer_id=NO_PRODUCER_ID, now_ms=now_ms
        )
    _check_same_end(transaction, request)
    return None


def _end_of_version_2(
    transaction: Transaction, request: Ending, fresh_id: int | None, now_ms: int
) -> Transaction | None:
    """A retry names the epoch before the current one; the current one ends the current transaction, which
    may have nothing in it as far as the coordinator knows (then it can only be aborted)."""
    producer_id, epoch = request.producer
    is_retry_of_overflow = (
        transaction.previous_producer_id == producer_id and epoch == LAST_EPOCH - 1 and transaction.epoch == 0
    )
    is_retry = is_retry_of_overflow or transaction.epoch == epoch + 1
    state = transaction.state
    if transaction.producer_id != producer_id and not is_retry_of_overflow:
        raise ApiError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if state in PREPARED or (is_retry and state is not State.EMPTY and state is not State.ONGOING):
        if not is_retry:
            raise ApiError(ErrorCode.PRODUCER_FENCED)
        _check_same_end(transaction, request)
        return None
    if epoch != transaction.epoch:
        raise ApiError(ErrorCode.PRODUCER_FENCED)
    if state is not State.ONGOING and request.is_commit:
        raise ApiError(ErrorCode.INVALID_TXN_STATE)
    next_id = _fresh(fresh_id) if transaction.is_exhausted else NO_PRODUCER_ID
    return transaction.ended(
        is_commit=request.is_commit, version=request.version, next_producer_id=next_id, now_ms=now_ms
    )


def fence(transaction: Transaction, server_version: int, fresh_id: int | None, now_ms: int) -> Transaction:
    """The open transaction, aborted by somebody else than its producer. Raises
    :class:`NeedsProducerIdError`."""
    next_id = NO_PRODUCER_ID
    if transaction.is_exhausted and server_version >= VERSION_2:
        next_id = _fresh(fresh_id)
    return transaction.fenced(server_version, next_id, now_ms)


def restore(transaction: Transaction, still_open: StillOpen, ended: Ended, now_ms: int) -> list[Transaction]:
    """The moves that a power cut took from the log, though what was written because of them is still there:
    open in partitions, under the producer's current epoch, and in no transaction; or ended there, under the
    epoch that follows. Nobody wrote under an epoch before the end that it came with was durable, and the
    markers of that: so no more than one beginning and one end are missing."""
    moves: list[Transaction] = []
    if transaction.state in PREPARED:
        if not transaction.is_distinct:
            return []
        transaction = transaction.completed(now_ms)
        moves.append(transaction)
    producer_id, epoch = transaction.producer_id, transaction.epoch
    end = ended.get(Producer(producer_id, epoch + 1))
    written: frozenset[TopicPartitionKey] = frozenset()
    if transaction.is_distinct:
        written = still_open.get(Producer(producer_id, epoch), written)
    if end is not None:
        written |= end.partitions
    lost = written - transaction.partitions
    if lost:
        transaction = transaction.added(lost, now_ms, VERSION_2)
        moves.append(transaction)
    if end is not None:
        moves.append(
            transaction.ended(
                is_commit=end.is_commit,
                version=VERSION_2,
                next_producer_id=NO_PRODUCER_ID,
                now_ms=now_ms,
            )
        )
    return moves if lost or end is not None else []


def _check_same_end(transaction: Transaction, request: Ending) -> None:
    if transaction.state is State.EMPTY or transaction.is_commit != request.is_commit:
        raise ApiError(ErrorCode.INVALID_TXN_STATE)
    if transaction.state in PREPARED:
        raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)


def _fresh(fresh_id: int | None) -> int:
    if fresh_id is None:
        raise NeedsProducerIdError
    return fresh_id
