"""Batches that are gathered and written by one call: what arrives in one wake-up for the same log.

A write costs less than half when five batches share it. So a batch may first be *gathered*: it is checked and
gets its offsets, its bytes stay where they are. :meth:`GatheringLog.write_gathered` then writes all that were
gathered since. Until then the log is as if they were not there (its end, its size, its indexes, its high
watermark), but for its producers, whose next sequence numbers the next batch is held against; and if the
disk refuses, the producers are put back and nothing has happened. All of a group fail together.

Whoever gathers keeps the bytes unchanged, tells nobody, and asks nothing else of the log than reading until
they are written. Only plain batches are gathered: whatever needs more than a comparison (a new segment, a
producer not known yet, a transaction, a config that looks into batches) is refused with ``NOT_GATHERED`` and
belongs to :meth:`Log.append`.
"""

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error

from odradek.core.errors import ApiError
from odradek.records.batch import CRC_START, HEADER, LENGTH_OVERHEAD
from odradek.records.crc import crc32c
from odradek.storage.disk import write_all
from odradek.storage.log_files import LogFiles
from odradek.storage.producers import KeptBatch, Producer
from odradek.storage.segment import Segment

NOT_GATHERED = -1
_LAST_PLAIN_ATTRIBUTES = 4
_LARGEST_GROUP = 512
"""Batches; the system takes 1,024 pieces in one write."""
_unpack_header = HEADER.unpack_from
_patch = Struct(">qii").pack_into
_new_kept_batch = tuple.__new__


class GatheringLog(LogFiles):
    """A log whose plain batches may wait for one another."""

    __slots__ = ()

    def gather(self, records: memoryview, now_ms: int, leader_epoch: int) -> int:
        """The base offset that the one batch in ``records`` gets; NOT_GATHERED, and nothing has changed,
        when it is not as plain as can be. Base offset and leader epoch are set in place."""
        if not self._is_plain or self._fd < 0 or leader_epoch != self._epoch:
            return NOT_GATHERED
        config = self._config
        try:
            # fmt: off
            (base_offset, length, _, magic, crc, attributes, delta, _, max_timestamp,
             producer_id, producer_epoch, sequence, count) = _unpack_header(records)
            # fmt: on
        except struct_error:
            return NOT_GATHERED
        gathered = self._gathered
        if gathered:
            position, first_offset = self._gathered_position, self._gathered_offset
        else:
            position, first_offset = self.active.size, self.log_end_offset
        size = length + LENGTH_OVERHEAD
        end, last_offset = position + size, first_offset + delta
        if (
            size != len(records)
            or magic != 2
            or base_offset
            or not 0 <= attributes <= _LAST_PLAIN_ATTRIBUTES
            or count != delta + 1
            or count <= 0
            or size > config.max_message_bytes
            or max_timestamp - now_ms > config.message_timestamp_after_max_ms
            or not position
            or end > config.segment_bytes
            or max_timestamp > self._roll_after
            or last_offset > self._roll_offset
            or len(gathered) == _LARGEST_GROUP
            or crc32c(records[CRC_START:]) != crc
        ):
            return NOT_GATHERED
        if producer_id >= 0:
            producer = self._producers.by_id.get(producer_id) if self._producers is not None else None
            if (
                producer is None
                or producer.epoch != producer_epoch
                or producer.transaction_start >= 0
                or sequence < 0
                or sequence != (producer.last_sequence + 1) & 0x7FFFFFFF
            ):
                return NOT_GATHERED
            self._remember_producer(producer)
            last_sequence = (sequence + delta) & 0x7FFFFFFF
            producer.add(_new_kept_batch(KeptBatch, (last_sequence, last_offset, delta, max_timestamp)))
            producer.seen_ms = now_ms
        _patch(records, 0, first_offset, length, leader_epoch)
        if not gathered:
            self.volume.gathering.append(self)
        gathered.append((records, last_offset, max_timestamp))
        self._gathered_position, self._gathered_offset = end, last_offset + 1
        return first_offset

    @property
    def gathered_end_offset(self) -> int:
        """The log's end once what was gathered is written."""
        return self._gathered_offset if self._gathered else self.log_end_offset

    def _remember_producer(self, producer: Producer) -> None:
        """As it was before the first batch of the group."""
        if producer.producer_id not in self._gathered_producers:
            before = (producer.batches.copy(), producer.last_sequence, producer.last_timestamp)
            self._gathered_producers[producer.producer_id] = before

    def write_gathered(self, now_ms: int) -> ApiError | None:
        """Writes everything gathered; the error to answer to all of it when the disk does not take it."""
        gathered, self._gathered = self._gathered, []
        producers, self._gathered_producers = self._gathered_producers, {}
        if not gathered:
            return None
        position, end = self.active.size, self._gathered_position
        try:
            self.check_online()
        except ApiError as error:
            self._take_back(producers)
            return error
        if end > self._room_until:
            self._make_room(position, end)
        try:
            self._write_pieces([records for records, _, _ in gathered], position, end - position)
        except OSError as error:
            self._take_back(producers)
            return self._cut_back(error, position)
        self._take_in(gathered, position, now_ms)
        return None

    def _write_pieces(self, pieces: Sequence[memoryview], position: int, size: int) -> None:
        disk = self.volume.disk
        if len(pieces) == 1:
            written = self._pwrite(self._fd, pieces[0], position)
        else:
            written = disk.pwritev(self._fd, pieces, position)
        if written != size:
            # a short write tells no reason; the next try does (no space, quota, file size limit)
            write_all(disk, self._fd, memoryview(b"".join(pieces))[written:], position + written)

    def _take_in(self, gathered: Sequence[tuple[memoryview, int, int]], position: int, now_ms: int) -> None:
        """The log has them now."""
        segment, interval_bytes = self.active, self._config.index_interval_bytes
        for records, last_offset, max_timestamp in gathered:
            size = len(records)
            if max_timestamp > segment.max_timestamp:
                segment.max_timestamp = max_timestamp
                segment.max_timestamp_offset = last_offset
            if segment.bytes_since_index > interval_bytes:
                self._index_batch(segment, position, last_offset, max_timestamp)
            segment.bytes_since_index += size
            position += size
        segment.size = self._gathered_position
        self.log_end_offset = self._gathered_offset
        self._appended(now_ms)

    def _index_batch(self, segment: Segment, position: int, last_offset: int, max_timestamp: int) -> None:
        """After the first batch of a segment, and after each that is due for an index entry."""
        if not position:
            segment.first_timestamp = max_timestamp
        if segment.bytes_since_index > self._config.index_interval_bytes:
            segment.add_index_entry(last_offset, position)
        if not position or segment.is_index_full(self._config.segment_index_bytes):
            self._set_roll_limits()

    def _appended(self, now_ms: int) -> None:
        """The log's end has moved: a flush is due, or the high watermark moves along."""
        if self.is_strict:
            if not self._dirty:
                self._dirty = True
                self.volume.dirty.append(self)
        else:
            self._note_unflushed(self.log_end_offset, now_ms)

    def _take_back(self, producers: dict[int, tuple[list[KeptBatch], int, int]]) -> None:
        for producer_id, (batches, last_sequence, last_timestamp) in producers.items():
            producer = self.producers.by_id[producer_id]
            producer.batches = batches
            producer.last_sequence = last_sequence
            producer.last_timestamp = last_timestamp
