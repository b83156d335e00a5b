"""Looking twice: what was not written by this process is held against itself before anybody relies on it."""

from collections.abc import Sequence

from odradek.core.errors import DamageError
from odradek.records.batch import CRC_START, HEADER, HEADER_SIZE, LENGTH_OVERHEAD, PREFIX, BatchHeader
from odradek.records.crc import crc32c
from odradek.storage.producers import AbortedTransaction
from odradek.storage.segment import Segment
from odradek.storage.transactions import TransactionIndex


def check_batches(
    segment: Segment, records: memoryview | bytes, start: int, offset: int, end_offset: int
) -> None:
    """Look once at whole batches read from ``start`` on, where ``offset`` was to be found: their CRCs and
    their order, as the base offset lies outside the CRC. The segment ends below ``end_offset``.

    Raises DamageError.
    """
    position, end, next_offset = 0, len(records), -1
    unpack = HEADER.unpack_from
    if PREFIX.unpack_from(records)[0] > offset:
        _check_order(segment, end_offset)  # what was to be found was deleted, or it bears another number
    while position < end:
        header = unpack(records, position)
        size = header[1] + LENGTH_OVERHEAD
        computed = crc32c(records[position + CRC_START : position + size])
        if computed != header[4]:
            reason = f"CRC {header[4]:#010x} stored, {computed:#010x} computed"
            raise DamageError(segment.path(), start + position, reason)
        if header[0] < next_offset:
            raise _disorder(segment.path(), start + position, header[0], next_offset)
        next_offset = header[0] + header[6] + 1
        position += size
    position += start
    following = int.from_bytes(segment.read(position, 8), "big") if position < segment.size else end_offset
    if following < next_offset:
        raise _disorder(segment.path(), position, following, next_offset)
    _note_checked(segment, start, end)


def _check_order(segment: Segment, end_offset: int) -> None:
    next_offset = segment.base_offset
    for place in segment.walk(0, segment.size):
        if place.base_offset < next_offset:
            raise _disorder(segment.path(), place.position, place.base_offset, next_offset)
        next_offset = place.last_offset + 1
    if end_offset < next_offset:
        raise _disorder(segment.path(), segment.size, end_offset, next_offset)


def _note_checked(segment: Segment, start: int, end: int) -> None:
    if start <= segment.unchecked_from:
        segment.unchecked_from = max(segment.unchecked_from, start + end)
    if start + end >= segment.unchecked_to:
        segment.unchecked_to = start
    if segment.unchecked_from >= segment.unchecked_to:
        segment.unchecked_to = 0


def is_youngest_known(segment: Segment) -> bool:
    """Whether the youngest timestamp is that of a batch, as the time index says."""
    youngest = segment.max_timestamp
    return youngest < 0 or _has_time(segment, youngest, segment.max_timestamp_offset)


def time_entry(segment: Segment, timestamp: int) -> tuple[int, int] | None:
    """The last entry of the time index that is not younger than ``timestamp``, held against the log."""
    entry = segment.time_index.lookup(timestamp)
    if entry is not None and not _has_time(segment, *entry):
        segment.rebuild_indexes()
        entry = segment.time_index.lookup(timestamp)
    return entry


def transactions_of(segments: Sequence[Segment], number: int) -> TransactionIndex:
    """The transaction index of a segment; what was read of it is held against the log, once.

    Raises DamageError: who believed a wrong entry would hand out what was aborted.
    """
    index = segments[number].transaction_index
    if not index.is_checked:
        for entry in index.entries:
            reason = _transaction_flaw(segments, number, entry)
            if reason is not None:
                raise DamageError(index.path, 0, f"{entry}: {reason}")
        index.is_checked = True
    return index


def _transaction_flaw(segments: Sequence[Segment], number: int, entry: AbortedTransaction) -> str | None:
    """Where compaction took a batch away, or retention a segment, nothing can be said of it."""
    marker = _header_at(segments[number], entry.last_offset)
    if marker is None or entry.last_offset < segments[number].base_offset:
        return f"offset {entry.last_offset} is in another segment"
    is_there = marker.base_offset <= entry.last_offset
    if is_there and not (marker.is_control and marker.producer_id == entry.producer_id):
        return f"there is no marker of this producer at offset {entry.last_offset}"
    while number > 0 and entry.first_offset < segments[number].base_offset:
        number -= 1
    if entry.first_offset < segments[number].base_offset:
        return None
    first = _header_at(segments[number], entry.first_offset)
    if first is None or first.base_offset > entry.first_offset:
        return None
    if first.base_offset < entry.first_offset or first.is_control or first.producer_id != entry.producer_id:
        return f"no batch of this producer begins at offset {entry.first_offset}"
    return None


def _header_at(segment: Segment, offset: int) -> BatchHeader | None:
    """Of the first batch that ends at or above ``offset``."""
    place = segment.locate(offset)
    if place is None:
        return None
    return BatchHeader._make(HEADER.unpack(segment.read(place.position, HEADER_SIZE)))


def _has_time(segment: Segment, timestamp: int, offset: int) -> bool:
    place = segment.locate(offset)
    if place is None:
        return False
    header = segment.read(place.position, HEADER_SIZE)
    return int.from_bytes(header[35:43], "big", signed=True) == timestamp


def _disorder(path: str, position: int, base_offset: int, next_offset: int) -> DamageError:
    return DamageError(path, position, f"offset {base_offset} comes next, {next_offset} was to come")
