"""Partitions of another broker's data folder, Kafka's or ours: looked at, and copied into a store of our own.

The other folder is locked meanwhile and nothing in it is changed. A copy lies under the name of a deleted
partition until it is whole and on disk: a start after a crash removes it.
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from odradek.core.errors import DamageError, StartupError
from odradek.core.ids import ZERO_ID, TopicId, TopicPartition
from odradek.records.batch import check_crc, iterate_batches
from odradek.records.errors import CorruptBatchError
from odradek.storage import names
from odradek.storage.checkpoints import decode_offsets, decode_partition_metadata
from odradek.storage.config import LogConfig
from odradek.storage.disk import Disk, LockHeldError, reading, write_all
from odradek.storage.flush_journal import NOTHING_TOLD, read_facts
from odradek.storage.loading import UNKNOWN_OFFSET, Found, load_log
from odradek.storage.log import Log
from odradek.storage.store import LogStore

COPY_BYTES = 4 * 1024 * 1024
_KEPT_FILES = (names.LEADER_EPOCHS, names.PARTITION_METADATA)


class ForeignPartition(NamedTuple):
    """One partition's folder. ``size`` is that of its segments; ``topic_id`` is zeros when it is not told."""

    partition: TopicPartition
    folder: str
    size: int
    first_offset: int
    topic_id: TopicId
    found: Found


class ForeignFolder:
    """A data folder that nobody uses; close it when done. Raises ``OSError`` and :class:`StartupError`."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self.folder = folder.rstrip("/") or "/"
        self.disk = disk
        self.partitions: list[ForeignPartition] = []
        self.others: list[str] = []
        """Names of folders in it that are no partitions."""
        if not disk.exists(f"{self.folder}/{names.META_PROPERTIES}"):
            raise StartupError(f"{self.folder} is no data folder: it has no {names.META_PROPERTIES}")
        try:
            self._lock = disk.lock(f"{self.folder}/{names.LOCK}")
        except LockHeldError as error:
            raise StartupError(
                f"{self.folder} is in use by {error.holder or 'a broker'}; stop it first"
            ) from error
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gives the folder back as it was."""
        with contextlib.suppress(OSError):
            self.disk.truncate(self._lock, 0)
        self.disk.close(self._lock)

    def _look(self) -> None:
        self.is_clean = self.disk.exists(f"{self.folder}/{names.CLEAN_SHUTDOWN}")
        points = self._offsets(names.RECOVERY_POINTS)
        starts = self._offsets(names.LOG_STARTS)
        # Kafka keeps none: there the recovery point is all that is known to have been flushed.
        flushed = NOTHING_TOLD
        if not self.is_clean:
            flushed = read_facts(self.disk, f"{self.folder}/{names.FLUSHED_OFFSETS}")
        for entry in sorted(self.disk.entries(self.folder)):
            if not entry.is_folder:
                continue
            partition = names.parse_folder_name(entry.name)
            if partition is None or entry.name == names.KAFKA_METADATA_FOLDER:
                self.others.append(entry.name)
                continue
            found = Found(
                points.get(partition, UNKNOWN_OFFSET),
                starts.get(partition, UNKNOWN_OFFSET),
                self.is_clean,
                flushed,
            )
            self.partitions.append(self._partition(partition, f"{self.folder}/{entry.name}", found))

    def _offsets(self, name: str) -> dict[TopicPartition, int]:
        path = f"{self.folder}/{name}"
        if not self.disk.exists(path):
            return {}
        try:
            return decode_offsets(self.disk.read_file(path))
        except ValueError as error:
            raise StartupError(f"{path} is damaged: {error}") from error

    def _partition(self, partition: TopicPartition, folder: str, found: Found) -> ForeignPartition:
        size, first_offset = 0, -1
        for entry in self.disk.entries(folder):
            parsed = names.parse_file_name(entry.name)
            if parsed is not None and parsed[1] == names.LOG:
                size += self.disk.file_size(f"{folder}/{entry.name}")
                first_offset = parsed[0] if first_offset < 0 else min(first_offset, parsed[0])
        topic_id = ZERO_ID
        path = f"{folder}/{names.PARTITION_METADATA}"
        if self.disk.exists(path):
            with contextlib.suppress(ValueError):
                topic_id = decode_partition_metadata(self.disk.read_file(path))
        start = max(found.log_start_offset, first_offset, 0)
        return ForeignPartition(partition, folder, size, start, topic_id, found)

    def metadata_files(self) -> Iterator[tuple[str, bytes]]:
        """Snapshots and segments of Kafka's own metadata log, by name."""
        folder = f"{self.folder}/{names.KAFKA_METADATA_FOLDER}"
        if self.disk.exists(folder):
            for entry in sorted(self.disk.entries(folder)):
                if entry.name.endswith((names.LOG, ".checkpoint")):
                    yield entry.name, self.disk.read_file(f"{folder}/{entry.name}")


def copy_partition(store: LogStore, foreign: ForeignPartition, config: LogConfig, now_ms: int) -> Log:
    """Copies ``foreign`` into ``store``, every batch checked, and opens it there, recovering its tail when it
    was not closed cleanly.

    Raises :class:`DamageError` when what had been flushed cannot be read, and ``OSError``; then nothing is
    left of it.
    """
    disk = store.disk
    unique = store.volume.randomness.randbytes(16).hex()
    draft = f"{store.folder}/{names.deleted_folder_name(foreign.partition, unique)}"
    final = f"{store.folder}/{names.folder_name(foreign.partition)}"
    noted = foreign.found.flushed.of((foreign.topic_id, foreign.partition.partition))
    flushed_offset = max(foreign.found.recovery_point, noted.offset)
    disk.make_folder(draft)
    try:
        for entry in disk.entries(foreign.folder):
            if _is_kept(entry.name):
                _copy_file(disk, f"{foreign.folder}/{entry.name}", f"{draft}/{entry.name}")
        for entry in sorted(disk.entries(draft)):
            if entry.name.endswith(names.LOG):
                original = f"{foreign.folder}/{entry.name}"
                _check_segment(disk, f"{draft}/{entry.name}", original, flushed_offset)
        disk.sync_folder(draft)
        disk.rename(draft, final)
        disk.sync_folder(store.folder)
    except BaseException:
        disk.remove_folder(draft)
        raise
    log = load_log(store.volume, foreign.partition, config, foreign.found, now_ms)
    if log.offline is not None:
        log.close()
        disk.remove_folder(final)
        raise log.offline
    store.logs[foreign.partition] = log
    if not foreign.found.is_clean:
        log.sync_files()
    return log


def _is_kept(name: str) -> bool:
    return names.parse_file_name(name) is not None or name in _KEPT_FILES or name.endswith(names.SWAP)


def _copy_file(disk: Disk, source: str, target: str) -> None:
    with reading(disk, source) as fd:
        writing = disk.open(target, create=True)
        try:
            position = 0
            while data := disk.pread(fd, COPY_BYTES, position):
                write_all(disk, writing, data, position)
                position += len(data)
            disk.sync(writing)
        finally:
            disk.close(writing)


def _check_segment(disk: Disk, path: str, original: str, flushed_offset: int) -> None:
    """Raises :class:`DamageError`, of ``original``, for a bad batch below ``flushed_offset``: what lies above
    it may be torn."""
    with reading(disk, path) as fd:
        size = disk.size(fd)
        if not size:
            return
        content = disk.map(fd, size)
        end, next_offset, problem = 0, 0, "it ends in the middle of a batch"
        try:
            for position, header in iterate_batches(content):
                check_crc(content, position, header)
                end, next_offset = position + header.size, header.next_offset
        except CorruptBatchError as error:
            problem = str(error)
        if end < size and next_offset < flushed_offset:
            raise DamageError(original, end, problem)
