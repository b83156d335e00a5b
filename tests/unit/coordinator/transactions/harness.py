"""A driver for the transaction machine without a broker: a list is the log, a number is the clock, and
partitions are lists of batches."""

from collections import Counter, deque
from typing import Any, NamedTuple

from odradek.coordinator.settings import TransactionSettings
from odradek.coordinator.step import Now, Producer, RecordBytes, Step, TimerKey, Write
from odradek.coordinator.transactions import records
from odradek.coordinator.transactions.decisions import End, Ended, StillOpen
from odradek.coordinator.transactions.effects import Retry, TakeProducerId, WriteMarkers
from odradek.coordinator.transactions.shard import TransactionShard
from odradek.coordinator.transactions.transaction import (
    NO_EPOCH,
    TopicPartitionKey,
    Transaction,
)
from odradek.core.errors import ErrorCode

WALL_START_MS = 1_000_000


class Batch(NamedTuple):
    """What a partition holds: data, or the marker that ends the transaction before it."""

    producer_id: int
    epoch: int
    value: str
    """``commit`` and ``abort`` are markers."""

    @property
    def is_marker(self) -> bool:
        return self.value in ("commit", "abort")


class Partition:
    """The rules of a partition, in short: no epoch goes back, and a marker ends what is open."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.epochs: dict[int, int] = {}
        self.open: dict[int, int] = {}
        """Producer id → epoch of its open transaction."""

    def append(self, producer_id: int, epoch: int, value: str) -> bool:
        """Whether it is let in."""
        if epoch < self.epochs.get(producer_id, 0):
            return False
        self.epochs[producer_id] = epoch
        batch = Batch(producer_id, epoch, value)
        if batch.is_marker:
            self.open.pop(producer_id, None)
        else:
            self.open[producer_id] = epoch
        self.batches.append(batch)
        return True

    def last_marker(self, producer: Producer) -> str:
        """Of an id and epoch that has ended a transaction."""
        return next(
            batch.value
            for batch in reversed(self.batches)
            if batch.is_marker and (batch.producer_id, batch.epoch) == producer
        )

    def outcomes(self) -> dict[str, str]:
        """What became of each value: ``commit``, ``abort``, or ``open``."""
        found: dict[str, str] = {}
        waiting: dict[int, list[str]] = {}
        for batch in self.batches:
            if batch.is_marker:
                found |= dict.fromkeys(waiting.pop(batch.producer_id, ()), batch.value)
            else:
                waiting.setdefault(batch.producer_id, []).append(batch.value)
        return found | dict.fromkeys((value for values in waiting.values() for value in values), "open")


class Harness:
    """Performs steps as ``broker/shard_runner.py`` does, and checks what must hold for every driver.

    ``flushes`` off holds durability back until :meth:`flush`; ``refusal`` refuses every append meanwhile;
    ``writes_markers`` off holds the markers back until :meth:`write_markers`.
    """

    def __init__(self, settings: TransactionSettings = TransactionSettings()) -> None:
        self.settings = settings
        self.level = 2
        self.now_ms = 0
        self.log: list[RecordBytes] = []
        self.durable_count = 0
        self.flushes = True
        self.writes_markers = True
        self.refusal: ErrorCode | None = None
        self.in_flight: deque[tuple[int, Write]] = deque()
        self.timers: dict[TimerKey, int] = {}
        self.replies: dict[Any, Any] = {}
        self.reply_counts: Counter[Any] = Counter()
        self.written: list[RecordBytes] = []
        self.released: list[tuple[Any, Any]] = []
        self.marking: list[Transaction] = []
        """Ends whose markers are to be written."""
        self.partitions: dict[TopicPartitionKey, Partition] = {}
        self.next_id = 0
        self.notes: list[str] = []
        self.shard = self._new_shard()

    def _new_shard(self) -> TransactionShard:
        return TransactionShard(self.settings, lambda: self.level)

    @property
    def now(self) -> Now:
        return Now(WALL_START_MS + self.now_ms, self.now_ms)

    def partition(self, name: TopicPartitionKey) -> Partition:
        return self.partitions.setdefault(name, Partition())

    def perform(self, step: Step | None) -> None:
        if step is None:
            return
        second = None
        write = step.write
        if step.records:
            if self.refusal is not None:
                second = write.refused(self.refusal, self.now) if write is not None else None
                write = None
            else:
                base_offset = len(self.log)
                self.log.extend(step.records)
                self.written.extend(step.records)
                if write is not None:
                    write.appended(base_offset)
        self._release(step)
        self.perform(second)
        if write is not None:
            self.in_flight.append((len(self.log), write))
        if self.flushes:
            self.flush()

    def _release(self, step: Step) -> None:
        for token, response in step.replies:
            self.reply_counts[token] += 1
            assert self.reply_counts[token] == 1, f"{token} was answered twice"
            self.replies[token] = response
            self.released.append((token, response))
        for key, deadline_ms in step.timers:
            if deadline_ms is None:
                self.timers.pop(key, None)
            else:
                self.timers[key] = deadline_ms
        for effect in step.effects:
            self._effect(effect)

    def _effect(self, effect: Any) -> None:
        if isinstance(effect, TakeProducerId):
            self.next_id += 1
            self.perform(effect.taken(self.next_id, self.now))
        elif isinstance(effect, Retry):
            self.perform(effect.run(self.now))
        elif isinstance(effect, WriteMarkers):
            transaction = effect.transaction
            if self.shard.transactions.get(transaction.transactional_id) is transaction:
                self.marking.append(transaction)
                if self.writes_markers:
                    self.write_markers()

    def write_markers(self, at_most: int | None = None) -> None:
        """Writes what is to be marked; with ``at_most`` only so many markers, as if it stopped on the way."""
        while self.marking:
            transaction = self.marking[0]
            word = "commit" if transaction.is_commit else "abort"
            names = sorted(transaction.partitions)
            if at_most is not None and at_most < len(names):
                names = names[:at_most]
            shown = " ".join(f"{topic}-{index}" for topic, index in names)
            producer = f"{transaction.producer_id}/{transaction.epoch}"
            self.notes.append(f"markers {transaction.transactional_id} {word} {producer} [{shown}]")
            for name in names:
                self.partition(name).append(transaction.producer_id, transaction.epoch, word)
            if len(names) < len(transaction.partitions):
                return
            self.marking.pop(0)
            self.perform(self.shard.marked(transaction, self.now))

    def flush(self) -> None:
        self.durable_count = len(self.log)
        while self.in_flight and self.in_flight[0][0] <= self.durable_count:
            _, write = self.in_flight.popleft()
            self.perform(write.durable(self.now))

    def fail(self) -> None:
        """The log goes offline with appends in flight: everyone who waits is answered."""
        self.timers.clear()
        self.marking.clear()
        self._release(self.shard.unload())
        while self.in_flight:
            _, write = self.in_flight.popleft()
            step = write.refused(ErrorCode.KAFKA_STORAGE_ERROR, self.now)
            if step is not None:
                step.timers, step.effects = [], ()
                self._release(step)

    def advance(self, to_ms: int) -> None:
        """Moves the clock, firing what is due on the way."""
        while due := [(deadline, key) for key, deadline in self.timers.items() if deadline <= to_ms]:
            deadline_ms, key = min(due)
            self.now_ms = max(self.now_ms, deadline_ms)
            del self.timers[key]
            self.perform(self.shard.on_timer(key, self.now))
        self.now_ms = to_ms

    def replayed(self) -> TransactionShard:
        """A shard rebuilt from the log."""
        shard = self._new_shard()
        for offset, (key, value) in enumerate(self.log):
            shard.replay(offset, -1, key, value)
        return shard

    def restart(self, *, loses_undurable: bool = False) -> None:
        """Forgets everything but the log, or what of it was durable."""
        if loses_undurable:
            del self.log[self.durable_count :]
        self.timers.clear()
        self.in_flight.clear()
        self.marking.clear()
        self.shard = self.replayed()
        self.perform(self.shard.restore(*self._open_and_ended(), self.now))
        self.perform(self.shard.loaded(self.now))

    def _open_and_ended(self) -> tuple[StillOpen, Ended]:
        """What the partitions hold, as whoever restarts would find it."""
        still_open: dict[Producer, set[TopicPartitionKey]] = {}
        ends: dict[Producer, set[TopicPartitionKey]] = {}
        words: dict[Producer, str] = {}
        for name, partition in self.partitions.items():
            for producer_id, epoch in partition.epochs.items():
                producer = Producer(producer_id, epoch)
                if producer_id in partition.open:
                    still_open.setdefault(producer, set()).add(name)
                else:
                    ends.setdefault(producer, set()).add(name)
                    words[producer] = partition.last_marker(producer)
        return (
            {producer: frozenset(names) for producer, names in still_open.items()},
            {
                producer: End(words[producer] == "commit", frozenset(names))
                for producer, names in ends.items()
            },
        )


def durable_view(transaction: Transaction) -> Transaction:
    """What of a transaction survives a restart: all but the epoch that a retry may still name."""
    return transaction._replace(last_epoch=NO_EPOCH)


def describe_record(key: bytes, value: bytes | None) -> str:
    """A record in words."""
    transactional_id = records.read_key(key)
    assert transactional_id is not None
    if value is None:
        return f"{transactional_id} deleted"
    return describe(records.read_value(transactional_id, value))


def describe(transaction: Transaction) -> str:
    """A transaction in words: state, producer id and epoch, what is not as usual, partitions."""
    words = [
        transaction.transactional_id,
        transaction.state.value,
        f"{transaction.producer_id}/{transaction.epoch}",
    ]
    if transaction.next_producer_id >= 0:
        words.append(f"next {transaction.next_producer_id}")
    if transaction.previous_producer_id not in (-1, transaction.producer_id):
        words.append(f"before {transaction.previous_producer_id}")
    if transaction.version:
        words.append(f"v{transaction.version}")
    if transaction.partitions:
        words.append(
            "[" + " ".join(f"{topic}-{index}" for topic, index in sorted(transaction.partitions)) + "]"
        )
    return " ".join(words)
