"""Writes the end of transactions into partitions: one control batch in each.

Source: ``TransactionMarkerChannelManager``, ``KafkaApis.handleWriteTxnMarkersRequest``. On one node all
partitions are here; in a cluster those that another broker leads go to it in a WriteTxnMarkers request.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from odradek.broker.partitions import OFFSETS_TOPIC, Partition
from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.records.control import build_marker
from odradek.storage.log import COORDINATOR

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

log = logging.getLogger("odradek.transactions")

AGAIN_MS = 1_000
"""When a marker that could not be written is tried again."""
_GONE = frozenset({ErrorCode.UNKNOWN_TOPIC_OR_PARTITION})
_OVERTAKEN = frozenset({ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED})


class Marker(NamedTuple):
    """The end of one producer's transaction. ``version`` is its transaction version: from 2 on a marker
    has an epoch of its own, above that of all records."""

    producer_id: int
    epoch: int
    is_commit: bool
    coordinator_epoch: int
    version: int


Written = Callable[[ErrorCode], None]
"""Told what became of one marker, once it is durable or refused."""


def write_marker(broker: "Broker", topic: str, index: int, marker: Marker, written: Written) -> None:
    """Writes ``marker`` into one partition; offsets that a group commits in it take effect with it."""
    partition = broker.topics.partition(topic, index)
    if partition is None:
        written(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return
    try:
        partition.log.producers.check_end(marker.producer_id, marker.epoch, marker.version)
        batch = build_marker(
            marker.producer_id,
            marker.epoch,
            marker.is_commit,
            marker.coordinator_epoch,
            broker.clock.now_ms(),
        )
        if topic == OFFSETS_TOPIC:
            next_offset = broker.groups.runner_of(index).end_transaction(
                batch, marker.producer_id, marker.is_commit
            )
        else:
            next_offset = _append(broker, partition, batch)
    except ApiError as error:
        written(error.code)
        return
    broker.await_commit(partition, next_offset, _Waiter(written))


def _append(broker: "Broker", partition: Partition, batch: bytearray) -> int:
    try:
        appended = partition.log.append(
            memoryview(batch),
            broker.clock.now_ms(),
            leader_epoch=partition.leader_epoch,
            origin=COORDINATOR,
        )
    except DamageError as error:
        raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
    next_offset = appended.last_offset + 1
    if partition.log.high_watermark < next_offset:
        broker.want_flush(is_urgent=True)
    elif partition.fetch_waiters or partition.waiters:
        partition.high_watermark_moved()
    return next_offset


class _Waiter:
    """A marker on its way to the disk."""

    __slots__ = ("_written", "deadline_ms")

    def __init__(self, written: Written) -> None:
        self._written = written
        self.deadline_ms: int | None = None

    def committed(self) -> None:
        self._written(ErrorCode.NONE)

    def failed(self, code: ErrorCode) -> None:
        self._written(code)


class EndedTransaction:
    """The markers of one transaction: tries until all are durable, then calls ``done``, once.

    Partitions that are gone need none. ``is_wanted`` says whether anybody still waits for it.
    """

    def __init__(
        self,
        broker: "Broker",
        marker: Marker,
        partitions: Collection[tuple[str, int]],
        is_wanted: Callable[[], bool],
        done: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._marker = marker
        self._missing = set(partitions)
        self._failed: set[tuple[str, int]] = set()
        """Those of the missing that are to be written again; the others are on their way."""
        self._is_wanted = is_wanted
        self._done = done
        self._is_retry = False

    def start(self) -> None:
        """Writes all markers."""
        if self._missing:
            self._write(self._missing)
        else:
            self._done()

    def _write(self, names: Iterable[tuple[str, int]]) -> None:
        for topic, index in sorted(names):
            write_marker(self._broker, topic, index, self._marker, self._told(topic, index))

    def _told(self, topic: str, index: int) -> Written:
        def written(code: ErrorCode) -> None:
            if code in _OVERTAKEN:
                # A later producer or coordinator was here before: the transaction is over in this partition.
                log.error("the end of a transaction is not written to %s-%d: %s", topic, index, code.name)
            elif code and code not in _GONE:
                self._write_again_later(topic, index, code)
                return
            self._missing.discard((topic, index))
            if not self._missing and self._is_wanted():
                self._done()

        return written

    def _write_again_later(self, topic: str, index: int, code: ErrorCode) -> None:
        if not self._failed:
            broker = self._broker
            broker.timers.schedule(broker.clock.monotonic_ms() + AGAIN_MS, self._retry)
        self._failed.add((topic, index))
        level = logging.DEBUG if self._is_retry else logging.WARNING
        log.log(
            level,
            "the end of a transaction cannot be written to %s-%d now (%s), it is tried every %d ms",
            topic,
            index,
            code.name,
            AGAIN_MS,
        )

    def _retry(self) -> None:
        self._is_retry = True
        failed, self._failed = self._failed, set()
        if self._is_wanted():
            self._write(failed)
