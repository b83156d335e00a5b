"""One segment of a log: a run of batches in a file (``segment_file.py``), its indexes, and finding batches.

Source: ``LogSegment``.
"""

from collections.abc import Iterator
from typing import NamedTuple

from odradek.core.errors import DamageError
from odradek.records.batch import HEADER_SIZE, LENGTH_OVERHEAD, MAGIC, PREFIX, SMALLEST_LENGTH
from odradek.storage import names
from odradek.storage.disk import Bytes, Disk, write_all
from odradek.storage.index import TIME_ENTRY_SIZE, OffsetIndex, TimeIndex
from odradek.storage.producers import AbortedTransaction
from odradek.storage.segment_file import CLOSED, SegmentFile
from odradek.storage.transactions import TransactionIndex

ROOM_FROM_BYTES = 1024 * 1024
"""A segment of this size gets room set aside ahead of its writes: small ones, of which many logs have only
one, cost no more disk than they hold."""
UNKNOWN_TIMESTAMP = -2
WALK_BYTES = 8 * 1024
_FIRST_WALK_BYTES = 512
_FEW_BATCHES = 4


class Place(NamedTuple):
    """Where a batch is, and what it spans; offsets inclusive."""

    position: int
    base_offset: int
    size: int
    last_offset: int


class Segment(SegmentFile):
    """A segment of ``size`` bytes. ``is_active`` is true for the last one, which alone is appended to."""

    __slots__ = (
        "_offset_index",
        "_time_index",
        "_transaction_index",
        "bytes_since_index",
        "created_ms",
        "first_timestamp",
        "max_timestamp",
        "max_timestamp_offset",
        "roll_jitter_ms",
    )

    def __init__(
        self,
        disk: Disk,
        folder: str,
        base_offset: int,
        size: int,
        created_ms: int,
        *,
        is_active: bool,
        suffix: str = "",
    ) -> None:
        super().__init__(disk, folder, base_offset, size, is_active=is_active, suffix=suffix)
        self.created_ms = created_ms
        self.roll_jitter_ms = 0
        self.bytes_since_index = 0
        self.first_timestamp = UNKNOWN_TIMESTAMP
        self.max_timestamp = UNKNOWN_TIMESTAMP
        self.max_timestamp_offset = base_offset
        self._offset_index: OffsetIndex | None = None
        self._time_index: TimeIndex | None = None
        self._transaction_index: TransactionIndex | None = None

    # -- files

    def create(self) -> None:
        """Make the log file, empty, and start with empty indexes."""
        self.fd = self.disk.open(self.path(), create=True)
        self.disk.truncate(self.fd, 0)
        self.reset_indexes()

    def reset_indexes(self) -> None:
        """Start with empty indexes, as before the first batch."""
        self._offset_index = OffsetIndex(self.base_offset, bytearray())
        self._time_index = TimeIndex(self.base_offset, bytearray())
        self.bytes_since_index = 0
        self.first_timestamp = self.max_timestamp = -1
        self.max_timestamp_offset = self.base_offset

    def close(self) -> None:
        """Give back descriptors, mapping and indexes; views that were handed out stay valid.

        An active segment's indexes must have been written.
        """
        self.close_file()
        self._mapped = self._offset_index = self._time_index = None
        if self._transaction_index is not None:
            self._transaction_index.close()
            self._transaction_index = None

    # -- indexes

    @property
    def are_indexes_loaded(self) -> bool:
        """Whether batches can be appended."""
        return self._offset_index is not None and self._time_index is not None

    @property
    def is_offset_index_loaded(self) -> bool:
        """Whether a batch can be looked up without reading a file."""
        return self._offset_index is not None

    @property
    def offset_index(self) -> OffsetIndex:
        """Read from its file when it is first asked for; made anew when that is missing or implausible."""
        if self._offset_index is None:
            self._load_offset_index()
        assert self._offset_index is not None
        return self._offset_index

    @property
    def time_index(self) -> TimeIndex:
        """Like :attr:`offset_index`."""
        if self._time_index is None:
            self._load_time_index()
        assert self._time_index is not None
        return self._time_index

    @property
    def transaction_index(self) -> TransactionIndex:
        if self._transaction_index is None:
            self._transaction_index = TransactionIndex(self.disk, self.path(names.TRANSACTION_INDEX))
        return self._transaction_index

    def rewrite_transactions(self, aborted: list[AbortedTransaction]) -> None:
        """Put ``aborted`` in the place of the transaction index's content, unless that is the same."""
        try:
            is_same = self.transaction_index.entries == aborted
        except DamageError:
            is_same = False
        if not is_same:
            if self._transaction_index is not None:
                self._transaction_index.close()
                self._transaction_index = None
            self.disk.remove(self.path(names.TRANSACTION_INDEX))
            for transaction in aborted:
                self.transaction_index.append(transaction)

    def _load_offset_index(self) -> None:
        content = self._index_bytes(names.OFFSET_INDEX)
        if content is not None:
            index = OffsetIndex(self.base_offset, content)
            if index.is_plausible(self.size):
                self._offset_index = index
                last = index.last()
                self.bytes_since_index = self.size - (last[1] if last else 0)
                return
        self.rebuild_indexes()

    def _load_time_index(self) -> None:
        content = self._index_bytes(names.TIME_INDEX)
        if content is not None:
            index = TimeIndex(self.base_offset, content)
            if index.is_plausible():
                self._time_index = index
                self.max_timestamp, self.max_timestamp_offset = index.last() or (-1, self.base_offset)
                return
        self.rebuild_indexes()

    def _index_bytes(self, suffix: str) -> Bytes | None:
        try:
            content = self.disk.read_file(self.path(suffix))
        except FileNotFoundError:
            return None
        return bytearray(content) if self.is_active else content

    def rebuild_indexes(self, interval_bytes: int = 4096) -> None:
        """Make both indexes anew from the batches; DamageError where those cannot be followed."""
        self.reset_indexes()
        for place in self.walk(0, self.size):
            header = self.read(place.position, HEADER_SIZE)
            self.note_batch(place, int.from_bytes(header[35:43], "big", signed=True), interval_bytes)
        if not self.is_active:
            for fd in self.write_indexes():
                self.disk.sync(fd)
                self.disk.close(fd)

    def note_batch(self, place: Place, max_timestamp: int, interval_bytes: int) -> None:
        """Index one batch that lies at ``place``, as appending it would."""
        if place.position == 0:
            self.first_timestamp = max_timestamp
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = place.last_offset
        if self.bytes_since_index > interval_bytes:
            self.add_index_entry(place.last_offset, place.position)
        self.bytes_since_index += place.size

    def add_index_entry(self, last_offset: int, position: int) -> None:
        """Index the batch just appended; the indexes must be loaded."""
        assert self._offset_index is not None
        assert self._time_index is not None
        self._offset_index.append(last_offset, position)
        self._time_index.append(self.max_timestamp, self.max_timestamp_offset)
        self.bytes_since_index = 0

    def is_index_full(self, limit_bytes: int) -> bool:
        """Whether one more entry could take an index above ``segment.index.bytes``."""
        if self._offset_index is None or self._time_index is None:
            return False
        longest = max(len(self._offset_index.entries), len(self._time_index.entries))
        return longest + 2 * TIME_ENTRY_SIZE > limit_bytes

    def write_indexes(self) -> list[int]:
        """Write both indexes to their files, for a roll or a close; the descriptors, still to be synced.

        The time index gets its closing entry first: retention goes by it.
        """
        offsets, times = self.offset_index, self.time_index
        if isinstance(times.entries, bytearray):
            times.append(self.max_timestamp, self.max_timestamp_offset)
        written: list[int] = []
        try:
            for suffix, entries in ((names.OFFSET_INDEX, offsets.entries), (names.TIME_INDEX, times.entries)):
                written.append(self.disk.open(self.path(suffix), create=True))
                self.disk.truncate(written[-1], len(entries))
                write_all(self.disk, written[-1], entries, 0)
        except OSError:
            for fd in written:
                self.disk.close(fd)
            raise
        return written

    def load_times(self) -> None:
        """Find the youngest timestamp, if it is not known yet."""
        if self.max_timestamp == UNKNOWN_TIMESTAMP:
            self._load_time_index()

    def load_first_timestamp(self) -> None:
        """Find the first batch's timestamp, if it is not known yet."""
        if self.first_timestamp == UNKNOWN_TIMESTAMP:
            was_closed = self.fd == CLOSED
            header = self.read(0, HEADER_SIZE) if self.size >= HEADER_SIZE else None
            self.first_timestamp = int.from_bytes(header[35:43], "big", signed=True) if header else -1
            if was_closed:
                self.close_file()

    # -- finding batches

    def walk(self, position: int, end: int) -> Iterator[Place]:
        """The batches from ``position``, which must be a batch's start, up to ``end``.

        Raises DamageError where there is no batch to be found; CRCs are not looked at.
        """
        chunk, start = b"", position
        ahead = _FIRST_WALK_BYTES
        unpack = PREFIX.unpack_from
        while position < end:
            if end - position < HEADER_SIZE:
                raise DamageError(self.path(), position, f"{end - position} bytes are too few for a batch")
            if position - start + PREFIX.size > len(chunk):
                # small batches are read many at a time, of large ones the headers only
                if chunk:
                    ahead = WALK_BYTES if position - start <= len(chunk) else HEADER_SIZE
                start = position
                chunk = self.read(position, min(ahead, end - position))
            base_offset, length, magic, delta = unpack(chunk, position - start)
            if magic != MAGIC or length < SMALLEST_LENGTH or delta < 0 or base_offset < self.base_offset:
                raise DamageError(self.path(), position, _describe(magic, length, base_offset))
            size = length + LENGTH_OVERHEAD
            if size > end - position:
                raise DamageError(self.path(), position, f"a batch of {size} bytes reaches beyond {end}")
            yield Place(position, base_offset, size, base_offset + delta)
            position += size

    def locate(self, offset: int) -> Place | None:
        """The first batch that ends at or above ``offset``; None when all end below."""
        entry = self.offset_index.lookup(offset)
        try:
            position = 0 if entry is None else entry[1]
            if position >= self.size > 0:
                raise DamageError(self.path(names.OFFSET_INDEX), 0, "an entry lies behind the log")
            for place in self.walk(position, self.size):
                if entry is not None and place.position == position and place.last_offset != entry[0]:
                    raise DamageError(self.path(names.OFFSET_INDEX), 0, "an entry does not fit the log")
                if place.last_offset >= offset:
                    return place
        except DamageError:
            if entry is None:
                raise
            self.rebuild_indexes()
            return next((place for place in self.walk(0, self.size) if place.last_offset >= offset), None)
        return None

    def last_boundary(self, start: int, limit: int) -> tuple[int, int]:
        """(position, next offset) of the last batch end at or below ``limit``, from batch ``start`` on.

        When already the first batch ends above ``limit``, it is that batch's end.
        """
        near = self._boundary_within_few(start, limit)
        if near is not None:
            return near
        entry = self.offset_index.lookup_position(limit)
        if entry is None or entry[1] <= start:
            return self._boundary_from(start, start, limit)
        try:
            return self._boundary_from(entry[1], start, limit, entry[0])
        except DamageError:
            self.rebuild_indexes()
            return self._boundary_from(start, start, limit)

    def _boundary_from(
        self, position: int, start: int, limit: int, last_offset: int | None = None
    ) -> tuple[int, int]:
        """``last_offset``: what an index says of the batch at ``position``; DamageError when it is not so."""
        end = next_offset = -1
        for place in self.walk(position, self.size):
            if last_offset is not None and end < 0 and place.last_offset != last_offset:
                raise DamageError(self.path(names.OFFSET_INDEX), 0, "an entry does not fit the log")
            if place.position + place.size > limit and place.position > start:
                return place.position, place.base_offset if end < 0 else next_offset
            end, next_offset = place.position + place.size, place.last_offset + 1
            if end >= limit:
                break
        return end, next_offset

    def _boundary_within_few(self, start: int, limit: int) -> tuple[int, int] | None:
        """The same for readers who ask for a few batches, as most do: from their mapped headers alone."""
        mapped = self._mapped
        if mapped is None:
            return None
        mapped_size = len(mapped)
        position, next_offset = start, -1
        for _ in range(_FEW_BATCHES):
            if position + HEADER_SIZE > mapped_size:
                return None
            base_offset, length, magic, delta = PREFIX.unpack_from(mapped, position)
            end = position + length + LENGTH_OVERHEAD
            if magic != MAGIC or length < SMALLEST_LENGTH or delta < 0 or end > self.size:
                return None
            if end > limit and position > start:
                return position, next_offset
            position, next_offset = end, base_offset + delta + 1
            if end >= limit:
                return position, next_offset
        return None

    def end_by_walking(self, position: int = 0) -> int:
        """The offset after the last batch, without any index: of those from ``position`` on."""
        last = self.base_offset - 1
        for place in self.walk(position, self.size):
            last = place.last_offset
        return last + 1

    def youngest_ms(self) -> int:
        """The youngest timestamp; where records have none, when the file was last written."""
        self.load_times()
        return self.max_timestamp if self.max_timestamp >= 0 else self.disk.modified_ms(self.path())

    def next_offset(self) -> int:
        """The offset after the last batch, found by walking from the last index entry."""
        entry = self.offset_index.last()
        return self.end_by_walking(entry[1] if entry else 0)


def _describe(magic: int, length: int, base_offset: int) -> str:
    if magic in (0, 1):
        return f"message format {magic}, which Kafka stopped writing in 2017, is not read here"
    return f"no batch starts here (magic {magic}, length {length}, base offset {base_offset})"
