"""The scrub: all files of all partitions are read and checked, slowly, over and over, in a child process.

Some partitions at a time are a job (``storage/verify.py``). What can be made anew is put in the place of
what is bad; a partition whose log is damaged goes offline before anybody reads it. How far it is survives
restarts (``scrub_notes.py``).
"""

from __future__ import annotations

import contextlib
import logging
from typing import NamedTuple

from odradek.broker.maintenance import Chore
from odradek.broker.scrub_notes import ScrubNotes, encode_notes, notes_path, read_notes
from odradek.core.clock import Clock
from odradek.core.config.broker import BrokerConfig
from odradek.core.errors import DamageError
from odradek.core.ids import TopicPartition
from odradek.storage import names
from odradek.storage.jobs import Job, JobRunner, Outcome, Submitted
from odradek.storage.loading import name_topic
from odradek.storage.log import Log
from odradek.storage.segment import Segment
from odradek.storage.store import LogStore
from odradek.storage.verify import Flaw, Part, VerifyPlan

log = logging.getLogger("odradek.scrub")

JOB_BYTES = 256 * 1024 * 1024
JOB_PARTITIONS = 200
FIRST_AFTER_MS = 120_000
"""No pass begins, or goes on, so soon after a start: everybody has come back by then."""
SHOWN_EVERY_MS = 600_000
"""How often a pass that takes long says how far it is."""


class ScrubProgress(NamedTuple):
    """How far the present pass is, in bytes; both are 0 between passes. ``passes`` and ``flaws`` count since
    the start, ``finished_ms`` is when a pass ended last (wall clock), whenever that was; -1 never."""

    done: int
    total: int
    passes: int
    flaws: int
    finished_ms: int


class Scrubber:
    """Chooses what is checked next and acts on what is found. Without a runner (``jobs``) nothing happens."""

    def __init__(self, store: LogStore, config: BrokerConfig, clock: Clock) -> None:
        self.jobs: JobRunner | None = None
        self._store = store
        self._config = config
        self._clock = clock
        self._notes = read_notes(store.disk, store.folder, clock.now_ms())
        self._next_pass_ms = clock.monotonic_ms() + self._first_wait_ms()
        self._waiting: list[TopicPartition] = []
        self._current: Submitted | None = None
        self._is_under_way = False
        self._done = self._total = self._passes = self._flaws = 0
        self._shown_ms = 0
        self._chores: list[Chore] = []

    def _first_wait_ms(self) -> int:
        interval_ms, notes = self._config.odradek_scrub_interval_ms, self._notes
        soon_ms = min(FIRST_AFTER_MS, interval_ms)
        if notes.finished_ms < 0 or notes.after:
            return soon_ms
        return max(notes.finished_ms + interval_ms - self._clock.now_ms(), soon_ms)

    @property
    def progress(self) -> ScrubProgress:
        moved = self._current.bytes_moved if self._current is not None else 0
        done = min(self._done + moved, self._total)
        return ScrubProgress(done, self._total, self._passes, self._flaws, self._notes.finished_ms)

    def run(self) -> list[Chore]:
        """Called about once a second: goes on with the pass, or begins one that is due. Returns what should
        run in some thread."""
        self._go_on()
        chores, self._chores = self._chores, []
        return chores

    def _go_on(self) -> None:
        now_ms = self._clock.monotonic_ms()
        if not self._config.odradek_scrub_enable or self.jobs is None or self._current is not None:
            return
        if not self._is_under_way:
            if now_ms < self._next_pass_ms:
                return
            self._begin(now_ms)
        if now_ms - self._shown_ms >= SHOWN_EVERY_MS:
            self._shown_ms = now_ms
            log.info("scrub: %d of %d MB are checked", self._done >> 20, self._total >> 20)
        self._submit_next(self.jobs)
        if not self._waiting and self._current is None:
            self._end(now_ms)

    def _begin(self, now_ms: int) -> None:
        logs = self._store.logs
        after = names.parse_folder_name(self._notes.after) if self._notes.after else None
        self._waiting = sorted((one for one in logs if after is None or one > after), reverse=True)
        self._total = sum(each.size for each in logs.values())
        self._done = self._total - sum(logs[one].size for one in self._waiting)
        if after is not None:
            log.info("scrub: goes on after %s", after)
        self._shown_ms = now_ms
        self._is_under_way = True

    def _end(self, now_ms: int) -> None:
        self._passes += 1
        self._is_under_way = False
        self._next_pass_ms = now_ms + self._config.odradek_scrub_interval_ms
        if self._total:
            log.info("scrub: all of %d MB are checked", self._total >> 20)
        self._done = self._total = 0
        self._note(ScrubNotes(self._clock.now_ms()))

    def _note(self, notes: ScrubNotes) -> None:
        self._notes = notes
        path = notes_path(self._store.folder)
        self._chores.append(self._store.volume.checkpoint_write(path, encode_notes(notes)))

    def _submit_next(self, jobs: JobRunner) -> None:
        """As many partitions as make a process of their own worth its while."""
        plans: dict[str, tuple[Log, VerifyPlan, list[Segment]]] = {}
        size = 0
        while self._waiting and size < JOB_BYTES and len(plans) < JOB_PARTITIONS:
            checked = self._store.logs.get(self._waiting.pop())
            if checked is not None and checked.offline is None and checked.size:
                plan = plan_of(checked, self._is_compacted(checked))
                plans[checked.folder] = checked, plan, list(checked.segments)
                size += checked.size
        if plans:
            last = names.folder_name(next(reversed(plans.values()))[1].topic_partition)
            argument = [plan for _, plan, _ in plans.values()]
            job = Job("verify", argument, size, self._config.odradek_scrub_io_max_bytes_per_second)
            self._current = jobs.submit(
                job,
                lambda outcome: self._job_ended(size, last, outcome),
                lambda part: self._take(*plans[part[0].folder], part[1]),
            )

    def _is_compacted(self, checked: Log) -> bool:
        return checked.config.is_compacted or checked.topic_partition in self._store.cleaner_points

    def _job_ended(self, size: int, last: str, outcome: Outcome) -> None:
        self._current = None
        self._done += size
        if self._waiting:
            self._note(self._notes._replace(after=last))
        if outcome.error is not None:
            log.warning("not everything could be checked, the next pass tries again: %s", outcome.error)

    def _take(self, checked: Log, plan: VerifyPlan, planned: list[Segment], flaws: list[Flaw]) -> None:
        if checked.offline is None and _were_replaced(checked, planned):
            _forget_rebuilt(checked, flaws)
            return
        for flaw in flaws:
            if checked.offline is None and _still_counts(checked, plan, flaw):
                self._flaws += 1
                self._act(checked, flaw)

    def _act(self, checked: Log, flaw: Flaw) -> None:
        if not flaw.remedy:
            checked.go_offline(DamageError(flaw.path, flaw.position, flaw.reason))
            return
        try:
            remedy(checked, flaw)
            log.warning("%s; mended (%s)", flaw, flaw.remedy)
        except OSError as error:
            log.warning("%s; it could not be mended: %s", flaw, error)


def plan_of(checked: Log, is_compacted: bool) -> VerifyPlan:
    """What is to be checked of a log as it is now."""
    parts = tuple(
        Part(segment.base_offset, segment.size, segment is checked.active)
        for segment in checked.segments
        if segment.size
    )
    return VerifyPlan(
        checked.topic_partition,
        checked.folder,
        parts,
        tuple(checked.snapshots),
        checked.log_end_offset,
        is_compacted,
        checked.config.index_interval_bytes,
        True,
    )


def _were_replaced(checked: Log, planned: list[Segment]) -> bool:
    """Whether compaction has put others in the place of segments meanwhile: then nobody knows which of them
    were read. The next pass reads those that are there now."""
    first_offset, present = checked.segments[0].base_offset, set(checked.segments)
    return any(one not in present for one in planned if one.base_offset >= first_offset)


def _forget_rebuilt(checked: Log, flaws: list[Flaw]) -> None:
    for flaw in flaws:
        if flaw.remedy == "rebuilt":
            with contextlib.suppress(OSError):
                checked.volume.disk.remove(flaw.path + names.TEMPORARY)


def _still_counts(checked: Log, plan: VerifyPlan, flaw: Flaw) -> bool:
    """Whether the file was not deleted, compacted or cut since the plan was made."""
    parsed = names.parse_file_name(flaw.path.rpartition("/")[2])
    if parsed is None:
        return True
    if parsed[1] == names.SNAPSHOT:
        return parsed[0] in checked.snapshots
    sizes = {segment.base_offset: segment.size for segment in checked.segments}
    planned = {part.base_offset: part.size for part in plan.parts}
    return sizes.get(parsed[0], -1) >= planned[parsed[0]]


def remedy(checked: Log, flaw: Flaw) -> None:
    """Mend what can be mended. Raises ``OSError``."""
    disk = checked.volume.disk
    if flaw.remedy == "rebuilt":
        disk.rename(flaw.path + names.TEMPORARY, flaw.path)
        if flaw.path.endswith(names.LEADER_EPOCHS):
            checked.forget_epochs()
        parsed = names.parse_file_name(flaw.path.rpartition("/")[2])
        for segment in checked.segments:
            if parsed is not None and segment.base_offset == parsed[0] and not segment.is_active:
                segment.close()
    elif flaw.remedy == "remove":
        disk.remove(flaw.path)
        parsed = names.parse_file_name(flaw.path.rpartition("/")[2])
        if parsed is not None and parsed[0] in checked.snapshots:
            checked.snapshots.remove(parsed[0])
    elif flaw.path.endswith(names.PARTITION_METADATA):
        name_topic(checked, checked.topic_id)
    else:
        checked.write_epochs_again()
