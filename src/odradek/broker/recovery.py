"""Recovery beside everything else: after an unclean stop logs are put in order by jobs, and come online one
by one, while the others are served.

Which logs those are, and what state each is in, stands in ``storage/recovering.py``; the work is a job
(``storage/recover_job.py``). Coordinators' topics come first, as whole groups and transactions wait for them;
then the largest logs, so that all processes end at about the same time. Source: ``LogManager.loadLogs``.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from typing import NamedTuple

from odradek.broker.partitions import INTERNAL_TOPICS
from odradek.core.clock import Clock
from odradek.core.config.broker import BrokerConfig
from odradek.core.ids import TopicPartition
from odradek.storage.disk import FULL, NO_DESCRIPTOR, PASSING
from odradek.storage.jobs import Job, JobRunner, Outcome, Submitted
from odradek.storage.log import Log
from odradek.storage.recover_job import LogRecovered, RecoverPlan
from odradek.storage.store import LogStore

log = logging.getLogger("odradek.recovery")

JOB_BYTES = 128 * 1024 * 1024
"""Starting a process takes as long as checking so much."""
JOB_LOGS = 200
JOBS_PER_PROCESS = 8
TELL_MS = 5_000
"""How often the log tells how far it is."""
REST_MS = 5_000
"""How long logs rest for which there is no room on the disk, no descriptor or no memory."""
MOST_TRIES = 3
"""So often a log is tried whose job ends before it has told of it."""


class RecoveryProgress(NamedTuple):
    """How far it is. ``partitions`` are still to come; bytes of all, both 0 when there is nothing to do."""

    partitions: int
    done: int
    total: int


class _Running:
    """A job under way."""

    __slots__ = ("finished_bytes", "partitions", "passing", "submitted")

    def __init__(self, partitions: list[TopicPartition]) -> None:
        self.partitions = partitions
        self.finished_bytes = 0
        """Of its logs that are recovered already."""
        self.passing = 0
        """The error number because of which what it found of a log could not be taken over."""
        self.submitted: Submitted | None = None


class Recovery:
    """Has logs recovered, as many jobs at a time as ``num.recovery.threads.per.data.dir`` says, and calls
    ``on_recovered`` with each that can be used. Without a runner (``jobs``) nothing happens."""

    def __init__(
        self, store: LogStore, config: BrokerConfig, clock: Clock, on_recovered: Callable[[Log], None]
    ) -> None:
        self.jobs: JobRunner | None = None
        self.job_logs = JOB_LOGS
        """So many logs are in one job, at most."""
        self._store = store
        self._config = config
        self._clock = clock
        self._on_recovered = on_recovered
        sizes = store.recovering.sizes
        self._waiting = sorted(sizes, key=lambda one: (one.topic not in INTERNAL_TOPICS, -sizes[one], one))
        self._count, self._total = len(sizes), sum(sizes.values())
        self._failures: dict[TopicPartition, int] = {}
        self._resting: list[TopicPartition] = []
        self._lacks: dict[TopicPartition, int] = {}
        """The error number for want of which a log waits, as it was told."""
        self._rested_ms = 0
        self._running: list[_Running] = []
        self._started_ms: int | None = None
        self._told_ms = 0

    @property
    def progress(self) -> RecoveryProgress:
        sizes = self._store.recovering.sizes
        if not sizes:
            return RecoveryProgress(0, 0, 0)
        done = self._total - sum(sizes.values())
        for job in self._running:
            if job.submitted is not None:
                done += max(job.submitted.bytes_moved - job.finished_bytes, 0)
        return RecoveryProgress(len(sizes), min(done, self._total), self._total)

    def run(self) -> None:
        """Called at the start and about once a second: begins, goes on, and tells how far it is."""
        if self._count == 0 or self.jobs is None:
            return
        now_ms = self._clock.monotonic_ms()
        if self._started_ms is None:
            self._started_ms = self._told_ms = now_ms
            log.info(
                "recovery: %d partitions were not closed cleanly; %.1f MB of them are checked while all"
                " others are served",
                *(self._count, self._total / 1e6),
            )
        elif now_ms - self._told_ms >= TELL_MS:
            self._told_ms = now_ms
            progress = self.progress
            log.info(
                "recovery: %d of %d partitions are done, %.1f of %.1f MB are checked",
                *(self._count - progress.partitions, self._count),
                *(progress.done / 1e6, progress.total / 1e6),
            )
        if self._resting and now_ms >= self._rested_ms:
            self._waiting, self._resting = self._waiting + self._resting, []
        self._submit(self.jobs)

    def _submit(self, jobs: JobRunner) -> None:
        while self._waiting and len(self._running) < self._config.num_recovery_threads_per_data_dir:
            self._submit_next(jobs)
        if not (self._waiting or self._resting or self._running) and self._count:
            self._end()

    def _submit_next(self, jobs: JobRunner) -> None:
        recovering = self._store.recovering
        processes = self._config.num_recovery_threads_per_data_dir
        most_bytes = max(JOB_BYTES, self._total // (JOBS_PER_PROCESS * processes))
        plans: list[RecoverPlan] = []
        unread: list[TopicPartition] = []
        passing = 0
        size = 0
        while self._waiting and size < most_bytes and len(plans) < self.job_logs:
            if self._waiting[0] in self._failures and plans:
                break  # what may have ended a process takes no others with it
            partition = self._waiting.pop(0)
            try:
                plan = recovering.begin(partition, self._clock.now_ms())
            except OSError as error:
                unread.append(partition)
                passing = error.errno or 0
                continue
            if plan is not None:
                plans.append(plan)
                size += recovering.sizes[partition]
                if partition in self._failures:
                    break
        if unread:
            self._rest(unread, passing)
        if plans:
            running = _Running([plan.topic_partition for plan in plans])
            self._running.append(running)
            running.submitted = jobs.submit(
                Job("recover", plans, size),
                lambda outcome: self._job_ended(running, outcome),
                lambda part: self._take(running, part),
            )

    def _take(self, running: _Running, part: LogRecovered) -> None:
        running.finished_bytes += self._store.recovering.sizes.get(part.topic_partition, 0)
        try:
            recovered = self._store.recovered(part, self._clock.now_ms())
        except OSError as error:
            running.passing = error.errno or 0
            return
        if recovered is not None and recovered.offline is None:
            log.debug(
                "recovery: %s is online, up to offset %d", part.topic_partition, recovered.log_end_offset
            )
            self._on_recovered(recovered)

    def _job_ended(self, running: _Running, outcome: Outcome) -> None:
        self._running.remove(running)
        left = self._store.recovering.abandoned(running.partitions)
        passing = outcome.error.errno if isinstance(outcome.error, OSError) else None
        if left and (outcome.error is None or passing in PASSING):
            self._rest(left, passing or outcome.result or running.passing)
            left = []
        for partition in left:
            self._failures[partition] = self._failures.get(partition, 0) + 1
            if self._failures[partition] < MOST_TRIES:
                self._waiting.append(partition)
            else:
                self._store.recovering.give_up(partition, str(outcome.error))
        if self.jobs is not None:
            self._submit(self.jobs)

    def _rest(self, partitions: list[TopicPartition], number: int) -> None:
        untold = [partition for partition in partitions if self._lacks.get(partition) != number]
        if untold:
            self._lacks.update(dict.fromkeys(untold, number))
            log.warning(
                "recovery: %s to recover %d partitions, it is tried every %d s: %s",
                *(_lacking(number), len(untold), REST_MS // 1_000, ", ".join(map(str, untold[:10]))),
            )
        self._resting += partitions
        self._rested_ms = self._clock.monotonic_ms() + REST_MS

    def _end(self) -> None:
        assert self._started_ms is not None
        seconds = max(self._clock.monotonic_ms() - self._started_ms, 1) / 1000
        log.info(
            "recovery: all %d partitions are done after %.1f s, %.1f MB were checked (%.0f MB/s)",
            *(self._count, seconds, self._total / 1e6, self._total / 1e6 / seconds),
        )
        self._count = 0


def _lacking(number: int) -> str:
    """What is not there because of an error that passes, and what may be done."""
    if number in FULL:
        return "there is no room on the disk"
    if number in NO_DESCRIPTOR:
        return f"too many files are open ({errno.errorcode[number]}; raise ulimit -n, or fs.file-max)"
    return f"there is not enough memory, or there are too many processes or threads ({os.strerror(number)})"
