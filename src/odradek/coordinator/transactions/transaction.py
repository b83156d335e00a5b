"""One transactional id: its states, who may write under it, and what each event makes of it.

Source: ``TransactionMetadata`` and ``TransactionState``; KIP-98, KIP-360 (epochs recovered), KIP-890 (the
epoch is bumped at every end of a transaction).
"""

from enum import Enum
from typing import NamedTuple

NO_PRODUCER_ID = -1
NO_EPOCH = -1
LAST_EPOCH = 32_767
"""The highest epoch there is; it is never given to a client, so that every client can be fenced."""
VERSION_2 = 2
"""``transaction.version`` from which on the epoch is bumped at every end of a transaction (KIP-890)."""

TopicPartitionKey = tuple[str, int]


class State(Enum):
    """Values are the names that DescribeTransactions shows."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"
    DEAD = "Dead"

    __hash__ = object.__hash__  # that of Enum is written in Python, and paid for at every move


class Event(Enum):
    """Values are what the drawing in docs/transactions.md says."""

    INITIALIZED = "InitProducerId"
    ADDED = "partitions or offsets added"
    COMMITTED = "EndTxn commits"
    ABORTED = "EndTxn aborts, a new producer came, or time is up"
    ABORTED_NOTHING = "EndTxn of version 2 aborts"
    MARKED = "all markers are durable"
    EXPIRED = "idle for too long"

    __hash__ = object.__hash__


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.EMPTY: {
        Event.INITIALIZED: State.EMPTY,
        Event.ADDED: State.ONGOING,
        Event.ABORTED_NOTHING: State.PREPARE_ABORT,
        Event.EXPIRED: State.DEAD,
    },
    State.ONGOING: {
        Event.ADDED: State.ONGOING,
        Event.COMMITTED: State.PREPARE_COMMIT,
        Event.ABORTED: State.PREPARE_ABORT,
    },
    State.PREPARE_COMMIT: {Event.MARKED: State.COMPLETE_COMMIT},
    State.PREPARE_ABORT: {Event.MARKED: State.COMPLETE_ABORT},
    State.COMPLETE_COMMIT: {
        Event.INITIALIZED: State.EMPTY,
        Event.ADDED: State.ONGOING,
        Event.ABORTED_NOTHING: State.PREPARE_ABORT,
        Event.EXPIRED: State.DEAD,
    },
    State.COMPLETE_ABORT: {
        Event.INITIALIZED: State.EMPTY,
        Event.ADDED: State.ONGOING,
        Event.ABORTED_NOTHING: State.PREPARE_ABORT,
        Event.EXPIRED: State.DEAD,
    },
    State.DEAD: {},
}
"""All there is. Every record of the log is one of these steps; ``EXPIRED`` is a tombstone."""

PREPARED = frozenset({State.PREPARE_COMMIT, State.PREPARE_ABORT})
SETTLED = frozenset({State.EMPTY, State.COMPLETE_COMMIT, State.COMPLETE_ABORT})


class Transaction(NamedTuple):
    """What is known under one transactional id; each event makes a new one.

    ``epoch`` is the one that may write. ``last_epoch`` is the one before it, which a retry may still name
    (-1: none); it is not in the log, so a retry across a restart is fenced. ``next_producer_id`` takes over
    when the markers are written, if the epochs of ``producer_id`` are used up. ``version`` is the
    transaction version of whoever made the last move. Times in milliseconds of the wall clock;
    ``started_ms`` is -1 before the first partition.

    ``is_distinct``: what is written now cannot be taken for part of the transaction before, whose markers
    a restart may write again, as version 2 ended that one, or an InitProducerId came in between. Not in the
    log, which tells it but for what came before version 2 (then it is no).
    """

    transactional_id: str
    producer_id: int
    previous_producer_id: int
    next_producer_id: int
    epoch: int
    last_epoch: int
    timeout_ms: int
    state: State
    partitions: frozenset[TopicPartitionKey]
    started_ms: int
    updated_ms: int
    version: int
    is_distinct: bool

    @property
    def is_exhausted(self) -> bool:
        """No epoch is left that a client could get."""
        return self.epoch >= LAST_EPOCH - 1

    @property
    def is_commit(self) -> bool:
        return self.state in (State.PREPARE_COMMIT, State.COMPLETE_COMMIT)

    @property
    def has_own_markers(self) -> bool:
        """The markers of this end, which is decided, bear an epoch that nothing else was written under, and
        say all that there is to know of the end: it can be told from them."""
        return self.is_distinct and self.next_producer_id == NO_PRODUCER_ID and self.epoch < LAST_EPOCH

    def _move(
        self,
        event: Event,
        now_ms: int,
        version: int,
        partitions: frozenset[TopicPartitionKey],
        started_ms: int,
        *,
        is_distinct: bool,
        producer_id: int | None = None,
        next_producer_id: int = NO_PRODUCER_ID,
        epoch: int | None = None,
        last_epoch: int | None = None,
        timeout_ms: int | None = None,
    ) -> "Transaction":
        # Every field in its place: a transaction moves four times, and _replace costs eight times as much.
        fields = (
            self.transactional_id,
            self.producer_id if producer_id is None else producer_id,
            self.producer_id,
            next_producer_id,
            self.epoch if epoch is None else epoch,
            self.last_epoch if last_epoch is None else last_epoch,
            self.timeout_ms if timeout_ms is None else timeout_ms,
            TRANSITIONS[self.state][event],
            partitions,
            started_ms,
            now_ms,
            version,
            is_distinct,
        )
        return tuple.__new__(Transaction, fields)

    def initialized(
        self, producer_id: int, epoch: int, last_epoch: int, timeout_ms: int, now_ms: int
    ) -> "Transaction":
        """A producer starts, or starts over, with this id and epoch."""
        return self._move(
            Event.INITIALIZED,
            now_ms,
            0,
            frozenset(),
            -1,
            is_distinct=True,
            producer_id=producer_id,
            epoch=epoch,
            last_epoch=last_epoch,
            timeout_ms=timeout_ms,
        )

    def added(self, partitions: frozenset[TopicPartitionKey], now_ms: int, version: int) -> "Transaction":
        """More partitions take part; the first of them begin the transaction."""
        return self._move(
            Event.ADDED,
            now_ms,
            version,
            self.partitions | partitions,
            self.started_ms if self.state is State.ONGOING else now_ms,
            is_distinct=self.is_distinct and version >= VERSION_2,
        )

    def ended(self, *, is_commit: bool, version: int, next_producer_id: int, now_ms: int) -> "Transaction":
        """It is decided; the markers are still to be written. From version 2 on under the next epoch, which
        nothing else was written under: whatever comes late with an earlier one is recognized."""
        if self.state is State.ONGOING:
            event, started_ms = Event.COMMITTED if is_commit else Event.ABORTED, self.started_ms
        else:
            event, started_ms = Event.ABORTED_NOTHING, now_ms
        is_bumped = version >= VERSION_2
        return self._move(
            event,
            now_ms,
            version,
            self.partitions,
            started_ms,
            is_distinct=is_bumped,
            epoch=min(self.epoch + 1, LAST_EPOCH) if is_bumped else self.epoch,
            last_epoch=self.epoch if is_bumped else self.last_epoch,
            next_producer_id=next_producer_id,
        )

    def fenced(self, server_version: int, next_producer_id: int, now_ms: int) -> "Transaction":
        """It is aborted by somebody else than its producer, whose epoch is no good any more."""
        return self._move(
            Event.ABORTED,
            now_ms,
            server_version,
            self.partitions,
            self.started_ms,
            is_distinct=server_version >= VERSION_2,
            epoch=min(self.epoch + 1, LAST_EPOCH),
            # Before version 2 nobody may come back after being fenced.
            last_epoch=self.epoch if server_version >= VERSION_2 else NO_EPOCH,
            next_producer_id=next_producer_id,
        )

    @property
    def successor(self) -> tuple[int, int]:
        """Producer id and epoch of whoever goes on when all markers are written."""
        if self.version >= VERSION_2 and self.next_producer_id != NO_PRODUCER_ID:
            return self.next_producer_id, 0
        return self.producer_id, self.epoch

    def completed(self, now_ms: int) -> "Transaction":
        """All markers are written."""
        producer_id, epoch = self.successor
        return self._move(
            Event.MARKED,
            now_ms,
            self.version,
            frozenset(),
            self.started_ms,
            is_distinct=self.is_distinct,
            producer_id=producer_id,
            epoch=epoch,
        )


def new_transaction(transactional_id: str, producer_id: int, timeout_ms: int, now_ms: int) -> Transaction:
    """Nobody has used this id yet; its first producer gets epoch 0."""
    return Transaction(
        transactional_id=transactional_id,
        producer_id=producer_id,
        previous_producer_id=NO_PRODUCER_ID,
        next_producer_id=NO_PRODUCER_ID,
        epoch=NO_EPOCH,
        last_epoch=NO_EPOCH,
        timeout_ms=timeout_ms,
        state=State.EMPTY,
        partitions=frozenset(),
        started_ms=-1,
        updated_ms=now_ms,
        version=0,
        is_distinct=True,
    )
