"""The logs that are still to be recovered after an unclean stop, while everybody else is served already; and
those for which there was no descriptor left at the start.

Each is one of these, in this order:

| state | the log in the store | its files |
|---|---|---|
| waiting | a stand-in, ``is_recovering`` | nobody touches them |
| under way (:attr:`Recovering.busy`) | the same | are a job's alone |
| recovered | a new log in the stand-in's place, online, or the stand-in, offline | the log's |

A log that is deleted in between has left the table; while it is under way its name stays busy, so that no new
log is made where a job still writes. What checkpoints and flush journal tell of a stand-in is what they told
before: a second kill finds what the first one left.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from odradek.core.errors import DamageError
from odradek.core.ids import ZERO_ID, TopicPartition
from odradek.storage.config import LogConfig
from odradek.storage.disk import PASSING
from odradek.storage.flush_journal import Fact
from odradek.storage.loading import (
    Found,
    fail,
    load_empty_tail,
    load_log,
    measure_tail,
    read_topic_id,
    stand_in_for,
    take_over,
)
from odradek.storage.log import Log
from odradek.storage.recover_job import LogRecovered, RecoverPlan
from odradek.storage.volume import Volume

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger("odradek.storage")

AT_ONCE_BYTES = 64 * 1024 * 1024
"""What a broker recovers before it serves: starting a process would take longer."""
LOG_COST_BYTES = 256 * 1024
"""Recovering a log costs as much as reading so many bytes more: files are opened, written and synced."""


class Recovering:
    """``sizes`` has the bytes to be read of each log that waits or is under way."""

    def __init__(self, volume: Volume, logs: MutableMapping[TopicPartition, Log]) -> None:
        self.sizes: dict[TopicPartition, int] = {}
        self.busy: dict[TopicPartition, RecoverPlan] = {}
        self.is_needed = False
        self._volume = volume
        self._logs = logs
        self._founds: dict[TopicPartition, Found] = {}
        self._tails: dict[TopicPartition, int | None] = {}

    # -- at the start

    def look_at(self, founds: Mapping[TopicPartition, Found], at_once_bytes: int) -> None:
        """Whether logs have to be recovered in the background: when it is more than ``at_once_bytes``."""
        disk, folder = self._volume.disk, self._volume.folder
        cost = 0
        for partition, found in founds.items():
            try:
                size = self._tails[partition] = measure_tail(disk, folder, partition, found)
            except OSError:
                size = self._tails[partition] = 0  # reading it will tell
            cost += 0 if size is None else size + LOG_COST_BYTES
        self.is_needed = cost > at_once_bytes

    def open(self, partition: TopicPartition, config: LogConfig, found: Found, now_ms: int) -> Log:
        """The log, or one that stands in for it: where it is to be recovered, or could not be opened yet."""
        size = self._tails.pop(partition, None)
        try:
            if not self.is_needed:
                return load_log(self._volume, partition, config, found, now_ms)
            if size is None:
                return load_empty_tail(self._volume, partition, config, found, now_ms)
        except OSError as error:
            log.warning("%s cannot be opened yet, it is tried again: %s", partition, error)
        self.sizes[partition] = size or 0
        self._founds[partition] = found
        return stand_in_for(self._volume, partition, config, found, now_ms)

    # -- under way

    def begin(self, partition: TopicPartition, now_ms: int) -> RecoverPlan | None:
        """What a job needs to know of a log that waits; None when it was deleted. Raises ``OSError`` for what
        passes (``PASSING``)."""
        found = self._founds.get(partition)
        if found is None:
            return None
        log = self._logs[partition]
        if log.topic_id == ZERO_ID:  # there may be a descriptor for it now
            try:
                log.topic_id = read_topic_id(self._volume.disk, log.folder)
            except OSError as error:
                if error.errno in PASSING:
                    raise  # without it nothing of what the flush journal tells would count
        told = found.flushed.only((log.topic_id, partition.partition))
        plan = self.busy[partition] = RecoverPlan(
            partition,
            self._volume.folder,
            log.topic_id,
            found._replace(flushed=told),
            log.config.index_interval_bytes,
            log.is_strict,
            now_ms,
        )
        return plan

    def forget(self, partition: TopicPartition) -> None:
        """The log is deleted. A job that is at it will find no files any more."""
        self.sizes.pop(partition, None)
        self._founds.pop(partition, None)

    def abandoned(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """The job that had them is over: those of which it told nothing. They wait again."""
        left = [partition for partition in partitions if self.busy.pop(partition, None) is not None]
        return [partition for partition in left if partition in self._founds]

    def finish(self, part: LogRecovered, now_ms: int) -> Log | None:
        """The log that ``part`` tells of, offline when it cannot be used; None when it was deleted.

        Raises ``OSError`` for what passes (``PASSING``): the log is among the :meth:`abandoned` then.
        """
        partition = part.topic_partition
        plan = self.busy[partition]
        if partition not in self._founds:
            del self.busy[partition]
            return None
        stand_in = self._logs[partition]
        if part.restored is None:
            assert part.error is not None
            self._end(partition)
            return fail(stand_in, part.error)
        noted = plan.found.flushed.of((plan.topic_id, partition.partition)).offset
        flushed_offset = max(noted, part.restored.recovery_point)
        log = take_over(stand_in, part.restored, flushed_offset, is_synced=plan.is_synced, now_ms=now_ms)
        self._end(partition)
        if log.offline is None and plan.is_synced and log.topic_id != ZERO_ID:
            self._volume.journal.note([Fact(log.topic_id, partition.partition, log.flushed_offset)])
        return log

    def _end(self, partition: TopicPartition) -> None:
        del self.busy[partition], self._founds[partition], self.sizes[partition]

    def give_up(self, partition: TopicPartition, reason: str) -> Log:
        """A log whose recovery fails again and again, for no reason that the disk has told: it is offline."""
        del self._founds[partition], self.sizes[partition]
        stand_in = self._logs[partition]
        return fail(stand_in, DamageError(stand_in.folder, 0, f"its recovery failed: {reason}"))
