"""What compaction leaves of a batch.

The last record of each key stays, with its offset; the records of aborted transactions go. What deletes (a
record without a value, a transaction's marker once its data is gone) stays for ``delete.retention.ms`` after
the first pass that meets it, so that consumers learn of it: that pass writes the delete horizon into the
batch (KIP-534). The last batch of an active producer stays without its records: it holds the sequence number.
Source: ``Cleaner.cleanInto``, ``CleanedTransactionMetadata``, ``MemoryRecords.filterTo``.
"""

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop
from typing import NamedTuple

from odradek.records.batch import (
    COMPRESSION_MASK,
    CONTROL_FLAG,
    DELETE_HORIZON_FLAG,
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME_FLAG,
    NO_TIMESTAMP,
    TRANSACTIONAL_FLAG,
    BatchHeader,
)
from odradek.records.builder import build_batch, seal_batch
from odradek.records.compression import compress, decompress
from odradek.records.control import read_marker
from odradek.records.errors import InvalidRecordsError
from odradek.records.record import Record, parse_records, read_varint
from odradek.storage.compaction import LastRecord
from odradek.storage.offset_map import OffsetMap
from odradek.storage.producers import AbortedTransaction

_EMPTY_FLAGS = LOG_APPEND_TIME_FLAG | TRANSACTIONAL_FLAG | CONTROL_FLAG


class Transactions:
    """Which batches are of aborted transactions, as the log is read from its beginning.

    ``retained`` collects the entries of the transaction index that are still needed.
    """

    def __init__(self, aborted: Iterable[AbortedTransaction]) -> None:
        self._to_come = [(entry.first_offset, entry) for entry in set(aborted)]
        heapify(self._to_come)
        self._aborted: dict[int, tuple[AbortedTransaction, bool]] = {}
        """By producer id, with whether data of it was met."""
        self._committed: set[int] = set()
        self.retained: list[AbortedTransaction] = []

    def is_aborted(self, header: BatchHeader) -> bool:
        """Take in a data batch."""
        self._begin_up_to(header.last_offset)
        if not header.is_transactional:
            return False
        found = self._aborted.get(header.producer_id)
        if found is None:
            self._committed.add(header.producer_id)
            return False
        self._aborted[header.producer_id] = (found[0], True)
        return True

    def is_marker_needless(self, header: BatchHeader, records: list[Record]) -> bool:
        """Take in a control batch; whether nothing is left of what it decides.

        Raises InvalidRecordsError when the transaction index has said otherwise of what went before.
        """
        self._begin_up_to(header.last_offset)
        if not records:
            return True
        marker = read_marker(records[0])
        if marker is None:
            return False
        if header.producer_id in (self._aborted if marker.commit else self._committed):
            raise InvalidRecordsError(
                f"it {'commits' if marker.commit else 'aborts'} what the transaction index takes for "
                f"{'aborted' if marker.commit else 'committed'}"
            )
        if marker.commit:
            met = header.producer_id in self._committed
            self._committed.discard(header.producer_id)
            return not met
        entry, met = self._aborted.pop(header.producer_id, (None, False))
        if met and entry is not None:
            self.retained.append(entry)
        return not met

    def _begin_up_to(self, offset: int) -> None:
        while self._to_come and self._to_come[0][0] <= offset:
            _, entry = heappop(self._to_come)
            self._aborted.setdefault(entry.producer_id, (entry, False))


class RecordPlace(NamedTuple):
    """Where a record lies in its batch's body, and what of it matters here."""

    start: int
    end: int
    timestamp_delta: int
    offset_delta: int
    key: bytes | None
    has_value: bool


def body_of(header: BatchHeader, batch: memoryview) -> bytes:
    """The decompressed records of ``batch``; raises the errors of :mod:`odradek.records.errors`."""
    return bytes(decompress(header.attributes & COMPRESSION_MASK, batch[HEADER_SIZE : header.size]))


def place_records(body: bytes, count: int) -> list[RecordPlace]:
    """The records in ``body``. Spelled out in line: it runs twice for each record of a log."""
    places: list[RecordPlace] = []
    position, limit = 0, len(body)
    new, read = tuple.__new__, read_varint
    try:
        for _ in range(count):
            start = position
            size, position = read(body, position)
            end = position + size
            position += 1
            byte = body[position]
            if byte < 0x80:
                timestamp_delta, position = byte >> 1 ^ -(byte & 1), position + 1
            else:
                timestamp_delta, position = read(body, position)
            byte = body[position]
            if byte < 0x80:
                offset_delta, position = byte >> 1 ^ -(byte & 1), position + 1
            else:
                offset_delta, position = read(body, position)
            byte = body[position]
            if byte < 0x80:
                length, position = byte >> 1 ^ -(byte & 1), position + 1
            else:
                length, position = read(body, position)
            key = None
            if length >= 0:
                key = body[position : position + length]
                position += length
            has_value = not body[position] & 1
            if position >= end or end > limit:
                raise InvalidRecordsError(f"the record at byte {start} of the batch's body does not fit")
            places.append(new(RecordPlace, (start, end, timestamp_delta, offset_delta, key, has_value)))
            position = end
    except IndexError as error:
        raise InvalidRecordsError("records end early") from error
    if position != limit:
        raise InvalidRecordsError(f"{limit - position} bytes remain after {count} records")
    return places


class BatchFilter:
    """Decides on one batch after the other, in their order. ``upper_offset`` is where the pass ends."""

    def __init__(
        self,
        offsets: OffsetMap,
        transactions: Transactions,
        last_records: Mapping[int, LastRecord],
        now_ms: int,
        delete_retention_ms: int,
    ) -> None:
        self._offsets = offsets
        self._transactions = transactions
        self._last_records = last_records
        self._now_ms = now_ms
        self._horizon_ms = now_ms + delete_retention_ms
        self.records_read = self.records_kept = 0

    def apply(
        self, header: BatchHeader, batch: memoryview, *, is_last: bool
    ) -> tuple[BatchHeader, memoryview | bytearray] | None:
        """What stays of ``batch`` and its header, None when nothing does.

        ``is_last`` keeps it, empty if need be: where its segment ends must be told by the segment itself.
        Raises the errors of :mod:`odradek.records.errors`.
        """
        self.records_read += header.record_count
        if header.is_control:
            kept = self._filter_control(header, batch)
        elif self._transactions.is_aborted(header):
            kept = None
        else:
            kept = self._filter_data(header, batch)
        if kept is None and (is_last or self._is_last_of_producer(header)):
            kept = _emptied(header)
        if kept is None:
            return None
        new_header = header if kept is batch else BatchHeader._make(HEADER.unpack_from(kept))
        self.records_kept += new_header.record_count
        return new_header, kept

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        last = self._last_records.get(header.producer_id) if header.producer_id >= 0 else None
        if last is None:
            return False
        if last.last_data_offset >= 0:
            return header.last_offset == last.last_data_offset
        return header.is_control and header.producer_epoch == last.epoch

    def _filter_control(self, header: BatchHeader, batch: memoryview) -> memoryview | bytearray | None:
        records = parse_records(header, body_of(header, batch))
        is_needless = self._transactions.is_marker_needless(header, records)
        horizon_ms = header.delete_horizon_ms
        if not records or (is_needless and horizon_ms is not None and horizon_ms <= self._now_ms):
            return None
        if is_needless and horizon_ms is None:
            return _rebuilt(header, records, self._horizon_ms)
        return batch

    def _filter_data(self, header: BatchHeader, batch: memoryview) -> memoryview | bytearray | None:
        """Whole if possible, else the bytes of the records that stay, else written anew for its horizon."""
        if not header.record_count:
            return None
        body = body_of(header, batch)
        places = place_records(body, header.record_count)
        base, latest, find = header.base_offset, self._offsets.latest_offset, self._offsets.get
        horizon_ms = header.delete_horizon_ms
        deletes_stay = horizon_ms is None or self._now_ms < horizon_ms
        kept = [
            place
            for place in places
            if base + place.offset_delta > latest
            or (
                place.key is not None
                and base + place.offset_delta >= find(place.key)
                and (place.has_value or deletes_stay)
            )
        ]
        if not kept:
            return None
        if horizon_ms is None and not all(place.has_value for place in kept):
            offsets = {base + place.offset_delta for place in kept}
            records = [record for record in parse_records(header, body) if record.offset in offsets]
            return _rebuilt(header, records, self._horizon_ms)
        if len(kept) == len(places):
            return batch
        return _shortened(header, body, kept)


def _shortened(header: BatchHeader, body: bytes, kept: list[RecordPlace]) -> bytearray:
    """The batch with the bytes of ``kept`` only; everything else in its header stays."""
    codec = header.attributes & COMPRESSION_MASK
    rest = b"".join([body[place.start : place.end] for place in kept])
    batch = bytearray(HEADER_SIZE)
    batch += compress(codec, rest) if codec else rest
    max_timestamp = header.max_timestamp
    if not header.attributes & LOG_APPEND_TIME_FLAG:
        max_timestamp = header.base_timestamp + max(place.timestamp_delta for place in kept)
    changed = header._replace(
        length=len(batch) - LENGTH_OVERHEAD, max_timestamp=max_timestamp, record_count=len(kept)
    )
    HEADER.pack_into(batch, 0, *changed)
    seal_batch(batch)
    return batch


def _rebuilt(header: BatchHeader, records: list[Record], horizon_ms: int) -> bytearray:
    """The batch with ``records`` and a delete horizon; its last offset stays."""
    batch = build_batch(
        records,
        header.base_offset,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.compression,
        header.is_transactional,
        header.is_control,
        header.partition_leader_epoch,
        header.timestamp_type,
        header.max_timestamp,
        keep_offsets=True,
        delete_horizon_ms=horizon_ms,
    )
    rebuilt = BatchHeader._make(HEADER.unpack_from(batch))
    HEADER.pack_into(batch, 0, *rebuilt._replace(last_offset_delta=header.last_offset_delta))
    seal_batch(batch)
    return batch


def _emptied(header: BatchHeader) -> bytearray:
    """The header alone: offsets, producer, epoch and sequence number stay known."""
    batch = bytearray(HEADER_SIZE)
    changed = header._replace(
        length=HEADER_SIZE - LENGTH_OVERHEAD,
        attributes=header.attributes & _EMPTY_FLAGS & ~DELETE_HORIZON_FLAG,
        base_timestamp=NO_TIMESTAMP,
        record_count=0,
    )
    HEADER.pack_into(batch, 0, *changed)
    seal_batch(batch)
    return batch
