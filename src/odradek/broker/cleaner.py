"""Compaction of topics with ``cleanup.policy=compact``: which log is next, and what becomes of its pass.

The work is a job (``storage/compact_job.py``); here only finished segments are swapped in. A pass that fails
is tried again later, but for a damaged batch: that log is left as it is and cleaned no more.
Source: ``LogCleaner``, ``LogCleanerManager``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from odradek.broker.maintenance import Chore
from odradek.core.clock import Clock
from odradek.core.config.broker import BrokerConfig
from odradek.core.errors import ApiError, DamageError
from odradek.storage.compaction import Dirt, measure_dirt, plan_compaction
from odradek.storage.jobs import Job, JobRunner, JobStoppedError, Outcome, Submitted
from odradek.storage.log import Log
from odradek.storage.pacing import Backlog, allowed_growth, urgency_of
from odradek.storage.store import LogStore
from odradek.storage.swap import discard, remove_unfinished, swap_in

if TYPE_CHECKING:
    from odradek.storage.compact_job import CleanedSegment, CompactionResult

log = logging.getLogger("odradek.cleaner")

TELL_MS = 60_000
"""How often the log tells how far a long pass is."""
RETRY_MS = 60_000
"""How long a log rests whose pass has failed, so that others get their turn."""

WhenFlushed = Callable[[Callable[[bool], None]], None]


class Pass:
    """One log under way. ``submitted`` tells how far it is."""

    __slots__ = ("dirt", "is_complete", "is_settled", "started_ms", "submitted", "told_ms")

    def __init__(self, dirt: Dirt, started_ms: int) -> None:
        self.dirt = dirt
        self.started_ms = self.told_ms = started_ms
        self.submitted: Submitted | None = None
        self.is_complete = True
        """Every finished segment could be swapped in."""
        self.is_settled = False
        """What was flushed when it began is known to be so for good: swaps need not wait for the disk."""

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1, about."""
        if self.submitted is None or not self.submitted.job.size:
            return 0.0
        return min(self.submitted.bytes_moved / self.submitted.job.size, 1.0)


class Waiting(NamedTuple):
    """A log that was seen to be due. ``position`` is how much had ever been appended to it when it was."""

    since_ms: int
    position: int
    allowed_bytes: float
    lag_ms: int

    @classmethod
    def seen(cls, dirt: Dirt, now_ms: int, taken: int | None) -> Waiting:
        """``taken``: the position at which the last pass over it began, if there was one since the start."""
        config = dirt.log.config
        allowed = allowed_growth(dirt.clean_bytes + dirt.cleanable_bytes, config.min_cleanable_dirty_ratio)
        position = _position(dirt.log)
        if taken is not None:
            position = min(position, taken + int(allowed))
        return cls(now_ms, position, allowed, config.max_compaction_lag_ms if dirt.is_overdue else 0)

    def backlog(self, waiting: Log, now_ms: int) -> Backlog:
        """What has become of it by now."""
        grown_bytes = _position(waiting) - self.position
        return Backlog(self.allowed_bytes, grown_bytes, now_ms - self.since_ms, self.lag_ms)


class Cleaner:
    """Chooses, follows and concludes passes.

    ``passes`` are those under way; ``uncleanable`` says why a log is cleaned no more; ``dirtiest_ratio`` is
    that of the last look; ``passes_done`` and ``bytes_read`` count since the start, ``last_done_ms`` is when
    a pass ended last (wall clock, -1 none since the start). ``urgency`` is how far it is behind
    (``storage/pacing.py``). Without a runner (``jobs``), which the server gives it, nothing is cleaned.
    """

    def __init__(
        self, store: LogStore, config: BrokerConfig, clock: Clock, when_flushed: WhenFlushed
    ) -> None:
        self.jobs: JobRunner | None = None
        self.passes: dict[Log, Pass] = {}
        self.uncleanable: dict[Log, DamageError] = {}
        self.dirtiest_ratio = 0.0
        self.passes_done = self.bytes_read = 0
        self.last_done_ms = -1
        self.urgency = 0.0
        self._store = store
        self._config = config
        self._clock = clock
        self._when_flushed = when_flushed
        self._next_look_ms = clock.monotonic_ms() + config.log_cleaner_backoff_ms
        self._resting: dict[Log, int] = {}
        """Until when (monotonic) a log is left alone."""
        self._waiting: dict[Log, Waiting] = {}
        """Those that are due, and those under way."""
        self._taken: dict[Log, int] = {}
        """How much had ever been appended to a log when the last pass over it began."""
        self._chores: list[Chore] = []
        store.volume.is_being_compacted = self.passes.__contains__

    def run(self) -> list[Chore]:
        """Called about once a second: starts what is due; returns what should run in some thread."""
        for current in self.passes.values():
            if current.submitted is not None and not _is_wanted(current.dirt.log):
                current.submitted.cancel()
        now_ms = self._clock.monotonic_ms()
        self._tell_progress(now_ms)
        if now_ms >= self._next_look_ms and self._config.log_cleaner_enable and self.jobs is not None:
            self._next_look_ms = now_ms + self._config.log_cleaner_backoff_ms
            for dirt in self._due(now_ms):
                if len(self.passes) >= self._config.log_cleaner_threads:
                    break
                self._start(dirt, self.jobs)
        self.urgency = self._urgency(now_ms)
        chores, self._chores = self._chores, []
        return chores

    def _tell_progress(self, now_ms: int) -> None:
        for target, current in self.passes.items():
            if now_ms - current.told_ms >= TELL_MS:
                current.told_ms = now_ms
                log.info("compacting %s: %d %% done", target.topic_partition, 100 * current.share)

    # -- choosing

    def _due(self, now_ms: int) -> list[Dirt]:
        """What should be compacted, the dirtiest first."""
        self._forget_deleted(now_ms)
        due: list[Dirt] = []
        self.dirtiest_ratio = 0.0
        for candidate in self._store.logs.values():
            if not _is_wanted(candidate) or candidate in self.passes or candidate in self.uncleanable:
                continue
            dirt = self._measure(candidate)
            if dirt is not None:
                # Also of one that rests: else nobody would see that its passes fail.
                self.dirtiest_ratio = max(self.dirtiest_ratio, dirt.ratio)
                if dirt.is_due and candidate not in self._resting:
                    due.append(dirt)
        self._waiting = {one: since for one, since in self._waiting.items() if one in self.passes} | {
            dirt.log: self._noted(dirt, now_ms) for dirt in due
        }
        return sorted(due, key=lambda dirt: dirt.ratio, reverse=True)

    def _noted(self, dirt: Dirt, now_ms: int) -> Waiting:
        known = self._waiting.get(dirt.log)
        if known is None:
            return Waiting.seen(dirt, now_ms, self._taken.get(dirt.log))
        if dirt.is_overdue and not known.lag_ms:
            return known._replace(since_ms=now_ms, lag_ms=dirt.log.config.max_compaction_lag_ms)
        return known

    def _urgency(self, now_ms: int) -> float:
        """Of that log which is furthest behind."""
        if self._store.volume.is_tight:
            return 1.0  # what is compacted makes room
        behind = (since.backlog(one, now_ms) for one, since in self._waiting.items())
        return max(map(urgency_of, behind), default=0.0)

    def _forget_deleted(self, now_ms: int) -> None:
        logs = self._store.logs
        self._taken = {
            one: position for one, position in self._taken.items() if logs.get(one.topic_partition) is one
        }
        self._resting = {one: until_ms for one, until_ms in self._resting.items() if until_ms > now_ms}
        self.uncleanable = {
            one: error for one, error in self.uncleanable.items() if logs.get(one.topic_partition) is one
        }

    def _measure(self, candidate: Log) -> Dirt | None:
        partition = candidate.topic_partition
        try:
            return measure_dirt(candidate, self._store.cleaner_points.get(partition), self._clock.now_ms())
        except (DamageError, OSError, ApiError) as error:
            if candidate not in self._resting:
                self._failed(candidate, error)
            return None

    def _start(self, dirt: Dirt, jobs: JobRunner) -> None:
        config = self._config
        memory_bytes = config.log_cleaner_dedupe_buffer_size // config.log_cleaner_threads
        try:
            plan = plan_compaction(
                dirt, self._clock.now_ms(), memory_bytes, config.log_cleaner_io_buffer_load_factor
            )
        except (DamageError, OSError, ApiError) as error:
            self._failed(dirt.log, error)
            return
        self._taken[dirt.log] = _position(dirt.log)
        current = self.passes[dirt.log] = Pass(dirt, self._clock.monotonic_ms())
        self._chores.append(lambda: self._settle(current))
        size = dirt.cleanable_bytes + 2 * (dirt.clean_bytes + dirt.cleanable_bytes)
        job = Job("compact", plan, size, config.log_cleaner_io_max_bytes_per_second)
        current.submitted = jobs.submit(
            job, lambda outcome: self._done(current, outcome), lambda part: self._take(current, part)
        )
        log.info(
            "compacting %s: offsets %d to %d are dirty, %.0f %% of %.1f MB",
            *(dirt.log.topic_partition, dirt.first_dirty_offset, dirt.upper_offset, 100 * dirt.ratio),
            (dirt.clean_bytes + dirt.cleanable_bytes) / 1e6,
        )

    def _settle(self, current: Pass) -> None:
        """In some thread."""
        self._store.volume.settle_flushed_offsets()
        current.is_settled = True

    # -- concluding

    def _take(self, current: Pass, part: CleanedSegment) -> None:
        """A segment is finished."""
        target = current.dirt.log
        was_complete, current.is_complete = current.is_complete, False
        try:
            if _is_wanted(target) and swap_in(target, part, is_settled=current.is_settled):
                current.is_complete = was_complete
                return
            discard(target.volume.disk, target.folder, part)
        except OSError as error:
            log.warning("a compacted segment of %s cannot be put in place: %s", target.topic_partition, error)

    def _done(self, current: Pass, outcome: Outcome) -> None:
        target = current.dirt.log
        self._next_look_ms = self._clock.monotonic_ms()
        self._waiting.pop(target, None)
        if outcome.error is None and current.is_complete:
            self._report(current, outcome.result)
            self._when_flushed(lambda is_durable: self._note(target, outcome.result, is_durable))
            return
        self.passes.pop(target, None)
        if isinstance(outcome.error, JobStoppedError) or (outcome.error and not _is_wanted(target)):
            self._clear_up(target)
        elif outcome.error is not None:
            self._failed(target, outcome.error)
        else:
            self._resting[target] = self._next_look_ms + RETRY_MS

    def _note(self, target: Log, result: CompactionResult, is_durable: bool) -> None:
        """The swaps are on disk: only now may a start believe that the log is clean so far."""
        self.passes.pop(target, None)
        partition = target.topic_partition
        if is_durable and target.offline is None and self._store.logs.get(partition) is target:
            self._store.cleaner_points[partition] = result.next_dirty_offset
            self._chores.append(self._store.cleaner_checkpoint_write())

    def _failed(self, target: Log, error: Exception) -> None:
        self._clear_up(target)
        if isinstance(error, DamageError):
            self.uncleanable[target] = error
            log.error(
                "%s is not compacted any more, its segments stay as they are: %s",
                target.topic_partition,
                error,
            )
            return
        self._resting[target] = self._clock.monotonic_ms() + RETRY_MS
        log.warning("%s could not be compacted, will be tried again: %s", target.topic_partition, error)

    def _clear_up(self, target: Log) -> None:
        if target.offline is None:
            self._chores.append(lambda: remove_unfinished(target.volume.disk, target.folder))

    def _report(self, current: Pass, result: CompactionResult) -> None:
        self.passes_done += 1
        self.bytes_read += result.bytes_read
        self.last_done_ms = self._clock.now_ms()
        seconds = max(self._clock.monotonic_ms() - current.started_ms, 1) / 1000
        log.info(
            "compacted %s up to offset %d: %.1f → %.1f MB, %d → %d records, %d keys, in %.1f s (%.1f MB/s)",
            *(current.dirt.log.topic_partition, result.next_dirty_offset),
            *(result.bytes_read / 1e6, result.bytes_written / 1e6, result.records_read, result.records_kept),
            *(result.keys, seconds, result.bytes_read / 1e6 / seconds),
        )


def _position(log_of: Log) -> int:
    return log_of.bytes_sealed + log_of.active.size


def _is_wanted(candidate: Log) -> bool:
    return candidate.offline is None and candidate.config.is_compacted
