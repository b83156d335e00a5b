"""The ``recover`` job: the files of logs that an unclean stop left are put in order, one log after another.

Unlike other jobs it changes files in place, as a start does that recovers by itself: nobody else opens these
logs before it has handed over what it found, and a data folder stays locked for as long as the process of
such a job lives (``server/worker.py``), also when its broker is gone. Killed at any byte, it is done again.
"""

from __future__ import annotations

from typing import NamedTuple

from odradek.core.errors import DamageError
from odradek.core.ids import TopicId, TopicPartition
from odradek.storage import names
from odradek.storage.disk import NO_DESCRIPTOR, PASSING, Disk, reading
from odradek.storage.flush import SYNC_FILE_SYSTEM_FROM, sync_all_files
from odradek.storage.jobs import Meter
from odradek.storage.loading import Found, Restored, restore

GROUP_LOGS = 50
GROUP_BYTES = 32 * 1024 * 1024


class RecoverPlan(NamedTuple):
    """One log. ``found.flushed`` is about it alone. ``is_synced``: what is accepted of it has to be on disk
    afterwards; else that is left to a later flush, as the topic does not promise it."""

    topic_partition: TopicPartition
    data_folder: str
    topic_id: TopicId
    found: Found
    index_interval_bytes: int
    is_synced: bool
    now_ms: int


class LogRecovered(NamedTuple):
    """A part of the job's result: what came of one log, :class:`Restored` or why it cannot be used."""

    topic_partition: TopicPartition
    restored: Restored | None
    error: DamageError | None


def recover_all(disk: Disk, plans: list[RecoverPlan], meter: Meter) -> int:
    """Recover the logs of ``plans``, handing a :class:`LogRecovered` over for each but those for which there
    is no room, descriptor or memory now. Returns the error number of that, 0 when all are told of.

    Small ones are synced together: one by one each of them would wait several times for the disk.
    """
    group = _Group(disk)
    for plan in plans:
        group.add(plan, meter)
        if len(group.parts) >= GROUP_LOGS or group.size >= GROUP_BYTES:
            group.hand_over(meter)
    group.hand_over(meter)
    return group.passing


class _Group:
    """Logs that are recovered and not synced yet."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.parts: list[tuple[RecoverPlan, LogRecovered]] = []
        self.size = 0
        self.passing = 0
        """Why logs were left out: the error number."""
        self._path = ""

    def add(self, plan: RecoverPlan, meter: Meter) -> None:
        def moved(count: int) -> None:
            self.size += count
            meter.moved(count)

        partition, folder = plan.topic_partition, _folder(plan)
        try:
            restored, segments, _ = restore(
                self._disk,
                plan.data_folder,
                partition,
                plan.topic_id,
                plan.found,
                plan.index_interval_bytes,
                plan.now_ms,
                moved,
            )
        except DamageError as error:
            part = LogRecovered(partition, None, error)
        except OSError as error:
            if error.errno in PASSING:
                self.passing = error.errno or 0  # it says nothing of the log, which waits
                return
            part = LogRecovered(partition, None, DamageError(folder, 0, str(error)))
        else:
            part = LogRecovered(partition, restored, None)
            self._path = segments[-1].path()
        self.parts.append((plan, part))

    def hand_over(self, meter: Meter) -> None:
        """Sync what has to be, and tell of it."""
        parts, self.parts, self.size = self.parts, [], 0
        waiting = [plan for plan, part in parts if plan.is_synced and part.restored is not None]
        is_synced = len(waiting) >= SYNC_FILE_SYSTEM_FROM and self._sync_file_system()
        for plan, part in parts:
            if plan.is_synced and part.restored is not None and not is_synced:
                try:
                    sync_all_files(self._disk, _folder(plan))
                except OSError as error:
                    if error.errno in NO_DESCRIPTOR:  # no sync has failed: there was none
                        self.passing = error.errno or 0
                        continue
                    damage = DamageError(_folder(plan), 0, str(error))
                    part = LogRecovered(part.topic_partition, None, damage)
            meter.hand_over(part)

    def _sync_file_system(self) -> bool:
        try:
            with reading(self._disk, self._path) as fd:
                return self._disk.sync_file_system(fd)
        except OSError:
            return False  # syncing one by one tells whose it was


def _folder(plan: RecoverPlan) -> str:
    return f"{plan.data_folder}/{names.folder_name(plan.topic_partition)}"
