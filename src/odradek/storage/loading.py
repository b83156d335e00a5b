"""From a partition's folder to its :class:`Log`, and making the folder of a new one.

Source: ``LogLoader``.
"""

from collections.abc import Mapping
from typing import NamedTuple

from odradek.core.errors import DamageError
from odradek.core.ids import ZERO_ID, TopicId, TopicPartition
from odradek.storage import names
from odradek.storage.checkpoints import decode_partition_metadata, encode_partition_metadata
from odradek.storage.config import LogConfig
from odradek.storage.disk import Disk, write_all
from odradek.storage.flush_journal import UNSURE, Place
from odradek.storage.log import Log
from odradek.storage.recovery import load_epochs, recover, write_again
from odradek.storage.segment import Segment
from odradek.storage.swap import finish_swaps
from odradek.storage.volume import Volume

UNKNOWN_OFFSET = -1


class Found(NamedTuple):
    """What the checkpoints and the last stop tell of a partition; -1 where they tell nothing.

    ``flushed`` is what the flush journal tells, of all partitions: whose folder it is, only that itself says.
    None when there is no journal.
    """

    recovery_point: int = UNKNOWN_OFFSET
    log_start_offset: int = UNKNOWN_OFFSET
    is_clean: bool = False
    flushed: Mapping[Place, int] | None = None
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
    """
    try:
        return _load_log(volume, topic_partition, config, found, now_ms)
    except (DamageError, OSError) as error:
        folder = f"{volume.folder}/{names.folder_name(topic_partition)}"
        damage = error if isinstance(error, DamageError) else DamageError(folder, 0, str(error))
        segment = Segment(volume.disk, folder, 0, 0, now_ms, is_active=True)
        start_offset = max(found.log_start_offset, 0)
        end_offset = max(found.recovery_point, start_offset)
        topic_id = _known_topic_id(volume.disk, folder)
        log = Log(volume, folder, topic_partition, topic_id, config, [segment], start_offset, end_offset, [])
        log.recovery_point = max(found.recovery_point, 0)  # as it was: nothing was found out
        log.go_offline(damage)
        return log


def _load_log(
    volume: Volume, topic_partition: TopicPartition, config: LogConfig, found: Found, now_ms: int
) -> Log:
    disk = volume.disk
    folder = f"{volume.folder}/{names.folder_name(topic_partition)}"
    topic_id = _read_topic_id(disk, folder)
    segments, snapshots = _list_files(disk, folder, now_ms)
    if not segments:
        segments = _start_over(disk, folder, [], snapshots, max(found.log_start_offset, 0), now_ms)
    recovered = None
    if found.is_clean:
        end_offset = _clean_end(segments[-1], found.recovery_point)
    else:
        point, interval_bytes = max(found.recovery_point, 0), config.index_interval_bytes
        place = (topic_id, topic_partition.partition)
        noted = UNSURE if found.flushed is None else found.flushed.get(place, 0)
        flushed = max(noted, point)
        try:
            recovered = recover(
                topic_partition, disk, folder, segments, snapshots, point, flushed, interval_bytes
            )
            if noted == UNSURE or topic_id == ZERO_ID:
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
            _confirm_start(disk, folder, volume.folder, start_offset, end_offset)
        segments, end_offset = (
            _start_over(disk, folder, segments, snapshots, start_offset, now_ms),
            start_offset,
        )
        recovered = None
    log = Log(
        volume, folder, topic_partition, topic_id, config, segments, start_offset, end_offset, snapshots
    )
    if recovered is not None:
        log.adopt(recovered, min(point, end_offset))
    return log


def _known_topic_id(disk: Disk, folder: str) -> TopicId:
    try:
        return _read_topic_id(disk, folder)
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


def _read_topic_id(disk: Disk, folder: str) -> TopicId:
    """Zeros when the file does not tell: never synced, or damaged. The metadata log knows the id, too."""
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
