"""All logs of one data folder: opening, making and deleting them, its checkpoints, and their flushing.

Source: ``LogManager``; FORMAT.md has the files.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

from odradek.core.clock import Clock
from odradek.core.errors import ApiError, DamageError
from odradek.core.ids import ZERO_ID, Randomness, TopicId, TopicPartition
from odradek.storage import names
from odradek.storage.checkpoints import (
    decode_clean_shutdown,
    decode_offsets,
    encode_clean_shutdown,
    encode_offsets,
)
from odradek.storage.config import LogConfig
from odradek.storage.data_folder import load_identity, take_folder
from odradek.storage.disk import Disk, replace_file
from odradek.storage.flush import FlushTicket
from odradek.storage.flush_journal import NOTHING_TOLD, Fact, Noted, Place, Told, read_facts
from odradek.storage.loading import UNKNOWN_OFFSET, Found, create_log
from odradek.storage.log import Log
from odradek.storage.recover_job import LogRecovered
from odradek.storage.recovering import Recovering
from odradek.storage.removal import Garbage, Remover
from odradek.storage.retention import retention_plan
from odradek.storage.segment import Segment
from odradek.storage.volume import Volume

log = logging.getLogger("odradek.storage")

CLOSED_AT_ONCE = 64
"""Logs whose closing files are flushed together: each holds descriptors until then."""
Progress = Callable[[int, int, TopicPartition], None]
"""Called as (partitions done, partitions in all, the one just opened)."""


class LogStore:
    """The logs under one data folder. Made by :meth:`open`; whoever opened it closes it."""

    __slots__ = (
        "_garbage",
        "_lock",
        "_not_here",
        "_stale",
        "are_ends_known",
        "broker_epoch",
        "cleaner_points",
        "cluster_id",
        "directory_id",
        "disk",
        "folder",
        "has_ended_cleanly",
        "logs",
        "node_id",
        "previous_broker_epoch",
        "recovering",
        "remover",
        "volume",
        "was_clean",
    )

    def __init__(self, folder: str, volume: Volume, lock: int) -> None:
        self.folder = folder
        self.volume = volume
        self.disk = volume.disk
        self.logs: dict[TopicPartition, Log] = {}
        self.cleaner_points: dict[TopicPartition, int] = {}
        """Up to where compacted logs are clean."""
        self.cluster_id = self.directory_id = ""
        self.node_id = -1
        self.was_clean = self.has_ended_cleanly = False
        self.recovering = Recovering(volume, self.logs)
        """The logs that are still to be recovered, if :meth:`open` has left any."""
        self.broker_epoch = self.previous_broker_epoch = -1
        self.are_ends_known: Callable[[], bool] = lambda: True
        """Whether coordinators know of all ends of transactions that the logs know of. While they do not, the
        marker that a crash left may be all that tells of one."""
        self._lock = lock
        self._garbage: list[tuple[int, Garbage]] = []
        """(when it may go, monotonic; what)"""
        self.remover = Remover(volume.disk)
        self._not_here: dict[Place, Noted] = {}
        """What the flush journal told of logs that have no folder: deleted ones, for the most part."""
        self._stale: set[TopicPartition] = set()
        """Deleted partitions that the checkpoints on disk may still name."""
        volume.log_start_checkpoint = self._log_start_checkpoint
        volume.recovery_point_checkpoint = self._recovery_point_checkpoint

    @classmethod
    def open(
        cls,
        folder: str,
        disk: Disk,
        clock: Clock,
        randomness: Randomness,
        *,
        node_id: int = 1,
        cluster_id: str | None = None,
        config_of: Callable[[TopicPartition], LogConfig] | None = None,
        progress: Progress | None = None,
        at_once_bytes: int | None = None,
    ) -> LogStore:
        """Lock the folder, made if need be, and open every log in it, recovering those not closed cleanly.

        When more than ``at_once_bytes`` would have to be read for that, logs whose tail has to be looked at
        stay ``recovering``; None recovers all, whatever it takes.

        A new folder gets ``node_id`` and ``cluster_id`` (a fresh one when None); later they must agree.
        Raises StartupError when another broker holds the folder or it belongs to another node or cluster.
        """
        folder = folder.rstrip("/") or "/"
        lock = take_folder(disk, folder)
        store = cls(folder, Volume(disk, folder, randomness, lock), lock)
        started_ms = clock.monotonic_ms()
        try:
            identity = load_identity(disk, folder, randomness, node_id, cluster_id)
            store.node_id, store.cluster_id, store.directory_id = identity
            store._load_logs(clock.now_ms(), config_of or (lambda _: LogConfig()), progress, at_once_bytes)
            store._tell_of_recovery(clock.monotonic_ms() - started_ms)
        except BaseException:
            disk.close(lock)
            raise
        return store

    @property
    def lock(self) -> int:
        """The descriptor that holds the folder."""
        return self._lock

    def _load_logs(
        self,
        now_ms: int,
        config_of: Callable[[TopicPartition], LogConfig],
        progress: Progress | None,
        at_once_bytes: int | None,
    ) -> None:
        self._take_clean_marker()
        damaged: list[str] = []
        recovery_points = self._read_offsets(names.RECOVERY_POINTS, damaged)
        starts = self._read_offsets(names.LOG_STARTS, damaged)
        self.was_clean = self.was_clean and not damaged
        is_start_lost = names.LOG_STARTS in damaged
        self.cleaner_points = self._read_offsets(names.CLEANER_POINTS, [])
        told = read_facts(self.disk, f"{self.folder}/{names.FLUSHED_OFFSETS}")
        flushed = NOTHING_TOLD if self.was_clean else told
        partitions = []
        for entry in self.disk.entries(self.folder):
            if entry.name == names.KAFKA_METADATA_FOLDER:
                continue
            if entry.is_folder and names.is_deleted_folder(entry.name):
                self.volume.garbage.append(Garbage(f"{self.folder}/{entry.name}", 0, True))
            elif entry.is_folder and (partition := names.parse_folder_name(entry.name)) is not None:
                partitions.append(partition)
        founds = {
            partition: Found(
                recovery_points.get(partition, UNKNOWN_OFFSET),
                starts.get(partition, UNKNOWN_OFFSET),
                self.was_clean,
                flushed,
                is_start_lost,
            )
            for partition in sorted(partitions)
        }
        if not self.was_clean and at_once_bytes is not None and not is_start_lost:
            self.recovering.look_at(founds, at_once_bytes)
        for number, (partition, found) in enumerate(founds.items(), 1):
            self.logs[partition] = self.recovering.open(partition, config_of(partition), found, now_ms)
            if progress is not None:
                progress(number, len(partitions), partition)
        known = recovery_points.keys() | starts.keys() | self.cleaner_points.keys()
        self._stale = known - self.logs.keys()
        self.cleaner_points = {
            partition: offset
            for partition, offset in self.cleaner_points.items()
            if partition in self.logs and self._may_be_clean_to(self.logs[partition], offset)
        }
        if not self.was_clean and self.logs and not self.recovering.is_needed:
            self._sync_recovered()
            self.volume.write_recovery_points()
        here = {(each.topic_id, each.topic_partition.partition) for each in self.logs.values()}
        self._not_here = {place: told.of(place) for place in told.facts.keys() - here}
        self.volume.journal.start(self._facts_to_keep(flushed), flushed)
        if not self.was_clean:  # a power cut may follow the crash, and take what the last one did not sync
            with contextlib.suppress(OSError):
                self.volume.journal.sync()

    def _tell_of_recovery(self, took_ms: int) -> None:
        if self.was_clean or not self.logs or self.recovering.is_needed:  # that tells of itself
            return
        logs = self.logs.values()
        read = [sum(part.size for part in each.segments if not part.unchecked_to) for each in logs]
        damaged = sum(each.offline is not None for each in logs)
        log.info(
            "recovery: the last stop was not clean; %d of %d partitions had something to check, %.1f MB, and"
            " it took %.2f s; %d are damaged",
            *(sum(map(bool, read)) + damaged, len(read), sum(read) / 1e6, took_ms / 1_000, damaged),
        )

    def _may_be_clean_to(self, log: Log, offset: int) -> bool:
        return log.is_recovering or offset <= log.log_end_offset

    def _facts_to_keep(self, told: Told) -> list[Fact]:
        """Up to where logs are flushed: without the checkpoint, which says so, too, but may be damaged, the
        next start would take other damage for a torn tail. Of a log that could not be opened, what was told
        before. Nor is anything forgotten that may be about a log which does not tell whose it is."""
        kept, places, unclear = [], set(), set()
        for log in self.logs.values():
            place = (log.topic_id, log.topic_partition.partition)
            places.add(place)
            if log.topic_id == ZERO_ID or log.offline is not None:
                unclear.add(place[1])
            if log.topic_id == ZERO_ID:
                continue
            if log.offline is None:
                if log.flushed_offset > 0:
                    kept.append(Fact(*place, log.flushed_offset))
            elif not self.was_clean and (noted := told.of(place)) != (0, True):
                kept.append(noted.as_fact(place))
        others = [place for place in told.facts if place not in places and place[1] in unclear]
        return kept + [told.of(place).as_fact(place) for place in others]

    def _take_clean_marker(self) -> None:
        path = f"{self.folder}/{names.CLEAN_SHUTDOWN}"
        self.was_clean = self.disk.exists(path)
        if self.was_clean:
            try:
                self.previous_broker_epoch = decode_clean_shutdown(self.disk.read_file(path))
            except ValueError:
                log.warning("%s is damaged: the logs are recovered as after a crash", path)
                self.was_clean = False
            self.disk.remove(path)
            self.disk.sync_folder(self.folder)

    def _read_offsets(self, name: str, damaged: list[str]) -> dict[TopicPartition, int]:
        """A checkpoint, empty when there is none; one that is damaged is noted among the ``damaged``."""
        path = f"{self.folder}/{name}"
        if not self.disk.exists(path):
            return {}
        try:
            return decode_offsets(self.disk.read_file(path))
        except ValueError as error:
            log.warning("%s is damaged (%s); what it said is found out anew", path, error)
            damaged.append(name)
            return {}

    def _sync_recovered(self) -> None:
        """Everything that recovery accepted counts as flushed from now on, so it has to be."""
        if not self.disk.sync_file_system(self._lock):
            for log in self.logs.values():
                if not log.is_recovering:
                    log.sync_files()

    # -- partitions

    def create(
        self, topic_partition: TopicPartition, topic_id: TopicId, config: LogConfig, now_ms: int
    ) -> Log:
        """A new, empty log. Raises ``OSError``; ``ValueError`` when there is one already."""
        if topic_partition in self.logs:
            raise ValueError(f"{topic_partition} exists")
        folder = f"{self.folder}/{names.folder_name(topic_partition)}"
        if topic_partition in self.recovering.busy:
            raise OSError(errno.EBUSY, "a log of that name, now deleted, is still being recovered", folder)
        if self.disk.exists(folder):  # a deletion, or a creation, came to nothing half-way
            self._set_aside(topic_partition, folder, config)
        self.volume.journal.retract(Fact(topic_id, topic_partition.partition, 0))
        log = create_log(self.volume, topic_partition, topic_id, config, now_ms)
        self.logs[topic_partition] = log
        if topic_partition in self._stale:
            # What they say of an earlier topic of that name would be believed of this one after a crash.
            try:
                for path, content in (self._recovery_point_checkpoint(), self._log_start_checkpoint()):
                    self.volume.checkpoint_write(path, content)()
                if self.disk.exists(f"{self.folder}/{names.CLEANER_POINTS}"):
                    self.cleaner_checkpoint_write()()
            except OSError:
                del self.logs[topic_partition]
                log.leave()
                raise
            self._stale.clear()
        return log

    def what_was_lost(self, topic_partition: TopicPartition, topic_id: TopicId) -> DamageError | None:
        """Why a log that is not here must not be made anew: it has held records. Who took its folder away
        may put it back."""
        place = (topic_id, topic_partition.partition)
        noted = self._not_here.get(place)
        if noted is None or not noted.offset:
            return None
        self.volume.journal.note([noted.as_fact(place)])  # for the next start
        folder = f"{self.folder}/{names.folder_name(topic_partition)}"
        return DamageError(folder, 0, noted.as_lost)

    def stand_in(
        self,
        topic_partition: TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
        now_ms: int,
        error: OSError | DamageError | None = None,
    ) -> Log:
        """An offline log that is not kept here, for one that could not be made, or must not be, because of
        ``error``.

        Without an error it is to be made soon, and nobody is told that it is offline.
        """
        folder = f"{self.folder}/{names.folder_name(topic_partition)}"
        segment = Segment(self.disk, folder, 0, 0, now_ms, is_active=True)
        log = Log(self.volume, folder, topic_partition, topic_id, config, [segment], 0, 0, [])
        log.refused_first = {}
        if error is None:
            log.offline = DamageError(folder, 0, "it is being made")
        elif isinstance(error, DamageError):
            log.refused_first = None
            log.go_offline(error)
        else:
            log.go_offline(DamageError(folder, 0, f"it cannot be made: {error}"))
        return log

    def delete(self, topic_partition: TopicPartition) -> None:
        """Take a log out of use; its folder is renamed now and removed by :meth:`collect_garbage`."""
        log = self.logs.pop(topic_partition)
        self.recovering.forget(topic_partition)
        self.cleaner_points.pop(topic_partition, None)
        self._stale.add(topic_partition)
        log.leave()
        self._set_aside(topic_partition, log.folder, log.config)

    def _set_aside(self, topic_partition: TopicPartition, folder: str, config: LogConfig) -> None:
        unique = self.volume.randomness.randbytes(16).hex()
        gone = f"{self.folder}/{names.deleted_folder_name(topic_partition, unique)}"
        self.disk.rename(folder, gone)
        self.volume.garbage.append(Garbage(gone, config.file_delete_delay_ms, True))

    def collect_garbage(self, monotonic_ms: int) -> Callable[[], None] | None:
        """Removal of what has been out of use for ``file.delete.delay.ms``, to be run in any thread.

        None when there is nothing. The delay counts from the first look after the deletion.
        """
        fresh, self.volume.garbage = self.volume.garbage, []
        waiting = self._garbage + [(monotonic_ms + each.delay_ms, each) for each in fresh]
        due = [each for due_ms, each in waiting if due_ms <= monotonic_ms]
        self._garbage = [entry for entry in waiting if entry[0] > monotonic_ms]
        return partial(self.remover.remove, due) if due else None

    def apply_retention(self, now_ms: int) -> int:
        """Delete what ``retention.ms`` and ``retention.bytes`` say; the bytes that went."""
        return sum(self.retention_pass(now_ms))

    def retention_pass(self, now_ms: int) -> Iterator[int]:
        """The same, log by log, for whoever has other things to do in between."""
        for log in list(self.logs.values()):
            if log.offline is None:
                try:
                    yield self._retain(log, now_ms)
                except (DamageError, OSError) as error:
                    log.failed(error)
                except ApiError:
                    continue  # no room for a new segment: the old ones of other logs may make some

    def _retain(self, log: Log, now_ms: int) -> int:
        plan = retention_plan(log, now_ms)
        if plan is None:
            return 0
        if plan.roll:
            log.roll(now_ms)
        return log.delete_segments_before(plan.delete_before)

    def expire_producers(self, now_ms: int) -> int:
        """Forget producers quiet for ``producer.id.expiration.ms``, in logs where any are in memory."""
        expiration_ms, keeps_ended = self.volume.producer_expiration_ms, not self.are_ends_known()
        return sum(
            log.expire_producers(now_ms, expiration_ms, keeps_ended=keeps_ended) for log in self.logs.values()
        )

    def set_tight(self, is_tight: bool) -> None:
        """Whether batches are to be looked at one by one, for want of room."""
        self.volume.is_tight = is_tight
        for each in self.logs.values():
            each.config = each.config

    def recovered(self, part: LogRecovered, now_ms: int) -> Log | None:
        """Take over what a ``recover`` job found: the log, offline when it is damaged; None when it was
        deleted meanwhile. Raises what :meth:`Recovering.finish` does."""
        log = self.recovering.finish(part, now_ms)
        if log is not None:
            partition = log.topic_partition
            self.logs[partition] = log
            if not self._may_be_clean_to(log, self.cleaner_points.get(partition, 0)):
                del self.cleaner_points[partition]
        return log

    # -- flushing

    def begin_flush(self, now_ms: int) -> FlushTicket | None:
        """A ticket to be run in any thread; None when nothing is due or one is in flight."""
        return self.volume.begin_flush(now_ms)

    def finish_flush(self, ticket: FlushTicket) -> list[Log]:
        """Take in a ticket that was run; the logs whose flushed offset (and high watermark) moved."""
        return cast("list[Log]", self.volume.finish_flush(ticket))

    def flush(self, now_ms: int) -> list[Log]:
        """Begin, run and finish a flush right here."""
        ticket = self.begin_flush(now_ms)
        if ticket is None:
            return []
        ticket.run()
        return self.finish_flush(ticket)

    # -- checkpoints

    def checkpoint_writes(self) -> list[Callable[[], None]]:
        """Calls that write the three offset checkpoints as of now, in any thread. They raise ``OSError``."""
        watermarks = {log.topic_partition: log.high_watermark for log in self.logs.values()}
        files = [
            self._recovery_point_checkpoint(),
            self._log_start_checkpoint(),
            (f"{self.folder}/{names.HIGH_WATERMARKS}", encode_offsets(watermarks)),
        ]
        return [self.volume.checkpoint_write(path, content) for path, content in files]

    def cleaner_checkpoint_write(self) -> Callable[[], None]:
        """A call that writes up to where logs are clean, in any thread. It raises ``OSError``."""
        points = {
            partition: offset for partition, offset in self.cleaner_points.items() if partition in self.logs
        }
        return self.volume.checkpoint_write(f"{self.folder}/{names.CLEANER_POINTS}", encode_offsets(points))

    def _recovery_point_checkpoint(self) -> tuple[str, bytes]:
        points = {log.topic_partition: log.recovery_point for log in self.logs.values()}
        return f"{self.folder}/{names.RECOVERY_POINTS}", encode_offsets(points)

    def _log_start_checkpoint(self) -> tuple[str, bytes]:
        starts = {
            log.topic_partition: log.log_start_offset
            for log in self.logs.values()
            if log.log_start_offset > log.segments[0].base_offset
        }
        return f"{self.folder}/{names.LOG_STARTS}", encode_offsets(starts)

    def write_checkpoints(self) -> None:
        """Write the three offset checkpoints right here. Raises ``OSError``."""
        for write in self.checkpoint_writes():
            write()

    def close(self, now_ms: int, *, clean: bool = True) -> None:
        """Close all logs and give the folder back; when ``clean``, so that the next start scans nothing.

        A flush in flight must be finished first.
        """
        try:
            if clean:
                unclosed = 0
                for each in self.logs.values():
                    try:
                        each.write_closing_files()
                    except OSError as error:
                        unclosed += 1
                        log.error("%s cannot be closed, the next start checks it: %s", each.folder, error)
                    if len(self.volume.dirty) >= CLOSED_AT_ONCE:
                        self.flush(now_ms)
                self.flush(now_ms)
                self.write_checkpoints()
                if not unclosed and all(each.is_settled for each in self.logs.values()):
                    marker = encode_clean_shutdown(self.broker_epoch)
                    replace_file(self.disk, f"{self.folder}/{names.CLEAN_SHUTDOWN}", marker)
                    self.has_ended_cleanly = True
        finally:
            for each in self.logs.values():
                each.close()
            self.volume.journal.close()
            self.disk.close(self._lock)
