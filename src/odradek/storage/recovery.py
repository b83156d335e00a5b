"""What is read back of a log: producers, leader epochs, and after an unclean stop the batches themselves.

Source: ``LogLoader.recoverLog``, ``LogSegment.recover``, ``UnifiedLog.rebuildProducerState``; FORMAT.md,
"Recovery", says what is a torn tail and what is damage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from odradek.core.errors import DamageError
from odradek.core.ids import TopicPartition
from odradek.records.batch import CRC_START, HEADER, HEADER_SIZE, LENGTH_OVERHEAD, MAGIC, BatchHeader
from odradek.records.control import read_marker
from odradek.records.crc import crc32c
from odradek.records.errors import CorruptBatchError, InvalidRecordsError
from odradek.records.record import read_records
from odradek.storage import names
from odradek.storage.checkpoints import decode_epochs
from odradek.storage.disk import Bytes, Disk, write_all
from odradek.storage.epochs import LeaderEpochs
from odradek.storage.index import LARGEST_RELATIVE_OFFSET
from odradek.storage.producers import AbortedTransaction, KeptBatch, Producers
from odradek.storage.segment import ROOM_FROM_BYTES, Segment
from odradek.storage.snapshots import SnapshotError, decode_snapshot

if TYPE_CHECKING:
    from odradek.storage.log_state import LogState

_SCAN_BYTES = 1024 * 1024
_RECALLED_BYTES = 512 * 1024
"""How far back batches that were in flight before a clean stop are looked for."""


def load_epochs(disk: Disk, folder: str, log_end_offset: int) -> LeaderEpochs:
    """The leader epochs noted for a log that ends at ``log_end_offset``; DamageError when unreadable."""
    path = f"{folder}/{names.LEADER_EPOCHS}"
    if not disk.exists(path):
        return LeaderEpochs([])
    try:
        epochs = LeaderEpochs(decode_epochs(disk.read_file(path)))
    except ValueError as error:
        raise DamageError(path, 0, str(error)) from error
    epochs.cut_end(log_end_offset)
    return epochs


def load_producers(log: LogState) -> Producers:
    """The producers as of the log's end: the newest good snapshot, and the batches above it."""
    return producers_as_of(
        log.topic_partition, log.volume.disk, log.folder, log.segments, log.snapshots, log.log_end_offset
    )


def producers_as_of(
    topic_partition: TopicPartition,
    disk: Disk,
    folder: str,
    segments: list[Segment],
    snapshots: list[int],
    end_offset: int,
) -> Producers:
    """The producers as of ``end_offset``, which is a batch's end; bad snapshots are removed."""
    producers = Producers(topic_partition)
    start_offset = segments[0].base_offset
    for offset in [offset for offset in reversed(snapshots) if offset <= end_offset]:
        path = f"{folder}/{names.file_name(offset, names.SNAPSHOT)}"
        try:
            producers.load(decode_snapshot(disk.read_file(path)))
            start_offset = offset
            break
        except (SnapshotError, FileNotFoundError):
            disk.remove(path)
            snapshots.remove(offset)
    if producers.by_id:
        _recall(segments, start_offset, producers)
    for number, segment in enumerate(segments):
        is_below = number + 1 < len(segments) and segments[number + 1].base_offset <= start_offset
        if not is_below and segment.base_offset < end_offset and start_offset < end_offset:
            _replay(segment, start_offset, end_offset, producers)
    return producers


def _recall(segments: list[Segment], before_offset: int, producers: Producers) -> None:
    """Looks the last batches of each producer up again, which Kafka's snapshots keep only one of.

    Without it a producer whose answers a stopping broker could not deliver any more would find the second
    to last of its batches in flight refused as out of order, not recognized.
    """
    found: dict[int, list[KeptBatch]] = {}
    for segment, start, end in _last_ranges(segments, before_offset):
        for place in segment.walk(start, end):
            header = BatchHeader._make(HEADER.unpack(segment.read(place.position, HEADER_SIZE)))
            producer = producers.by_id.get(header.producer_id)
            if producer is not None and producer.epoch == header.producer_epoch and not header.is_control:
                kept = KeptBatch(
                    header.last_sequence, header.last_offset, header.last_offset_delta, header.max_timestamp
                )
                found.setdefault(header.producer_id, []).append(kept)
    for producer_id, batches in found.items():
        producers.by_id[producer_id].recall(batches)


def _last_ranges(segments: list[Segment], before_offset: int) -> list[tuple[Segment, int, int]]:
    """Where about the last ``_RECALLED_BYTES`` below an offset lie: segments, starts and ends, ascending."""
    ranges: list[tuple[Segment, int, int]] = []
    left = _RECALLED_BYTES
    for segment in reversed(segments):
        if segment.base_offset >= before_offset or left <= 0:
            continue
        following = segment.locate(before_offset) if not ranges else None
        end = segment.size if following is None else following.position
        entry = segment.offset_index.lookup_position(max(end - left, 0))
        start = entry[1] if entry is not None else 0
        ranges.append((segment, start, end))
        left -= end - start
    return ranges[::-1]


def _replay(segment: Segment, start_offset: int, end_offset: int, producers: Producers) -> None:
    first = segment.locate(start_offset)
    if first is None:
        return
    for place in segment.walk(first.position, segment.size):
        if place.base_offset >= end_offset:
            return
        header = BatchHeader._make(HEADER.unpack(segment.read(place.position, HEADER_SIZE)))
        if header.producer_id >= 0 and place.base_offset >= start_offset:
            batch = segment.read(place.position, place.size) if header.is_control else b""
            apply_batch(producers, header, batch)


def apply_batch(producers: Producers, header: BatchHeader, batch: Bytes) -> AbortedTransaction | None:
    """Take a batch that is in the log into the producers' state; ``batch`` matters for markers only.

    Raises the errors of :mod:`odradek.records.errors` for a control batch that cannot be read.
    """
    if not header.is_control:
        producers.add(header, 0)
        return None
    records = read_records(batch)
    marker = read_marker(records[0]) if records else None
    if marker is None:
        return None
    return producers.end_transaction(header, marker, records[0].timestamp)


def ignore_moved(count: int) -> None:
    """For recoveries whose progress nobody follows."""


class Recovered(NamedTuple):
    """What recovery found; ``epochs_changed`` says that their file is not up to date.

    All batches of the segments from base offset ``checked_from`` on have good CRCs.
    """

    log_end_offset: int
    producers: Producers
    epochs: LeaderEpochs
    epochs_changed: bool
    checked_from: int


class ScanEnd(NamedTuple):
    """Where the good bytes of a segment end; ``reason`` is empty when that is the end of the file.

    ``is_compacted``: records are missing in it. It was flushed before, so its end is where it should be.
    """

    position: int
    next_offset: int
    reason: str
    is_compacted: bool = False


def recover(
    topic_partition: TopicPartition,
    disk: Disk,
    folder: str,
    segments: list[Segment],
    snapshots: list[int],
    recovery_point: int,
    flushed_offset: int,
    index_interval_bytes: int,
    moved: Callable[[int], None] = ignore_moved,
) -> Recovered:
    """Read everything from the recovery point's segment on, cut a torn tail, rebuild what belongs to it.

    Below ``flushed_offset``, which is not below the recovery point, everything had been flushed.

    ``segments`` and ``snapshots`` are shortened when the tail went. ``moved`` is told of the bytes that were
    read. Files are written, but not synced.
    Raises DamageError for bad bytes below the flushed offset, with no log file changed.
    """
    number = max(
        (i for i, segment in enumerate(segments) if segment.base_offset <= recovery_point), default=0
    )
    checked_from = next_offset = segments[number].base_offset
    epochs = load_epochs(disk, folder, 1 << 63)
    noted = list(epochs.entries)
    producers = producers_as_of(topic_partition, disk, folder, segments, snapshots, next_offset)
    is_compacted = False
    while number < len(segments):
        segment = segments[number]
        if segment.base_offset > next_offset >= flushed_offset and not is_compacted:
            # The end of the segment before, which was never synced, has vanished without a torn byte.
            _drop_segments(disk, segments, number)
            break
        next_offset = max(next_offset, segment.base_offset)
        aborted: list[AbortedTransaction] = []
        end = scan(segment, next_offset, producers, epochs, aborted, index_interval_bytes, moved)
        next_offset, is_compacted = end.next_offset, end.is_compacted
        is_last = number + 1 == len(segments)
        if next_offset < flushed_offset and (end.reason or is_last):
            raise DamageError(segment.path(), end.position, damage_reason(end, flushed_offset))
        if end.reason:
            _cut_tail(disk, segments, number, end)
        segment.unchecked_to = 0
        segment.rewrite_transactions(aborted)
        for fd in segment.write_indexes():
            disk.close(fd)
        number += 1
    _give_room_back(disk, segments[-1])
    epochs.cut_end(next_offset)
    for offset in [offset for offset in snapshots if offset > next_offset]:
        _remove_snapshot(disk, folder, snapshots, offset)
    return Recovered(next_offset, producers, epochs, epochs.entries != noted, checked_from)


def damage_reason(end: ScanEnd, flushed_offset: int) -> str:
    """Why a segment that ends like this is no torn tail."""
    reason = end.reason or f"the log ends below offset {end.next_offset}"
    return f"{reason}; everything below offset {flushed_offset} had been flushed"


def _give_room_back(disk: Disk, last: Segment) -> None:
    """What a log had set aside ahead of its writes when it was killed."""
    if last.size >= ROOM_FROM_BYTES and last.is_active:
        with contextlib.suppress(OSError):  # it is only room
            disk.truncate(last.open(), last.size)


def write_again(disk: Disk, segments: list[Segment], offset: int) -> None:
    """Write what lies at and above ``offset`` once more, the same bytes to the same place; with it the whole
    transaction index of such a segment (the other indexes were just written).

    Reading it proves nothing: after a sync that failed the kernel keeps bytes in its cache that the disk does
    not have, and takes them for clean, so that no later sync writes them either. Raises ``OSError``.
    """
    for segment in segments:
        place = segment.locate(offset) if segment.size else None
        if place is None:
            continue
        fd = disk.open(segment.path())
        try:
            for position in range(place.position, segment.size, _SCAN_BYTES):
                write_all(disk, fd, _chunk(segment, position, _SCAN_BYTES), position)
        finally:
            disk.close(fd)
        segment.transaction_index.write_again()


def _cut_tail(disk: Disk, segments: list[Segment], number: int, end: ScanEnd) -> None:
    _drop_segments(disk, segments, number + 1)
    segments[number].close_file()
    segments[number].shrink(end.position)


def _drop_segments(disk: Disk, segments: list[Segment], number: int) -> None:
    """Remove the segments from ``number`` on, the last first; the one before them is the active one now."""
    for segment in reversed(segments[number:]):
        segment.close()
        for path in segment.file_names():
            disk.remove(path)
    del segments[number:]
    segments[-1].is_active = True
    segments[-1].close_file()


def _remove_snapshot(disk: Disk, folder: str, snapshots: list[int], offset: int) -> None:
    disk.remove(f"{folder}/{names.file_name(offset, names.SNAPSHOT)}")
    snapshots.remove(offset)


def scan(
    segment: Segment,
    next_offset: int,
    producers: Producers,
    epochs: LeaderEpochs,
    aborted: list[AbortedTransaction],
    index_interval_bytes: int,
    moved: Callable[[int], None] = ignore_moved,
) -> ScanEnd:
    """Check every batch of a segment and take it in, up to the first bad byte.

    Spelled out in line: after a crash it runs for every batch of what may be gigabytes.
    """
    segment.reset_indexes()
    unpack, end, base = HEADER.unpack_from, segment.size, segment.base_offset
    latest_epoch, youngest, is_compacted = epochs.latest, -1, False
    position = start = 0
    chunk = memoryview(b"")
    while position < end:
        at = position - start
        if at + HEADER_SIZE > len(chunk):
            moved(position - start)
            chunk, start, at = _chunk(segment, position, _SCAN_BYTES), position, 0
            if len(chunk) < HEADER_SIZE:
                return ScanEnd(position, next_offset, f"{len(chunk)} bytes are too few for a batch")
        header = unpack(chunk, at)
        # fmt: off
        (base_offset, length, epoch, magic, crc, _, delta, _, max_timestamp,
         producer_id, _, _, count) = header
        # fmt: on
        size = length + LENGTH_OVERHEAD
        last_offset = base_offset + delta
        if base_offset != next_offset or count <= delta:
            is_compacted = True
        if (
            magic != MAGIC
            or size < HEADER_SIZE
            or size > end - position
            or base_offset < next_offset
            or delta < 0
            or last_offset - base > LARGEST_RELATIVE_OFFSET
        ):
            reason = _describe(BatchHeader._make(header), end - position, next_offset, base)
            return ScanEnd(position, next_offset, reason)
        if at + size > len(chunk):
            moved(position - start)
            chunk, start, at = _chunk(segment, position, max(size, _SCAN_BYTES)), position, 0
        computed = crc32c(chunk[at + CRC_START : at + size])
        if computed != crc:
            reason = f"CRC {crc:#010x} stored, {computed:#010x} computed"
            return ScanEnd(position, next_offset, reason)
        if producer_id >= 0:
            try:
                ended = apply_batch(producers, BatchHeader._make(header), chunk[at : at + size])
            except (CorruptBatchError, InvalidRecordsError) as error:
                return ScanEnd(position, next_offset, str(error))
            if ended is not None:
                aborted.append(ended)
        if epoch > latest_epoch:
            epochs.assign(epoch, base_offset)
            latest_epoch = epoch
        if max_timestamp > youngest:
            youngest = segment.max_timestamp = max_timestamp
            segment.max_timestamp_offset = last_offset
        if position == 0:
            segment.first_timestamp = max_timestamp
        if segment.bytes_since_index > index_interval_bytes:
            segment.add_index_entry(last_offset, position)
        segment.bytes_since_index += size
        next_offset = last_offset + 1
        position += size
    moved(position - start)
    return ScanEnd(position, next_offset, "", is_compacted)


def _chunk(segment: Segment, position: int, length: int) -> memoryview:
    return memoryview(segment.read(position, min(length, segment.size - position)))


def _describe(header: BatchHeader, left: int, next_offset: int, base_offset: int) -> str:
    """Why there is no batch where ``header`` was read."""
    if header.magic != MAGIC:
        return f"magic {header.magic} is not {MAGIC}"
    if not HEADER_SIZE <= header.size <= left:
        return f"length {header.length} does not fit the {left} bytes left"
    if header.base_offset < next_offset:
        return f"base offset {header.base_offset} does not ascend, {next_offset} was to come"
    if header.last_offset_delta < 0:
        return f"last offset delta {header.last_offset_delta} is impossible"
    return f"offset {header.last_offset} is too far from the segment's base {base_offset}"
