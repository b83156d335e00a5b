"""All transactions of one partition of ``__transaction_state``: takes requests, timers, records of the log.

A shard is rebuilt by :meth:`TransactionShard.replay` of its partition from the start, then :meth:`loaded`.
From then on each input gives a :class:`~odradek.coordinator.step.Step`. State moves when its record is
appended, so the log and the memory never disagree about the order of things; whoever is told of it waits
until the record is durable.

An end takes three steps: the record that decides it (Prepare…), the markers in all partitions, and once all
that is durable the record that closes it (Complete…). A crash in between leaves Prepare… in the log: the
markers are written again when it is loaded, which changes nothing where they are already. So nobody needs
Complete… on disk, and it is written in one batch with whatever the shard writes next, most often the state
that begins the next transaction; a moment later if nothing comes.

Partitions may be written to as soon as the record that names them is appended (:class:`InForce`), and so may
markers be as soon as Prepare… is, if it bumps the epoch; what a power cut then takes of such records alone,
:meth:`TransactionShard.restore` puts back.

Source: ``TransactionCoordinator``, ``TransactionStateManager``.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from odradek.coordinator.settings import TransactionSettings
from odradek.coordinator.step import Now, Producer, RecordBytes, Step, TimerKey, Token
from odradek.coordinator.transactions import decisions, records
from odradek.coordinator.transactions.decisions import (
    Ended,
    Ending,
    Initialization,
    NeedsProducerIdError,
    StillOpen,
)
from odradek.coordinator.transactions.effects import (
    InForce,
    Initialized,
    Retry,
    TakeProducerId,
    WriteMarkers,
)
from odradek.coordinator.transactions.transaction import (
    PREPARED,
    SETTLED,
    VERSION_2,
    State,
    TopicPartitionKey,
    Transaction,
)
from odradek.coordinator.transactions.writes import (
    CLOSE,
    CLOSE_WITHIN_MS,
    Closed,
    Decided,
    Forgotten,
    Moved,
    Restored,
    answer,
    refusal,
    when_durable,
)
from odradek.core.errors import ApiError, ErrorCode

PARKED = "parked"
CLOSED_TOGETHER_BYTES = 16 * 1_024
"""So much of what closes transactions waits for nothing else: the next record must find room in its batch."""


class _Parked(NamedTuple):
    """A request that waits for the end of the last transaction; ``told`` if that takes too long."""

    producer: Producer
    token: Token
    run: Callable[[Now], Step]
    told: ErrorCode | Initialized


class TransactionShard:
    """The transactions of one partition. ``level`` tells the finalized transaction.version.

    Requests carry a token under which their outcome comes, in the step that they return or in a later one:
    an :class:`ErrorCode` for what adds partitions, :class:`Initialized` for the rest.
    """

    def __init__(self, settings: TransactionSettings, level: Callable[[], int]) -> None:
        self.settings = settings
        self.transactions: dict[str, Transaction] = {}
        self.undecided: dict[str, bool] = {}
        """Ends whose markers were written ahead of the record that decides them, for as long as that is not
        durable; and whether all of those markers are."""
        self.closing: list[RecordBytes] = []
        """Records that say that a transaction is complete, which is in force: they go before the next one."""
        self._close_is_timed = False
        self._level = level
        self._parked: dict[str, list[_Parked]] = {}
        """Those who wait for the end of a transaction, which is being written, to begin the next."""

    # Requests

    def initialize(
        self, request: Initialization, token: Token, now: Now, fresh_id: int | None = None
    ) -> Step:
        """InitProducerId with a transactional id. An open transaction is aborted first, and the producer
        told to come again: CONCURRENT_TRANSACTIONS."""
        transaction = self.transactions.get(request.transactional_id)
        try:
            if transaction is not None and transaction.state is State.ONGOING:
                return self._fence(transaction, request, token, now, fresh_id)
            moved = decisions.initialize(transaction, request, fresh_id, now.wall_ms)
        except ApiError as error:
            return answer(token, Initialized(error.code))
        except NeedsProducerIdError:
            return self._take_id(lambda fresh, later: self.initialize(request, token, later, fresh), token)
        return self._write(
            moved, token, Initialized(ErrorCode.NONE, Producer(moved.producer_id, moved.epoch))
        )

    def _fence(
        self,
        transaction: Transaction,
        request: Initialization,
        token: Token,
        now: Now,
        fresh_id: int | None,
    ) -> Step:
        expected = request.expected
        decisions.check_may_initialize(transaction, expected)
        if expected is not None and expected.epoch != transaction.epoch:
            # Unlike Kafka: who is fenced himself must not end the transaction of another.
            raise ApiError(ErrorCode.PRODUCER_FENCED)
        moved = decisions.fence(transaction, self._server_version, fresh_id, now.wall_ms)
        return self._write(moved, token, Initialized(ErrorCode.CONCURRENT_TRANSACTIONS))

    @property
    def _server_version(self) -> int:
        """The version of what nobody asked for."""
        return VERSION_2 if self._level() >= VERSION_2 else 0

    def add_partitions(
        self,
        transactional_id: str,
        producer: Producer,
        partitions: frozenset[TopicPartitionKey],
        version: int,
        token: Token,
        now: Now,
        *,
        patience_ms: int = 0,
        is_ahead: bool = False,
    ) -> Step:
        """Partitions that are about to be written to. While the last transaction is being ended the request
        waits for up to ``patience_ms``, then it is told CONCURRENT_TRANSACTIONS.

        With ``is_ahead`` they may be written to before the outcome is durable, if a power cut that keeps only
        what was written does no harm: see :meth:`restore`. Then there is an :class:`InForce`."""
        transaction = self.transactions.get(transactional_id)
        try:
            transaction = decisions.check_producer(transaction, producer)
        except ApiError as error:
            if error.code is ErrorCode.CONCURRENT_TRANSACTIONS and patience_ms > 0:

                def again(later: Now) -> Step:
                    return self.add_partitions(
                        transactional_id, producer, partitions, version, token, later, is_ahead=is_ahead
                    )

                parked = _Parked(producer, token, again, error.code)
                return self._park(transactional_id, parked, now.monotonic_ms + patience_ms)
            return answer(token, error.code)
        if transaction.state is State.ONGOING and partitions <= transaction.partitions:
            step = when_durable(token, ErrorCode.NONE)
        else:
            transaction = transaction.added(partitions, now.wall_ms, version)
            step = self._write(transaction, token, ErrorCode.NONE)
        if is_ahead and transaction.is_distinct and self._level() >= VERSION_2:
            step.effects = [InForce(token, transaction)]
        return step

    def verify_partitions(
        self, transactional_id: str, producer: Producer, partitions: frozenset[TopicPartitionKey]
    ) -> dict[TopicPartitionKey, ErrorCode]:
        """Which partitions are in the open transaction. What is not durable yet counts, so the answer must
        wait for that. Raises :class:`ApiError`."""
        return decisions.verify(self.transactions.get(transactional_id), producer, partitions)

    def end(self, request: Ending, token: Token, now: Now, fresh_id: int | None = None) -> Step:
        """EndTxn: answered when it is decided, the markers follow. It keeps its place behind what the same
        producer wants to add before, and which waits."""
        transaction = self.transactions.get(request.transactional_id)
        waiting = self._parked.get(request.transactional_id)
        if waiting and waiting[0].producer == request.producer:
            told = Initialized(ErrorCode.CONCURRENT_TRANSACTIONS)
            waiting.append(
                _Parked(request.producer, token, lambda later: self.end(request, token, later), told)
            )
            return Step()
        try:
            moved = decisions.end(transaction, request, fresh_id, now.wall_ms)
        except ApiError as error:
            return answer(token, Initialized(error.code))
        except NeedsProducerIdError:
            return self._take_id(lambda fresh, later: self.end(request, token, later, fresh), token)
        if moved is None:
            assert transaction is not None
            return when_durable(token, _ended(transaction, request.version))
        return self._write(moved, token, _ended(moved, request.version))

    # What nobody asks for

    def abort_timed_out(self, now: Now) -> Iterator[Step]:
        """Aborts the transactions that are open for longer than their producers wanted."""
        for transactional_id in list(self.transactions):
            yield self._abort_timed_out(transactional_id, None, now)

    def _abort_timed_out(self, transactional_id: str, fresh_id: int | None, now: Now) -> Step:
        transaction = self.transactions.get(transactional_id)
        if transaction is None or transaction.state is not State.ONGOING:
            return Step()
        if transaction.started_ms + transaction.timeout_ms >= now.wall_ms:
            return Step()
        try:
            moved = decisions.fence(transaction, self._server_version, fresh_id, now.wall_ms)
        except NeedsProducerIdError:
            step = Step()
            step.effects = [
                TakeProducerId(
                    lambda fresh, later: self._abort_timed_out(transactional_id, fresh, later),
                    lambda code: Step(),  # it is looked at again after a while
                )
            ]
            return step
        return self._write(moved)

    def marked(self, transaction: Transaction, now: Now) -> Step:
        """All markers of ``transaction`` are durable: it is complete, and the next may begin."""
        transactional_id = transaction.transactional_id
        current = self.transactions.get(transactional_id)
        if current is None or current.state not in PREPARED or _end_of(current) != _end_of(transaction):
            return Step()
        if transactional_id in self.undecided:
            self.undecided[transactional_id] = True  # it is complete when what decides it is durable, too
            return Step()
        level = self._level()
        completed = self._as_told(current.completed(now.wall_ms), level)
        self.transactions[transactional_id] = completed
        self.closing.append(records.record(completed, level))
        if transactional_id in self._parked:
            return self._close_and_resume()
        if sum(len(key) + len(value or b"") for key, value in self.closing) >= CLOSED_TOGETHER_BYTES:
            return self.close()
        return self.close_later(CLOSE_WITHIN_MS, now)

    def close_later(self, delay_ms: int, now: Now) -> Step:
        """Writes what waits for another record in ``delay_ms``, or when the next look is due."""
        step = Step()
        if not self._close_is_timed:
            self._close_is_timed = True
            step.set_timer((CLOSE,), now.monotonic_ms + delay_ms)
        return step

    def close(self) -> Step:
        """Writes what waits for another record to be written with: none comes, or the broker stops."""
        step = Step()
        if self.closing:
            step.records = list(self.closing)
            step.is_atomic = step.is_urgent = False
            step.write = Closed(self)
        return step

    def _close_and_resume(self) -> Step:
        """Also has those go on who wait for the end of a transaction. While the disk refuses the records that
        close transactions they wait on: these are tried again."""
        step = self.close()
        step.effects = [Retry(self._resume)]
        return step

    def _resume(self, now: Now) -> Step:
        step = Step()
        if not self.closing:
            for transactional_id in list(self._parked):
                if self.transactions[transactional_id].state not in PREPARED:
                    step.cancel_timer((PARKED, transactional_id))
                    step.effects = [
                        *step.effects,
                        *(Retry(parked.run) for parked in self._parked.pop(transactional_id)),
                    ]
        return step

    def expire(self, now: Now) -> Step:
        """Forgets the transactional ids that nobody used for ``expiration_ms``."""
        step = Step()
        oldest = now.wall_ms - self.settings.expiration_ms
        expired = {
            transactional_id: transaction
            for transactional_id, transaction in self.transactions.items()
            if transaction.state in SETTLED and transaction.updated_ms <= oldest
        }
        if expired:
            step.records = [*self.closing, *((records.key(one), None) for one in expired)]
            step.is_atomic = step.is_urgent = False
            step.write = Forgotten(self, expired)
        return step

    def on_timer(self, key: TimerKey, now: Now) -> Step:
        """Those who waited for the end of a transaction have waited for long enough; or what closes
        transactions has waited for another record."""
        if key[0] == CLOSE:
            self._close_is_timed = False
            return self._close_and_resume()
        step = Step()
        for parked in self._parked.pop(key[1], ()):
            step.reply(parked.token, parked.told)
        return step

    # Loading and unloading

    def replay(self, record_offset: int, producer_id: int, key: bytes, value: bytes | None) -> None:
        """Takes one record of the log in. Raises ``MalformedError`` for what cannot be read."""
        transactional_id = records.read_key(key)
        if transactional_id is None:
            return
        if value is None:
            self.transactions.pop(transactional_id, None)
        else:
            self.transactions[transactional_id] = records.read_value(transactional_id, value)

    def replay_marker(self, producer_id: int, is_commit: bool) -> None:
        """Nobody writes here in transactions."""

    def enders(self) -> Iterator[Producer]:
        """The ids and epochs that the markers of each next end would bear."""
        for transaction in self.transactions.values():
            yield Producer(transaction.producer_id, transaction.epoch + 1)

    def restore(self, still_open: StillOpen, ended: Ended, now: Now) -> Step | None:
        """After the replay, and before :meth:`loaded`: states that a power cut took although partitions had
        been written to because of them are put back, from what is open or ``ended`` there. Nobody was told,
        but whoever wrote may go on. ``None`` when none is missing; when it is refused, nobody may be
        served."""
        step = Step()
        restored: list[Transaction] = []
        level = self._level()
        for transaction in self.transactions.values():
            moves = decisions.restore(transaction, still_open, ended, now.wall_ms)
            step.records += [records.record(moved, level) for moved in moves]
            restored += [self._as_told(moved, level) for moved in moves[-1:]]
        if not restored:
            return None
        step.write = Restored(self, restored)
        return step

    def loaded(self, now: Now) -> Step:
        """After the replay: ends that were decided are carried out."""
        step = Step()
        step.effects = [
            WriteMarkers(transaction)
            for transaction in self.transactions.values()
            if transaction.state in PREPARED
        ]
        return step

    def unload(self) -> Step:
        """The partition is not ours any more, or offline."""
        step = Step()
        for waiting in self._parked.values():
            for parked in waiting:
                step.reply(parked.token, refusal(parked.told, ErrorCode.NOT_COORDINATOR))
        self._parked = {}
        self.transactions = {}
        self.undecided = {}
        self.closing = []
        self._close_is_timed = False
        return step

    # Steps

    def _write(self, moved: Transaction, token: Token | None = None, outcome: object = None) -> Step:
        step = Step()
        level = self._level()
        moved = self._as_told(moved, level)
        step.records = [*self.closing, records.record(moved, level)]
        if moved.state in PREPARED:
            is_ahead = level >= VERSION_2 and moved.has_own_markers
            step.write = Decided(self, moved, token, outcome, is_ahead=is_ahead)
            if is_ahead:
                step.effects = [WriteMarkers(moved)]
        else:
            step.write = Moved(self, moved, token, outcome)
        return step

    @staticmethod
    def _as_told(moved: Transaction, level: int) -> Transaction:
        """As its record tells of it."""
        if moved.is_distinct and level < records.FLEXIBLE_FROM_LEVEL:
            return moved._replace(is_distinct=False)
        return moved

    def _take_id(self, taken: Callable[[int, Now], Step], token: Token) -> Step:
        step = Step()
        step.effects = [TakeProducerId(taken, lambda code: answer(token, Initialized(code)))]
        return step

    def _park(self, transactional_id: str, parked: _Parked, deadline_ms: int) -> Step:
        step = Step()
        waiting = self._parked.setdefault(transactional_id, [])
        if not waiting:
            step.set_timer((PARKED, transactional_id), deadline_ms)
        waiting.append(parked)
        return step


def _ended(transaction: Transaction, version: int) -> Initialized:
    """What EndTxn says: from version 2 on, under which id and epoch the producer goes on."""
    if version < VERSION_2:
        return Initialized(ErrorCode.NONE)
    return Initialized(ErrorCode.NONE, Producer(*transaction.successor))


def _end_of(transaction: Transaction) -> tuple[int, int, State]:
    return transaction.producer_id, transaction.epoch, transaction.state
