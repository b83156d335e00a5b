"""Finding records by timestamp, and aborted transactions by range.

Source: ``UnifiedLog.fetchOffsetByTimestamp``, ``LogSegment.findOffsetByTimestamp``,
``LocalLog.collectAbortedTransactions``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.records.batch import HEADER, HEADER_SIZE, BatchHeader
from odradek.records.control import LARGEST_MARKER_BYTES, EndTransactionMarker, first_marker
from odradek.records.errors import CorruptBatchError, InvalidRecordsError
from odradek.records.record import Record, read_records
from odradek.storage.checking import time_entry, transactions_of
from odradek.storage.segment import Place, Segment

if TYPE_CHECKING:
    from odradek.storage.log import Log


class TimestampOffset(NamedTuple):
    """A record's timestamp (ms) and offset, and the leader epoch that wrote it (-1 unknown)."""

    timestamp: int
    offset: int
    leader_epoch: int


def find_offset_by_timestamp(log: Log, timestamp_ms: int, upper_offset: int) -> TimestampOffset | None:
    """See :meth:`Log.find_offset_by_timestamp`."""
    log.check_online()
    try:
        for segment in list(log.segments):
            if segment.size:
                segment.load_times()
                if segment.max_timestamp >= timestamp_ms:
                    if segment is not log.active:
                        log.volume.touch(segment)
                    found = _find_in_segment(segment, timestamp_ms, log.log_start_offset)
                    if found is not None:
                        return found if found.offset < upper_offset else None
    except (DamageError, OSError) as error:
        raise log.failed(error) from error
    return None


def _find_in_segment(segment: Segment, timestamp_ms: int, start_offset: int) -> TimestampOffset | None:
    indexed = time_entry(segment, timestamp_ms)
    from_offset = max(indexed[1] if indexed else segment.base_offset, start_offset)
    entry = segment.offset_index.lookup(from_offset)
    for place in segment.walk(entry[1] if entry else 0, segment.size):
        if place.last_offset >= start_offset:
            header = _read_header(segment, place)
            if header.max_timestamp >= timestamp_ms:
                for record in _read_records(segment, place):
                    if record.timestamp >= timestamp_ms and record.offset >= start_offset:
                        return TimestampOffset(record.timestamp, record.offset, header.partition_leader_epoch)
    return None


def max_timestamp_offset(log: Log, upper_offset: int) -> TimestampOffset | None:
    """See :meth:`Log.max_timestamp_offset`."""
    log.check_online()
    try:
        youngest: Segment | None = None
        for segment in log.segments:
            if segment.size:
                segment.load_times()
                if youngest is None or segment.max_timestamp > youngest.max_timestamp:
                    youngest = segment
        if youngest is not None and youngest is not log.active:
            log.volume.touch(youngest)
        found = _find_youngest(youngest) if youngest is not None else None
    except (DamageError, OSError) as error:
        raise log.failed(error) from error
    return found if found is not None and found.offset < upper_offset else None


def _find_youngest(segment: Segment) -> TimestampOffset | None:
    place = segment.locate(segment.max_timestamp_offset)
    if place is None:
        return None
    header = _read_header(segment, place)
    epoch = header.partition_leader_epoch
    if header.timestamp_type:
        return TimestampOffset(header.max_timestamp, header.last_offset, epoch)
    for record in _read_records(segment, place):
        if record.timestamp == header.max_timestamp:
            return TimestampOffset(record.timestamp, record.offset, epoch)
    return None


def _read_header(segment: Segment, place: Place) -> BatchHeader:
    return BatchHeader._make(HEADER.unpack(segment.read(place.position, HEADER_SIZE)))


def _read_records(segment: Segment, place: Place) -> list[Record]:
    try:
        return read_records(segment.read(place.position, place.size))
    except (CorruptBatchError, InvalidRecordsError) as error:
        message = f"{segment.path()} at byte {place.position}: {error}"
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, message) from error


def last_end(log: Log, producer_id: int, epoch: int) -> bool | None:
    """See :meth:`Log.last_end`."""
    log.check_online()
    try:
        for segment in reversed(log.segments):
            if segment is not log.active:
                log.volume.touch(segment)
            found = None
            for place in segment.walk(0, segment.size):
                if place.base_offset == place.last_offset and place.size <= LARGEST_MARKER_BYTES:
                    found = _marker_of(segment, place, producer_id, epoch) or found
            if found is not None:
                return found.commit
    except (DamageError, OSError) as error:
        raise log.failed(error) from error
    return None


def _marker_of(segment: Segment, place: Place, producer_id: int, epoch: int) -> EndTransactionMarker | None:
    header = _read_header(segment, place)
    if not header.is_control or (header.producer_id, header.producer_epoch) != (producer_id, epoch):
        return None
    try:
        return first_marker(memoryview(segment.read(place.position, place.size)), header)
    except (CorruptBatchError, InvalidRecordsError, IndexError):
        return None  # another kind of control record


def aborted_transactions(log: Log, start_offset: int, upper_offset: int) -> list[tuple[int, int]]:
    """See :meth:`Log.aborted_transactions`."""
    log.check_online()
    found: list[tuple[int, int]] = []
    try:
        for number in range(len(log.segments)):
            if number + 1 < len(log.segments) and log.segments[number + 1].base_offset <= start_offset:
                continue
            index = transactions_of(log.segments, number)
            transactions, is_complete = index.overlapping(start_offset, upper_offset)
            found += [(entry.producer_id, entry.first_offset) for entry in transactions]
            if is_complete:
                break
    except (DamageError, OSError) as error:
        raise log.failed(error) from error
    return found
