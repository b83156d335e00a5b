"""Performs the steps of one shard: appends, releases replies, keeps timers, loads and unloads.

A shard is a pure machine that one partition of an internal topic feeds: the groups of a partition of
``__consumer_offsets``, the transactions of one of ``__transaction_state``. The order in which a step is
performed is a promise to the machine; it stands in ``coordinator/step.py``.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from odradek.broker.partitions import Partition
from odradek.broker.requests import Wait
from odradek.broker.timers import Timer
from odradek.coordinator.step import Now, PlainWrite, RecordBytes, Step, TimerKey, Write
from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.protocol.primitives import MalformedError
from odradek.records.batch import HEADER_SIZE, iterate_batches
from odradek.records.builder import build_plain
from odradek.records.control import read_marker
from odradek.records.errors import CorruptBatchError, InvalidRecordsError
from odradek.records.record import Record, read_records
from odradek.storage.log import COORDINATOR, AppendResult
from odradek.storage.producers import Vouched

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

log = logging.getLogger("odradek.coordinator")

LOAD_BYTES = 256 * 1_024
LOAD_SLICE_MS = 20
"""How long loading may hold the event loop at a stretch."""
RECORD_OVERHEAD = 32
"""More bytes than a record takes beyond its key and value."""


class Shard(Protocol):
    """What the machines have in common."""

    def replay(self, record_offset: int, producer_id: int, key: bytes, value: bytes | None) -> None: ...

    def replay_marker(self, producer_id: int, is_commit: bool) -> None: ...

    def loaded(self, now: Now) -> Step: ...

    def on_timer(self, key: TimerKey, now: Now) -> Step: ...

    def unload(self) -> Step: ...


S = TypeVar("S", bound=Shard)


class Independent(NamedTuple):
    """A step with records whose request does not depend on other requests; ``wait`` is its answer."""

    step: Step
    write: Write
    wait: Wait


class ShardRunner(Generic[S]):
    """One partition of an internal topic and its machine.

    Loading → ready → over. Once it is over it performs nothing any more, and a new runner may take its
    place when the partition can be used again.
    """

    def __init__(self, broker: "Broker", partition: Partition, shard: S) -> None:
        self._broker = broker
        self._clock = broker.clock
        self.partition = partition
        self.shard = shard
        self.is_ready = False
        self.is_over = False
        self._timers: dict[TimerKey, Timer] = {}
        self._next_offset = partition.log.log_start_offset
        """Behind the last record that this machine knows of: loaded, or appended by it."""

    def now(self) -> Now:
        clock = self._clock
        return tuple.__new__(Now, (clock.now_ms(), clock.monotonic_ms()))  # in half the time, at every step

    # Steps

    def perform(self, step: Step | None) -> None:
        """Does what ``step`` asks for."""
        if step is None:
            return
        write = step.write
        if not step.records:
            self._release(step)
            if write is not None:
                self._hasten()
                self._await_durable(write)
            return
        try:
            base_offset = self._append(step)
        except ApiError as error:
            self._release(step)
            if write is not None:
                self.perform(write.refused(error.code, self.now()))
            return
        if write is not None:
            write.appended(base_offset)
        if step.replies or step.timers or step.effects:
            self._release(step)
        if write is not None:
            self._await_durable(write)

    def perform_together(self, steps: "list[Independent]") -> None:
        """Like :meth:`perform` for each, their records in one batch if the log takes it. Never raises."""
        records = [record for each in steps for record in each.step.records]
        offset = -1
        try:
            if len(steps) > 1 and not self.is_over:
                offset = self.append_batch(self._build(records)).base_offset
        except ApiError:
            pass  # each by itself will tell, and some may fit
        except Exception:
            log.exception("%d steps could not be written together", len(steps))
        written: list[Write] = []
        for step, write, wait in steps:
            first_offset = offset
            if offset >= 0:
                offset += len(step.records)  # whatever becomes of this one, the next lies behind it
            try:
                if first_offset < 0:
                    self.perform(step)
                    continue
                write.appended(first_offset)
                if step.replies or step.timers or step.effects:
                    self._release(step)
                written.append(write)
            except Exception:
                log.exception("a step of %s failed", self.partition.topic_partition)
                wait.complete(ApiError(ErrorCode.UNKNOWN_SERVER_ERROR))
        if written:
            self._await_durable(*written)

    def _await_durable(self, *writes: Write) -> None:
        self._broker.await_commit(self.partition, self._next_offset, _InFlight(self, writes))

    def perform_effect(self, effect: Any) -> None:
        """Does what only this kind of machine asks for."""
        raise NotImplementedError(effect)

    def _release(self, step: Step) -> None:
        for token, response in step.replies:
            token.complete(response)
        if self.is_over:
            return
        for key, deadline_ms in step.timers:
            timer = self._timers.pop(key, None)
            if timer is not None:
                timer.cancel()
            if deadline_ms is not None:
                self._timers[key] = self._broker.timers.schedule(deadline_ms, partial(self._fire, key))
        for effect in step.effects:
            self.perform_effect(effect)

    def _fire(self, key: TimerKey) -> None:
        del self._timers[key]
        try:
            self.perform(self.shard.on_timer(key, self.now()))
        except Exception:
            log.exception("timer %s of %s failed", key, self.partition.topic_partition)

    def _append(self, step: Step) -> int:
        """Writes the step's records, as one batch if it says so; returns the offset of the first."""
        if self.is_over:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if step.producer is not None:
            batch = self._build(step.records, *step.producer, transactional=True)
            return self.append_batch(batch).base_offset
        if step.is_atomic:
            return self.append_batch(self._build(step.records), step.is_urgent).base_offset
        base_offset = -1
        batches = _split(step.records, self.partition.log.config.max_message_bytes - HEADER_SIZE)
        for number, records in enumerate(batches):
            try:
                appended = self.append_batch(self._build(records), step.is_urgent)
                if number == 0:
                    base_offset = appended.base_offset  # markers of others may have come before it
            except ApiError:
                if number:
                    # Part of it is written: only the log can tell what is true now.
                    self.unload()
                raise
        return base_offset

    def _build(
        self,
        records: list[RecordBytes],
        producer_id: int = -1,
        epoch: int = -1,
        *,
        transactional: bool = False,
    ) -> bytearray:
        return build_plain(records, self._clock.now_ms(), producer_id, epoch, transactional=transactional)

    def append_batch(self, batch: bytearray, is_urgent: bool = True) -> AppendResult:
        """Appends a batch of the coordinator's own. Raises :class:`ApiError`."""
        partition = self.partition
        partition_log = partition.log
        try:
            appended = partition_log.append(
                memoryview(batch),
                self._clock.now_ms(),
                leader_epoch=partition.leader_epoch,
                origin=COORDINATOR,
                vouched=Vouched.VERIFIED,
            )
        except DamageError as error:
            raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
        self._next_offset = appended.last_offset + 1
        if partition_log.high_watermark < self._next_offset:
            self._broker.want_flush(is_urgent)
        elif partition.fetch_waiters or partition.waiters:
            partition.high_watermark_moved()
        return appended

    def when_settled(self, then: Callable[[ErrorCode], None]) -> None:
        """Calls ``then`` once all that this machine knows is durable: what a client is told must not be
        taken back by a crash. ``then`` gets NONE, or the error when that cannot be."""
        if self.partition.log.high_watermark >= self._next_offset:
            then(ErrorCode.NONE)
        else:
            self._hasten()
            self._broker.await_commit(self.partition, self._next_offset, _Settling(self, then))

    def _hasten(self) -> None:
        """Somebody waits for what may have been written without haste."""
        if self.partition.log.high_watermark < self._next_offset:
            self._broker.want_flush(is_urgent=True)

    # Loading and unloading

    def load(self) -> None:
        """Replays the log, a slice at a time, and then starts serving."""
        if self.is_over:
            return
        deadline_ms = self._clock.monotonic_ms() + LOAD_SLICE_MS
        partition_log = self.partition.log
        end_offset = partition_log.log_end_offset
        try:
            while self._next_offset < end_offset:
                read = partition_log.read(self._next_offset, LOAD_BYTES, end_offset)
                if read.next_offset <= self._next_offset:
                    break
                self._replay(read.records)
                self._next_offset = read.next_offset
                if self._clock.monotonic_ms() >= deadline_ms and self._next_offset < end_offset:
                    self._broker.timers.schedule(deadline_ms, self.load)
                    return
        except (ApiError, DamageError, CorruptBatchError, InvalidRecordsError) as error:
            log.error("%s cannot be loaded: %s", self.partition.topic_partition, error)
            self.is_over = True
            return
        self.is_ready = True
        self.start()

    def start(self) -> None:
        """The machine is whole: what it wants to do first."""
        self.perform(self.shard.loaded(self.now()))

    def _replay(self, records: memoryview | bytes) -> None:
        view = memoryview(records)
        for position, header in iterate_batches(view):
            batch = view[position : position + header.size]
            for record in read_records(batch):
                if record.offset < self._next_offset:
                    continue
                if header.is_control:
                    marker = read_marker(record)
                    if marker is not None:
                        self.shard.replay_marker(header.producer_id, marker.commit)
                else:
                    self._replay_record(record, header.producer_id if header.is_transactional else -1)

    def _replay_record(self, record: Record, producer_id: int) -> None:
        value = bytes(record.value) if record.value is not None else None
        try:
            self.shard.replay(record.offset, producer_id, bytes(record.key or b""), value)
        except MalformedError as error:
            where = f"{self.partition.topic_partition} at offset {record.offset}"
            log.error("a record is left out, %s: %s", where, error)

    def unload(self) -> None:
        """Ends this runner: everyone who waits is told that the coordinator is elsewhere."""
        if self.is_over:
            return
        self.is_over = True
        self.is_ready = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._release(self.shard.unload())


class _InFlight:
    """Records on their way to the disk, and the machine's interest in them."""

    __slots__ = ("_runner", "_writes", "deadline_ms")

    def __init__(self, runner: ShardRunner[Any], writes: Sequence[Write]) -> None:
        self._runner = runner
        self._writes = writes
        self.deadline_ms: int | None = None

    def committed(self) -> None:
        runner = self._runner
        if runner.is_over:
            self.failed(ErrorCode.NOT_LEADER_OR_FOLLOWER)
            return
        for write in self._writes:
            try:
                if isinstance(write, PlainWrite):
                    write.token.complete(write.response)  # as its step would, without making one
                else:
                    runner.perform(write.durable(runner.now()))
            except Exception:
                log.exception("what followed a write to %s failed", runner.partition.topic_partition)

    def failed(self, code: ErrorCode) -> None:
        runner = self._runner
        runner.unload()
        for write in self._writes:
            step = write.refused(code, runner.now())
            if step is not None:
                step.records, step.write = [], None
                runner.perform(step)


class _Settling:
    """A reply that waits for everything before it to be durable."""

    __slots__ = ("_runner", "_then", "deadline_ms")

    def __init__(self, runner: ShardRunner[Any], then: Callable[[ErrorCode], None]) -> None:
        self._runner = runner
        self._then = then
        self.deadline_ms: int | None = None

    def committed(self) -> None:
        self._then(ErrorCode.NOT_COORDINATOR if self._runner.is_over else ErrorCode.NONE)

    def failed(self, code: ErrorCode) -> None:
        self._runner.unload()
        self._then(ErrorCode.NOT_COORDINATOR)


def _split(records: list[RecordBytes], max_bytes: int) -> list[list[RecordBytes]]:
    """The records in their order, in batches of at most ``max_bytes``."""
    batches: list[list[RecordBytes]] = [[]]
    size = 0
    for key, value in records:
        record_size = len(key) + len(value or b"") + RECORD_OVERHEAD
        if batches[-1] and size + record_size > max_bytes:
            batches.append([])
            size = 0
        batches[-1].append((key, value))
        size += record_size
    return batches
