"""From a partition's folder to its :class:`Log`, and making the folder of a new one.

Source: ``LogLoader``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from odradek.core.errors import DamageError
from odradek.core.ids import ZERO_ID, TopicId, TopicPartition
from odradek.storage import names
from odradek.storage.checkpoints import decode_partition_metadata, encode_partition_metadata
from odradek.storage.config import LogConfig
from odradek.storage.disk import PASSING, Disk, write_all
from odradek.storage.flush_journal import NOTHING_TOLD, Told
from odradek.storage.log import Log
from odradek.storage.recovery import Recovered, ignore_moved, load_epochs, recover, write_again
from odradek.storage.segment import Segment
from odradek.storage.swap import finish_swaps
from odradek.storage.volume import Volume

UNKNOWN_OFFSET = -1


class Found(NamedTuple):
    """What the checkpoints and the last stop tell of a partition; -1 where they tell nothing.

    ``flushed`` is what the flush journal tells, of all partitions: whose folder it is, only that itself says.
    """

    recovery_point: int = UNKNOWN_OFFSET
    log_start_offset: int = UNKNOWN_OFFSET
    is_clean: bool = False
    flushed: Told = NOTHING_TOLD
    is_start_lost: bool = False
    """The log start checkpoint is damaged: the leader epochs know it, too."""


def create_log(
    volume: Volume, topic_partition: TopicPartition, topic_id: TopicId, config: LogConfig, now_ms: int
) -> Log:
    """Make a partition's folder with an empty log; durable with the next flush, which needs its descriptor.

    Raises ``OSError``.
    """
    disk = volume.disk
    folder = f"{volume.folder}/{names.folder_name(topic_partition)}"
    disk.make_folder(folder)
    pending = [_write_new(disk, f"{folder}/{names.PARTITION_METADATA}", encode_partition_metadata(topic_id))]
    segment = Segment(disk, folder, 0, 0, now_ms, is_active=True)
    try:
        segment.create()
        segment.close()
    except OSError:
        disk.close(pending[0])
        raise
    segment.roll_jitter_ms = volume.roll_jitter_ms(config)
    log = Log(volume, folder, topic_partition, topic_id, config, [segment], 0, 0, [])
    log.sync_later(pending, [folder, volume.folder])
    log.request_flush()
    return log


def name_topic(log: Log, topic_id: TopicId) -> None:
    """Write anew to whom a log belongs, once its file does not tell it any more. Raises ``OSError``."""
    disk = log.volume.disk
    path = f"{log.folder}/{names.PARTITION_METADATA}"
    log.sync_later([_write_new(disk, path, encode_partition_metadata(topic_id))], [log.folder])
    log.topic_id = topic_id
    log.request_flush()


def _write_new(disk: Disk, path: str, content: bytes) -> int:
    fd = disk.open(path, create=True)
    try:
        disk.truncate(fd, 0)
        write_all(disk, fd, content, 0)
    except OSError:
        disk.close(fd)
        raise
    return fd


def load_log(
    volume: Volume, topic_partition: TopicPartition, config: LogConfig, found: Found, now_ms: int
) -> Log:
    """Open a partition's folder. Without a clean stop its tail is recovered; the caller then has to sync it.

    A log that is damaged or cannot be read is returned offline, with what the checkpoints tell of it.
    Raises ``OSError`` for want of descriptors, memory or room (``PASSING``), which says nothing of the log.
    """
    try:
        return _load_log(volume, topic_partition, config, found, now_ms)
    except (DamageError, OSError) as error:
        if isinstance(error, OSError) and error.errno in PASSING:
            raise
        log = _unread(volume, topic_partition, config, found, now_ms)
        log.go_offline(error if isinstance(error, DamageError) else DamageError(log.folder, 0, str(error)))
        return log


def _unread(
    volume: Volume, topic_partition: TopicPartition, config: LogConfig, found: Found, now_ms: int
) -> Log:
    """In the place of a log whose files were not read, or could not be."""
    folder = f"{volume.folder}/{names.folder_name(topic_partition)}"
    segment = Segment(volume.disk, folder, 0, 0, now_ms, is_active=True)
    start_offset = max(found.log_start_offset, 0)
    end_offset = max(found.recovery_point, start_offset)
    topic_id = known_topic_id(volume.disk, folder)
    log = Log(volume, folder, topic_partition, topic_id, config, [segment], start_offset, end_offset, [])
    log.recovery_point = max(found.recovery_point, 0)  # as it was: nothing was found out
    return log


# -- in the background


def measure_tail(disk: Disk, data_folder: str, topic_partition: TopicPartition, found: Found) -> int | None:
    """How many bytes of a partition an unclean stop makes us read; None when its last segment is empty and
    all below was flushed, so that there is nothing to recover.

    Nothing but the folder is looked at. Raises ``OSError``.
    """
    folder = f"{data_folder}/{names.folder_name(topic_partition)}"
    point = max(found.recovery_point, 0)
    entries = [entry.name for entry in disk.entries(folder)]
    files = [parsed for name in entries if (parsed := names.parse_file_name(name)) is not None]
    bases = sorted(offset for offset, suffix in files if suffix == names.LOG)
    first = max((base for base in bases if base <= point), default=0)
    paths = [f"{folder}/{names.file_name(base, names.LOG)}" for base in bases if base >= first]
    size = sum(disk.file_size(path) for path in paths)
    is_empty = (
        size == 0
        and bases[-1:] == [point]
        and not any(name.endswith(names.SWAP) for name in entries)
        and all(offset <= point for offset, _ in files)
        and not any(
            disk.file_size(f"{folder}/{names.file_name(offset, suffix)}")
            for offset, suffix in files
            if offset == point and suffix != names.SNAPSHOT  # Kafka sets room for indexes aside
        )
        and found.log_start_offset <= point
        and found.flushed.of((known_topic_id(disk, folder), topic_partition.partition)).offset <= point
    )
    return None if is_empty else size


def load_empty_tail(
    volume: Volume, topic_partition: TopicPartition, config: LogConfig, found: Found, now_ms: int
) -> Log:
    """Open a partition of whose last segment :func:`measure_tail` says that there is nothing to recover.
    Raises what :func:`load_log` does."""
    log = load_log(volume, topic_partition, config, found._replace(is_clean=True), now_ms)
    if log.offline is None:
        log.sync_later([], [log.folder, volume.folder])  # with what is written next: names may be new
    return log


def stand_in_for(
    volume: Volume, topic_partition: TopicPartition, config: LogConfig, found: Found, now_ms: int
) -> Log:
    """A log in the place of one that is still to be recovered. It serves nothing."""
    log = _unread(volume, topic_partition, config, found, now_ms)
    log.is_recovering = True
    log.refused_first = {}
    log.offline = DamageError(log.folder, 0, "it is being recovered")
    return log


def take_over(stand_in: Log, restored: Restored, flushed_offset: int, *, is_synced: bool, now_ms: int) -> Log:
    """The log that ``stand_in`` stands for, once its files are in order: cheap, only the folder is read.

    Unless it ``is_synced``, what lies above ``flushed_offset`` counts as appended, but not as flushed.
    A log that cannot be opened is returned offline. Raises ``OSError`` for what passes (``PASSING``).
    """
    volume, partition = stand_in.volume, stand_in.topic_partition
    try:
        segments, snapshots = _list_files(volume.disk, stand_in.folder, now_ms)
    except OSError as error:
        if error.errno in PASSING:
            raise
        return fail(stand_in, DamageError(stand_in.folder, 0, str(error)))
    if restored.recovered is not None:
        for segment in segments:
            if segment.base_offset >= restored.recovered.checked_from:
                segment.unchecked_to = 0
    log = _made(volume, partition, stand_in.topic_id, stand_in.config, restored, segments, snapshots)
    if not is_synced:
        log.count_as_unflushed(flushed_offset, restored.recovery_point)
    log.take_place_of(stand_in)
    return log


def fail(stand_in: Log, damage: DamageError) -> Log:
    """The log cannot be recovered: it stays where it is, offline, as it was found."""
    stand_in.is_recovering = False
    stand_in.refused_first = None
    stand_in.offline = None
    stand_in.go_offline(damage)
    return stand_in


def _load_log(
    volume: Volume, topic_partition: TopicPartition, config: LogConfig, found: Found, now_ms: int
) -> Log:
    folder = f"{volume.folder}/{names.folder_name(topic_partition)}"
    topic_id = read_topic_id(volume.disk, folder)
    restored, segments, snapshots = restore(
        volume.disk, volume.folder, topic_partition, topic_id, found, config.index_interval_bytes, now_ms
    )
    return _made(volume, topic_partition, topic_id, config, restored, segments, snapshots)


class Restored(NamedTuple):
    """What a partition's files hold, now that they are in order.

    ``recovered`` is None where no batch was looked at; ``recovery_point`` is the one that recovery began at.
    """

    start_offset: int
    end_offset: int
    recovery_point: int
    recovered: Recovered | None


def restore(
    disk: Disk,
    data_folder: str,
    topic_partition: TopicPartition,
    topic_id: TopicId,
    found: Found,
    index_interval_bytes: int,
    now_ms: int,
    moved: Callable[[int], None] = ignore_moved,
) -> tuple[Restored, list[Segment], list[int]]:
    """Put a partition's files in order, and without a clean stop recover its tail, which then has to be
    synced. Also its segments, closed, and the offsets of its snapshots.

    ``moved`` is told of the bytes as they are read. Raises DamageError, OSError, and what ``moved`` does.
    """
    folder = f"{data_folder}/{names.folder_name(topic_partition)}"
    segments, snapshots = _list_files(disk, folder, now_ms)
    if not segments:
        segments = _start_over(disk, folder, [], snapshots, max(found.log_start_offset, 0), now_ms)
    recovered = None
    point = max(found.recovery_point, 0)
    if found.is_clean:
        end_offset = _clean_end(segments[-1], found.recovery_point)
    else:
        noted = found.flushed.of((topic_id, topic_partition.partition))
        flushed = max(noted.offset, point)
        try:
            recovered = recover(
                topic_partition,
                disk,
                folder,
                segments,
                snapshots,
                point,
                flushed,
                index_interval_bytes,
                moved,
            )
            if not noted.is_sure or topic_id == ZERO_ID:
                write_again(disk, segments, flushed)
        finally:
            for segment in segments:
                segment.close()
        end_offset = recovered.log_end_offset
    start_offset = max(found.log_start_offset, segments[0].base_offset)
    if found.is_start_lost:
        noted_epochs = load_epochs(disk, folder, end_offset).entries
        start_offset = max(start_offset, noted_epochs[0][1] if noted_epochs else 0)
    if start_offset > end_offset:
        if any(segment.size for segment in segments):
            _confirm_start(disk, folder, data_folder, start_offset, end_offset)
        segments = _start_over(disk, folder, segments, snapshots, start_offset, now_ms)
        end_offset, recovered = start_offset, None
    return Restored(start_offset, end_offset, min(point, end_offset), recovered), segments, snapshots


def _made(
    volume: Volume,
    topic_partition: TopicPartition,
    topic_id: TopicId,
    config: LogConfig,
    restored: Restored,
    segments: list[Segment],
    snapshots: list[int],
) -> Log:
    folder = f"{volume.folder}/{names.folder_name(topic_partition)}"
    start, end = restored.start_offset, restored.end_offset
    log = Log(volume, folder, topic_partition, topic_id, config, segments, start, end, snapshots)
    if restored.recovered is not None:
        log.adopt(restored.recovered, restored.recovery_point)
    return log


def known_topic_id(disk: Disk, folder: str) -> TopicId:
    """Whose a partition's folder is; zeros where that cannot be read."""
    try:
        return read_topic_id(disk, folder)
    except OSError:
        return ZERO_ID


def _list_files(disk: Disk, folder: str, now_ms: int) -> tuple[list[Segment], list[int]]:
    """The segments and the offsets of the snapshots in a folder; leftovers are removed."""
    found = [entry.name for entry in disk.entries(folder)]
    if any(name.endswith(names.SWAP) for name in found):
        finish_swaps(disk, folder, found)
        found = [entry.name for entry in disk.entries(folder)]
    sizes: dict[int, int] = {}
    others: list[tuple[int, str]] = []
    for name in found:
        parsed = names.parse_file_name(name)
        if parsed is None:
            if name.endswith((names.DELETED, names.CLEANED, names.TEMPORARY)):
                disk.remove(f"{folder}/{name}")
        elif parsed[1] == names.LOG:
            sizes[parsed[0]] = disk.file_size(f"{folder}/{name}")
        else:
            others.append(parsed)
    bases = sorted(sizes)
    snapshots = sorted(offset for offset, suffix in others if suffix == names.SNAPSHOT)
    kept = [offset for offset in snapshots if offset in sizes or offset == snapshots[-1]]
    for offset, suffix in others:
        if offset not in sizes and not (suffix == names.SNAPSHOT and offset in kept):
            disk.remove(f"{folder}/{names.file_name(offset, suffix)}")
    segments = [
        Segment(disk, folder, base, sizes[base], now_ms, is_active=base == bases[-1]) for base in bases
    ]
    return segments, kept


def read_topic_id(disk: Disk, folder: str) -> TopicId:
    """Zeros when the file does not tell: never synced, or damaged. The metadata log knows the id, too.
    Raises ``OSError``."""
    try:
        return decode_partition_metadata(disk.read_file(f"{folder}/{names.PARTITION_METADATA}"))
    except (FileNotFoundError, ValueError):
        return ZERO_ID


def _clean_end(last: Segment, recovery_point: int) -> int:
    """Where a cleanly closed log ends: at its recovery point, unless that cannot be."""
    if last.size == 0:
        return last.base_offset
    if recovery_point > last.base_offset:
        return recovery_point  # the first append makes sure
    end_offset = last.next_offset()
    last.close()
    return end_offset


def _confirm_start(disk: Disk, folder: str, data_folder: str, start_offset: int, end_offset: int) -> None:
    """All of a log is to be dropped because one file says where it starts: another has to say so, too."""
    epochs = load_epochs(disk, folder, 1 << 63).entries
    if epochs and epochs[0][1] >= start_offset:
        return
    reason = f"it says that {folder} starts at offset {start_offset}, beyond its end {end_offset}"
    raise DamageError(f"{data_folder}/{names.LOG_STARTS}", 0, reason)


def _start_over(
    disk: Disk,
    folder: str,
    segments: list[Segment],
    snapshots: list[int],
    start_offset: int,
    now_ms: int,
) -> list[Segment]:
    """All that is left lies below the log's start: begin there, empty, as Kafka does."""
    for segment in segments:
        segment.close()
        for path in segment.file_names():
            disk.remove(path)
    for offset in snapshots:
        disk.remove(f"{folder}/{names.file_name(offset, names.SNAPSHOT)}")
    snapshots.clear()
    fresh = Segment(disk, folder, start_offset, 0, now_ms, is_active=True)
    fresh.create()
    fresh.close()
    return [fresh]
