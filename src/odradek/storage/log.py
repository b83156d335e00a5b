"""The log of one partition: append, read, roll, cut.

Source: ``UnifiedLog`` and ``LocalLog``. Everything here runs on the event loop; the steps of ``append`` and
``read`` are spelled out in line because each call and each object in them is paid for by every request.
"""

import contextlib
from bisect import bisect_right
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.records.batch import (
    CONTROL_FLAG,
    CRC_START,
    HEADER,
    LENGTH_OVERHEAD,
    TRANSACTIONAL_FLAG,
    BatchHeader,
)
from odradek.records.control import EndTransactionMarker, first_marker
from odradek.records.crc import crc32c
from odradek.records.errors import CorruptBatchError, InvalidRecordsError
from odradek.storage import lookup, names, validation
from odradek.storage.checking import check_batches
from odradek.storage.cold import check_cached, check_cached_place, is_fresh
from odradek.storage.disk import write_all
from odradek.storage.gathering import GatheringLog
from odradek.storage.lookup import TimestampOffset
from odradek.storage.producers import NOTHING, AbortedTransaction, KeptBatch, Vouched
from odradek.storage.segment import Segment

_unpack_header = HEADER.unpack_from
_unpack_offset = Struct(">q").unpack_from
_patch = Struct(">qii").pack_into
_new_tuple = tuple.__new__
"""Makes a named tuple in half the time."""
_PLAIN_ATTRIBUTES = frozenset([*range(5), *(codec | TRANSACTIONAL_FLAG for codec in range(5))])
_MARKER = TRANSACTIONAL_FLAG | CONTROL_FLAG
_PLACES_KEPT = 16
"""Positions remembered of where readers will go on, so that they need no index."""


class Origin(IntEnum):
    """Who appends: a producer, or a coordinator of this broker."""

    CLIENT = validation.CLIENT
    COORDINATOR = validation.COORDINATOR


CLIENT = Origin.CLIENT
COORDINATOR = Origin.COORDINATOR


class AppendResult(NamedTuple):
    """Offsets inclusive. ``log_append_time_ms`` is -1 unless the topic stamps batches.

    Of a duplicate everything is that of the batch which is here already.
    """

    base_offset: int
    last_offset: int
    log_append_time_ms: int
    log_start_offset: int
    duplicate: bool


class _Admitted(NamedTuple):
    """A producer's batch that was looked at closely: a marker, a duplicate, or plain data."""

    header: BatchHeader
    marker: EndTransactionMarker | None
    duplicate: AppendResult | None


class ReadResult(NamedTuple):
    """Whole batches, back to back. ``next_offset`` is where the next read goes on."""

    records: memoryview | bytes
    first_offset: int
    next_offset: int


class Log(GatheringLog):
    """One partition's log. Made by :mod:`odradek.storage.loading`, kept by :class:`LogStore`."""

    __slots__ = ()

    # -- append

    def append(
        self,
        records: memoryview,
        now_ms: int,
        *,
        leader_epoch: int,
        origin: Origin = CLIENT,
        vouched: Vouched = NOTHING,
    ) -> AppendResult:
        """Append the one batch in ``records``, whose base offset and leader epoch are set in place.

        ``vouched`` says what is known of the transaction of a transactional batch.
        Raises ApiError with Kafka's code for whatever is wrong with the batch
        (:class:`validation.RecordsRefusedError` when single records are), KAFKA_STORAGE_ERROR when the
        disk refuses (nothing is appended then) or the log is offline, NOT_LEADER_OR_FOLLOWER while it is
        recovered.
        """
        assert not self._gathered, "what was gathered has to be written first"
        if self._fd < 0:
            self._prepare_append()
        config = self._config
        try:
            # fmt: off
            (base_offset, length, _, magic, crc, attributes, delta, _, max_timestamp,
             producer_id, producer_epoch, sequence, count) = _unpack_header(records)
            # fmt: on
            size = length + LENGTH_OVERHEAD
            is_plain = (
                # What coordinators write was built by us right before: neither recompressed nor looked
                # through for keys, and nothing has come between it and its CRC.
                (self._is_plain or origin == COORDINATOR)
                and size == len(records)
                and magic == 2
                and not base_offset
                and (
                    attributes in _PLAIN_ATTRIBUTES
                    or (attributes == _MARKER and origin == COORDINATOR and not config.timestamp_type)
                )
                and count == delta + 1
                and count > 0
                and size <= config.max_message_bytes
                and max_timestamp - now_ms <= config.message_timestamp_after_max_ms
                and (producer_id < 0 or sequence >= 0 or origin == COORDINATOR)
                and (origin == COORDINATOR or crc32c(records[CRC_START:]) == crc)
            )
        except struct_error:
            is_plain = False
        if not is_plain:
            records = validation.check_batch(records, config, now_ms, origin, self.topic_partition)
            # fmt: off
            (_, length, _, _, _, attributes, delta, _, max_timestamp,
             producer_id, producer_epoch, sequence, count) = _unpack_header(records)
            # fmt: on
            size = len(records)
        if size > config.segment_bytes:
            raise _too_large_for_segment(size, config.segment_bytes)

        producer = None
        admitted: _Admitted | None = None
        if producer_id >= 0:
            producer = (self._producers or self.producers).by_id.get(producer_id)
            if (
                producer is None
                or producer.epoch != producer_epoch
                or attributes > 7
                or producer.transaction_start >= 0
                or sequence != (producer.last_sequence + 1) & 0x7FFFFFFF
            ):
                producer = None
                admitted = self._admit(records, origin, vouched)
                if admitted.duplicate is not None:
                    return admitted.duplicate

        segment = self.active
        position = segment.size
        first_offset = self.log_end_offset
        last_offset = first_offset + delta
        if (
            position + size > config.segment_bytes
            or max_timestamp > self._roll_after
            or last_offset > self._roll_offset
        ) and self._must_roll(size, max_timestamp, last_offset, now_ms):
            segment = self._roll(now_ms)
            position = 0

        if position + size > self._room_until:
            self._make_room(position, position + size)
        _patch(records, 0, first_offset, length, leader_epoch)
        try:
            if self._pwrite(self._fd, records, position) != size:
                write_all(self.volume.disk, self._fd, records, position)
        except OSError as error:
            raise self._cut_back(error, position) from error

        segment.size = position + size
        self.log_end_offset = last_offset + 1
        if max_timestamp > segment.max_timestamp:
            segment.max_timestamp = max_timestamp
            segment.max_timestamp_offset = last_offset
        if not position or segment.bytes_since_index > config.index_interval_bytes:
            self._index_batch(segment, position, last_offset, max_timestamp)
        segment.bytes_since_index += size
        if producer is not None:
            last_sequence = (sequence + delta) & 0x7FFFFFFF
            kept = _new_tuple(KeptBatch, (last_sequence, last_offset, delta, max_timestamp))
            producer.add(kept)
            producer.seen_ms = now_ms
        elif admitted is not None:
            self._note_producer(admitted, first_offset, now_ms)
        if leader_epoch != self._epoch:
            self._start_epoch(leader_epoch, first_offset)
        self._appended(now_ms)
        append_time = now_ms if not is_plain and config.timestamp_type else -1
        result = (first_offset, last_offset, append_time, self.log_start_offset, False)
        return _new_tuple(AppendResult, result)

    def refused(self, records: memoryview) -> None:
        """This batch was refused, for now: what its producer has in flight behind it must be, too.

        Of a producer of which nothing is known any sequence number would be taken.
        """
        if len(records) < HEADER.size:
            return
        header = BatchHeader._make(_unpack_header(records))
        if header.producer_id < 0 or header.base_sequence < 0:
            return
        if self.refused_first is not None:
            self.refused_first.setdefault(header.producer_id, (header.producer_epoch, header.base_sequence))
        elif self.offline is None:
            with contextlib.suppress(ApiError):  # then nothing else can be appended either
                self.producers.expect(header.producer_id, header.producer_epoch, header.base_sequence)

    def take_place_of(self, stand_in: "Log") -> None:
        """From now on this log is the partition's: what ``stand_in`` was the first to refuse is the first
        to be taken here, or by whichever takes the place of this one."""
        refused = stand_in.refused_first or {}
        if self.refused_first is not None:
            self.refused_first = refused
            return
        with contextlib.suppress(ApiError):  # then nothing can be appended either
            for producer_id, (epoch, sequence) in refused.items():
                self.producers.expect(producer_id, epoch, sequence)

    def _admit(self, records: memoryview, origin: Origin, vouched: Vouched) -> _Admitted:
        """Check a batch of a producer that does not simply go on; whether it is here already."""
        header = _new_tuple(BatchHeader, _unpack_header(records))
        if header.is_control:
            return _new_tuple(_Admitted, (header, self._check_marker(records, header), None))
        kept = self.producers.check(header, sequenced=origin == CLIENT, vouched=vouched)
        if kept is None:
            return _new_tuple(_Admitted, (header, None, None))
        start = self.log_start_offset
        duplicate = AppendResult(kept.first_offset, kept.last_offset, kept.timestamp, start, True)
        return _Admitted(header, None, duplicate)

    def _check_marker(self, records: memoryview, header: BatchHeader) -> EndTransactionMarker | None:
        try:
            marker = first_marker(records, header)
        except (CorruptBatchError, InvalidRecordsError, IndexError) as error:
            raise ApiError(ErrorCode.INVALID_RECORD, f"control batch without a marker: {error}") from error
        if marker is not None:
            self.producers.check_marker(header, marker)
            producer = self.producers.by_id.get(header.producer_id)
            if not marker.commit and producer is not None and producer.transaction_start >= 0:
                try:
                    # Before the marker is written, which cannot be taken back.
                    self.active.transaction_index.make_room()
                except (DamageError, OSError) as error:
                    raise self.failed(error) from error
        return marker

    def _note_producer(self, admitted: _Admitted, first_offset: int, now_ms: int) -> None:
        header = _new_tuple(BatchHeader, (first_offset, *admitted.header[1:]))
        if not header.is_control:
            self.producers.add(header, now_ms)
        elif admitted.marker is not None:
            aborted = self.producers.end_transaction(header, admitted.marker, header.max_timestamp)
            if aborted is not None:
                self._index_aborted(aborted)

    def _index_aborted(self, aborted: AbortedTransaction) -> None:
        try:
            index = self.active.transaction_index
            index.append(aborted)
        except OSError as error:
            # the marker is in the log already: without its entry aborted records would reach readers
            self.go_offline(DamageError(self.active.path(names.TRANSACTION_INDEX), 0, str(error)))
            raise self.failed(error) from error
        try:
            self._pending_fds.append(self.volume.disk.duplicate(index.fd))
        except OSError:
            self._is_unsynced = True  # by their names, then
        self._pending_folders.add(self.folder)

    def _start_epoch(self, leader_epoch: int, first_offset: int) -> None:
        if self.epochs.assign(leader_epoch, first_offset):
            self._pending_epochs = True
        self._epoch = self.epochs.latest

    # -- read

    def read(
        self,
        offset: int,
        max_bytes: int,
        upper_offset: int,
        *,
        minimum_one: bool = True,
        cached_only: bool = False,
    ) -> ReadResult:
        """Whole batches from the one that holds ``offset`` on, all of them below ``upper_offset``.

        At most ``max_bytes``, but with ``minimum_one`` at least one batch if there is any.
        Raises ApiError: OFFSET_OUT_OF_RANGE outside the log, KAFKA_STORAGE_ERROR; with ``cached_only``
        ColdReadError when the disk would have to be waited for.
        """
        if offset >= upper_offset or offset < self.log_start_offset or self.offline is not None:
            return self._read_nothing(offset)
        try:
            place = self._places.get(offset) or self._find(offset, cached_only)
            if place is None:
                return ReadResult(b"", offset, offset)
            segment, start = place
            if segment is self.active and upper_offset == self.log_end_offset:
                limit, next_offset = segment.size, upper_offset
            else:
                segment, start, limit, next_offset = self._limit(segment, start, upper_offset)
            if cached_only:
                check_cached(segment, start, min(limit, start + max_bytes))
            if limit - start > max_bytes:
                limit, next_offset = segment.last_boundary(start, start + max_bytes)
                if limit - start > max_bytes:
                    if not minimum_one:
                        return ReadResult(b"", offset, offset)
                    if cached_only:
                        check_cached(segment, start, limit)
            elif limit <= start:
                return ReadResult(b"", offset, offset)
            if cached_only or is_fresh(segment, start):
                records: memoryview | bytes = segment.view(start, limit)
            else:
                records = segment.read(start, limit - start)  # no page of a mapping may be waited for
            if start < segment.unchecked_to and limit > segment.unchecked_from:
                check_batches(segment, records, start, offset, self._end_of(segment))
        except (DamageError, OSError) as error:
            raise self.failed(error) from error
        self._remember(next_offset, segment, limit)
        return ReadResult(records, _unpack_offset(records)[0], next_offset)

    def _read_nothing(self, offset: int) -> ReadResult:
        self.check_online()
        if not self.log_start_offset <= offset <= self.log_end_offset:
            raise ApiError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"Received request for offset {offset} for partition {self.topic_partition}, but we only "
                f"have log segments from {self.log_start_offset} up to {self.log_end_offset}.",
            )
        if offset not in self._places:
            # a reader that waits at the end will ask for just this offset again
            if offset == self.log_end_offset:
                self._remember(offset, self.active, self.active.size)
            elif offset == self._committed[0]:
                self._remember(*self._committed)
        return ReadResult(b"", offset, offset)

    def _remember(self, offset: int, segment: Segment, position: int) -> None:
        places = self._places
        places[offset] = (segment, position)
        if len(places) > _PLACES_KEPT:
            del places[next(iter(places))]

    def _find(self, offset: int, cached_only: bool) -> tuple[Segment, int] | None:
        """Segment and position of the first batch that ends at or above ``offset``."""
        segments = self.segments
        number = bisect_right(segments, offset, key=_base_offset) - 1
        for segment in segments[max(number, 0) :]:
            if cached_only:
                check_cached_place(segment, offset)
            place = segment.locate(offset)
            if place is not None:
                return segment, place.position
        return None

    def _limit(self, segment: Segment, start: int, upper_offset: int) -> tuple[Segment, int, int, int]:
        """Segment, start, end and next offset of what may be read from a place below ``upper_offset``."""
        if segment is not self.active:
            self.volume.touch(segment)
        while start >= segment.size and segment is not self.active:
            segment, start = self._successor(segment), 0
        committed, at_segment, position = self._committed
        if segment is self.active:
            end_offset = self.log_end_offset
        else:
            end_offset = self._successor(segment).base_offset
        if upper_offset >= end_offset:
            return segment, start, segment.size, end_offset
        if upper_offset == committed and at_segment is segment:
            return segment, start, position, upper_offset
        place = segment.locate(upper_offset)
        if place is None:
            return segment, start, segment.size, end_offset
        return segment, start, place.position, min(place.base_offset, upper_offset)

    def _end_of(self, segment: Segment) -> int:
        return self.log_end_offset if segment is self.active else self._successor(segment).base_offset

    def _successor(self, segment: Segment) -> Segment:
        return self.segments[bisect_right(self.segments, segment.base_offset, key=_base_offset)]

    # -- look up

    def find_offset_by_timestamp(self, timestamp_ms: int, upper_offset: int) -> TimestampOffset | None:
        """The first record below ``upper_offset`` that is not older than ``timestamp_ms``."""
        return lookup.find_offset_by_timestamp(self, timestamp_ms, upper_offset)

    def max_timestamp_offset(self, upper_offset: int) -> TimestampOffset | None:
        """The first record with the youngest timestamp; None when it is not below ``upper_offset``."""
        return lookup.max_timestamp_offset(self, upper_offset)

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """(epoch, end offset) as OffsetForLeaderEpoch answers it; (-1, -1) when it cannot be known."""
        return self.epochs.end_offset(epoch, self.log_end_offset)

    def aborted_transactions(self, start_offset: int, upper_offset: int) -> list[tuple[int, int]]:
        """(producer id, first offset) of aborted transactions with records in the range."""
        return lookup.aborted_transactions(self, start_offset, upper_offset)

    def last_end(self, producer_id: int, epoch: int) -> bool | None:
        """Whether the last marker of this producer id and epoch is a commit; None when there is none. Walks
        the log, so it is for those who cannot know it otherwise."""
        return lookup.last_end(self, producer_id, epoch)


def _base_offset(segment: Segment) -> int:
    return segment.base_offset


def _too_large_for_segment(size: int, segment_bytes: int) -> ApiError:
    return ApiError(
        ErrorCode.RECORD_LIST_TOO_LARGE,
        f"Message batch size is {size} bytes, which exceeds the maximum configured segment size of "
        f"{segment_bytes}.",
    )
