"""The work of one compaction pass: reads old segments, writes new ones beside them, and touches nothing else.

Runs as a job (``jobs.py``), in a child process. It takes the dirty part into an offset map, then goes
through the log from its beginning, group by group. Each group becomes ``<base>.log.cleaned`` with its
indexes, synced, and is handed over; the broker swaps it in (``swap.py``) while the next one is written.
Source: ``Cleaner.doClean``.
"""

from collections.abc import Iterator
from mmap import PAGESIZE
from typing import NamedTuple

from odradek.core.errors import DamageError
from odradek.records.batch import (
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    BatchHeader,
    check_crc,
    read_header,
)
from odradek.records.errors import CorruptBatchError, InvalidRecordsError
from odradek.records.record import parse_records
from odradek.storage import names
from odradek.storage.batch_filter import BatchFilter, Transactions, body_of, place_records
from odradek.storage.compaction import CompactionPlan, Span, group_segments
from odradek.storage.disk import Disk, write_all
from odradek.storage.jobs import Meter
from odradek.storage.offset_map import OffsetMap
from odradek.storage.producers import AbortedTransaction
from odradek.storage.segment import Place, Segment
from odradek.storage.transactions import TransactionIndex

_CHUNK_BYTES = 1024 * 1024
_PIECE_BYTES = 256 * 1024
"""So much at a time is given to the disk, and waited for. The 64 MB of a segment at once keep a disk busy for
20 ms, and every flush that comes meanwhile; more and smaller pieces cost those who need a core."""
_FOREVER = (1 << 63) - 1


class CleanedSegment(NamedTuple):
    """One finished group: ``<base_offset>.log.cleaned`` of ``size`` bytes replaces the segments ``replaced``.

    ``end_offset`` is where both end.
    """

    base_offset: int
    end_offset: int
    size: int
    replaced: tuple[int, ...]
    first_timestamp: int
    max_timestamp: int
    max_timestamp_offset: int


class CompactionResult(NamedTuple):
    """A finished pass: everything below ``next_dirty_offset`` is clean once all segments are swapped in."""

    next_dirty_offset: int
    bytes_read: int
    bytes_written: int
    records_read: int
    records_kept: int
    keys: int


def compact(disk: Disk, plan: CompactionPlan, meter: Meter) -> CompactionResult:
    """Do what ``plan`` says; each :class:`CleanedSegment` is handed over through ``meter``.

    Raises DamageError when a batch of the log is not what was written, and ``OSError``.
    """
    return _Pass(disk, plan, meter).run()


class _Pass:
    def __init__(self, disk: Disk, plan: CompactionPlan, meter: Meter) -> None:
        self._disk = disk
        self._plan = plan
        self._meter = meter
        self._bytes_read = self._bytes_written = 0
        self._on_disk = 0
        """Up to here the segment under way was written out."""
        self._aborted = self._load_aborted()

    def run(self) -> CompactionResult:
        plan = self._plan
        offsets = OffsetMap.within(plan.memory_bytes, plan.load_factor)
        self._take_in_dirty(offsets)
        end_offset = offsets.latest_offset + 1
        spans = [self._with_index(span) for span in plan.spans if span.base_offset < end_offset]
        transactions = Transactions(self._aborted)
        batch_filter = BatchFilter(
            offsets, transactions, plan.last_records, plan.now_ms, plan.delete_retention_ms
        )
        self._bytes_read = 0
        for group in group_segments(spans, plan.upper_offset, plan.segment_bytes, plan.segment_index_bytes):
            transactions.retained = []
            self._clean(group, batch_filter, transactions)
        return CompactionResult(
            end_offset,
            self._bytes_read,
            self._bytes_written,
            batch_filter.records_read,
            batch_filter.records_kept,
            len(offsets),
        )

    # -- reading

    def _load_aborted(self) -> list[AbortedTransaction]:
        plan = self._plan
        aborted = list(plan.active_aborted)
        for base in (*(span.base_offset for span in plan.spans), *plan.later_bases):
            path = f"{plan.folder}/{names.file_name(base, names.TRANSACTION_INDEX)}"
            aborted += TransactionIndex(self._disk, path).entries
        return aborted

    def _segment(self, span: Span) -> Segment:
        return Segment(self._disk, self._plan.folder, span.base_offset, span.size, 0, is_active=False)

    def _with_index(self, span: Span) -> Span:
        longest = 0
        for suffix in (names.OFFSET_INDEX, names.TIME_INDEX):
            path = f"{self._plan.folder}/{names.file_name(span.base_offset, suffix)}"
            if self._disk.exists(path):
                longest = max(longest, self._disk.file_size(path))
        return span._replace(index_bytes=longest)

    def _batches(self, segment: Segment) -> Iterator[tuple[int, BatchHeader, memoryview]]:
        """Position, header and bytes of every batch of a segment, each checked in full."""
        chunk, start, position, next_offset = memoryview(b""), 0, 0, segment.base_offset
        while position < segment.size:
            if position - start + HEADER_SIZE > len(chunk):
                chunk, start = self._chunk(segment, position, _CHUNK_BYTES), position
            try:
                if len(chunk) - (position - start) >= HEADER_SIZE:
                    size = HEADER.unpack_from(chunk, position - start)[1] + LENGTH_OVERHEAD
                    if position - start + size > len(chunk) and 0 < size <= segment.size - position:
                        chunk, start = self._chunk(segment, position, max(size, _CHUNK_BYTES)), position
                header = read_header(chunk, position - start)
                check_crc(chunk, position - start, header)
                if header.base_offset < next_offset or header.last_offset_delta < 0:
                    raise CorruptBatchError(f"base offset {header.base_offset}, {next_offset} was to come")
            except CorruptBatchError as error:
                raise DamageError(segment.path(), position, str(error)) from error
            yield position, header, chunk[position - start : position - start + header.size]
            position += header.size
            next_offset = header.next_offset

    def _chunk(self, segment: Segment, position: int, length: int) -> memoryview:
        data = segment.read(position, min(length, segment.size - position))
        self._bytes_read += len(data)
        self._meter.moved(len(data))
        return memoryview(data)

    # -- the offset map

    def _take_in_dirty(self, offsets: OffsetMap) -> None:
        """The last offset of each key of the dirty part, as far as the map has room."""
        plan = self._plan
        # of a transaction that ended before the first batch that is read here, no marker will tell the end
        start = max(
            (one.base_offset for one in plan.spans if one.base_offset <= plan.first_dirty_offset), default=0
        )
        transactions = Transactions(entry for entry in self._aborted if entry.last_offset >= start)
        for number, span in enumerate(plan.spans):
            is_last = number + 1 == len(plan.spans)
            end_offset = plan.upper_offset if is_last else plan.spans[number + 1].base_offset
            if end_offset <= plan.first_dirty_offset:
                continue
            segment = self._segment(span)
            try:
                for position, header, batch in self._batches(segment):
                    try:
                        is_room_left = self._take_in(header, batch, offsets, transactions)
                    except (CorruptBatchError, InvalidRecordsError) as error:
                        raise DamageError(segment.path(), position, str(error)) from error
                    if not is_room_left:
                        return
            finally:
                segment.close()
            offsets.latest_offset = end_offset - 1

    def _take_in(
        self, header: BatchHeader, batch: memoryview, offsets: OffsetMap, transactions: Transactions
    ) -> bool:
        first_dirty, base = self._plan.first_dirty_offset, header.base_offset
        if header.is_control:
            transactions.is_marker_needless(header, parse_records(header, body_of(header, batch)))
        elif not transactions.is_aborted(header) and header.last_offset >= first_dirty:
            put = offsets.put
            for place in place_records(body_of(header, batch), header.record_count):
                offset = base + place.offset_delta
                if place.key is not None and offset >= first_dirty and not put(place.key, offset):
                    return False
        if header.last_offset >= first_dirty:
            offsets.latest_offset = header.last_offset
        return True

    # -- writing

    def _clean(self, group: list[Span], batch_filter: BatchFilter, transactions: Transactions) -> None:
        disk, plan = self._disk, self._plan
        new = Segment(disk, plan.folder, group[0].base_offset, 0, 0, is_active=True, suffix=names.CLEANED)
        for path in new.file_names():
            disk.remove(path)
        new.create()
        self._on_disk = 0
        end_offset, is_changed, pending = new.base_offset, len(group) > 1, bytearray()
        try:
            for span in group:
                segment = self._segment(span)
                try:
                    for position, header, batch in self._batches(segment):
                        is_last = span is group[-1] and position + header.size == span.size
                        try:
                            kept = batch_filter.apply(header, batch, is_last=is_last)
                        except (CorruptBatchError, InvalidRecordsError) as error:
                            raise DamageError(segment.path(), position, str(error)) from error
                        end_offset = header.next_offset
                        is_changed = is_changed or kept is None or kept[1] != batch
                        if kept is not None:
                            self._note(new, kept[0], len(kept[1]))
                            pending += kept[1]
                            if len(pending) >= _PIECE_BYTES:
                                self._write(new, pending)
                                pending = bytearray()
                finally:
                    segment.close()
            self._write(new, pending)
            is_changed = (
                is_changed or transactions.retained != self._segment(group[0]).transaction_index.entries
            )
            if is_changed:
                self._finish(new, transactions.retained, group[-1])
        except BaseException:
            self._discard(new)
            raise
        if not is_changed:
            self._discard(new)
            return
        replaced = tuple(span.base_offset for span in group)
        times = (new.first_timestamp, new.max_timestamp, new.max_timestamp_offset)
        new.close()
        self._meter.hand_over(CleanedSegment(new.base_offset, end_offset, new.size, replaced, *times))

    def _note(self, new: Segment, header: BatchHeader, size: int) -> None:
        place = Place(new.size, header.base_offset, size, header.last_offset)
        new.note_batch(place, header.max_timestamp, self._plan.index_interval_bytes)
        new.size += size

    def _write(self, new: Segment, data: bytearray) -> None:
        position = new.size - len(data)
        for start in range(0, len(data), _PIECE_BYTES):
            piece = memoryview(data)[start : start + _PIECE_BYTES]
            write_all(self._disk, new.fd, piece, position + start)
            self._write_out(new, position + start + len(piece))
            self._meter.moved(len(piece))
        self._bytes_written += len(data)

    def _write_out(self, new: Segment, end: int) -> None:
        """Have the disk take the whole pages below ``end``."""
        end -= end % PAGESIZE
        if end > self._on_disk:
            self._meter.give_way()
            self._disk.write_out(new.fd, self._on_disk, end - self._on_disk)
            self._on_disk = end

    def _finish(self, new: Segment, aborted: list[AbortedTransaction], last: Span) -> None:
        """Indexes, everything synced, the age of what it replaces: retention may go by it."""
        disk = self._disk
        index_path = new.path(names.TRANSACTION_INDEX)
        fds = [*new.write_indexes(), disk.open(index_path, create=True)]
        try:
            for entry in aborted:
                new.transaction_index.append(entry)
            for fd in (new.fd, *fds):
                disk.sync(fd)
        finally:
            for fd in fds:
                disk.close(fd)
        old_path = f"{self._plan.folder}/{names.file_name(last.base_offset, names.LOG)}"
        disk.set_modified_ms(new.path(), disk.modified_ms(old_path))
        disk.sync_folder(self._plan.folder)

    def _discard(self, new: Segment) -> None:
        new.close()
        for path in new.file_names():
            self._disk.remove(path)
