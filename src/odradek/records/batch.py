"""The v2 record batch: its 61-byte header, and walking from batch to batch.

Source: ``org.apache.kafka.common.record.DefaultRecordBatch`` (KIP-98); storage/FORMAT.md has the layout.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from odradek.records.crc import crc32c
from odradek.records.errors import CorruptBatchError

HEADER = struct.Struct(">qiibIhiqqqhii")
"""All header fields in wire order; see :class:`BatchHeader` for their names."""

HEADER_SIZE = HEADER.size
LENGTH_OVERHEAD = 12
"""Bytes before the part that the length field counts: base offset and the length itself."""
CRC_START = 21
"""The CRC covers everything from the attributes on: base offset and leader epoch can be patched freely."""
SMALLEST_LENGTH = HEADER_SIZE - LENGTH_OVERHEAD
MAGIC = 2

NO_PRODUCER_ID = -1
NO_SEQUENCE = -1
NO_TIMESTAMP = -1

COMPRESSION_MASK = 0x07
LOG_APPEND_TIME_FLAG = 0x08
TRANSACTIONAL_FLAG = 0x10
CONTROL_FLAG = 0x20
DELETE_HORIZON_FLAG = 0x40

CREATE_TIME = 0
LOG_APPEND_TIME = 1

PREFIX = struct.Struct(">qi4xB6xi")
"""Base offset, length, magic and last offset delta: what walking from batch to batch needs."""

Bytes = bytes | bytearray | memoryview


class BatchHeader(NamedTuple):
    """The header of one v2 batch, fields in wire order."""

    base_offset: int
    length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.length + LENGTH_OVERHEAD

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def compression(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & COMPRESSION_MASK

    @property
    def timestamp_type(self) -> int:
        """``CREATE_TIME`` or ``LOG_APPEND_TIME``."""
        return LOG_APPEND_TIME if self.attributes & LOG_APPEND_TIME_FLAG else CREATE_TIME

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL_FLAG != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL_FLAG != 0

    @property
    def delete_horizon_ms(self) -> int | None:
        """When tombstones of this compacted batch may go; kept in the base timestamp (KIP-534)."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON_FLAG else None

    @property
    def last_sequence(self) -> int:
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return next_sequence(self.base_sequence, self.last_offset_delta)


def next_sequence(sequence: int, increment: int) -> int:
    """``sequence + increment`` in the circle of non-negative int32 numbers."""
    return (sequence + increment) & 0x7FFFFFFF


def previous_sequence(sequence: int, decrement: int) -> int:
    """The inverse of :func:`next_sequence`."""
    return (sequence - decrement) & 0x7FFFFFFF


def read_header(buffer: Bytes, position: int = 0) -> BatchHeader:
    """The header at ``position``, checked against the buffer's end; the CRC is not looked at.

    Raises :class:`CorruptBatchError` when the bytes there cannot be a whole v2 batch.
    """
    available = len(buffer) - position
    if available < HEADER_SIZE:
        raise CorruptBatchError(f"{available} bytes left, a batch header has {HEADER_SIZE}")
    header = BatchHeader._make(HEADER.unpack_from(buffer, position))
    if header.magic != MAGIC:
        raise CorruptBatchError(f"magic {header.magic} is not {MAGIC}")
    if header.length < SMALLEST_LENGTH:
        raise CorruptBatchError(f"length field {header.length} is below the smallest, {SMALLEST_LENGTH}")
    if header.length + LENGTH_OVERHEAD > available:
        raise CorruptBatchError(f"length field {header.length} reaches beyond the {available} bytes left")
    return header


def check_crc(buffer: Bytes, position: int, header: BatchHeader) -> None:
    """Raise :class:`CorruptBatchError` unless the CRC in ``header`` fits the batch at ``position``."""
    computed = crc32c(memoryview(buffer)[position + CRC_START : position + header.size])
    if computed != header.crc:
        raise CorruptBatchError(f"CRC {header.crc:#010x} stored, {computed:#010x} computed")


def iterate_batches(buffer: Bytes, position: int = 0) -> Iterator[tuple[int, BatchHeader]]:
    """Each whole batch of ``buffer`` as (position, header); an incomplete last one is left out.

    Raises :class:`CorruptBatchError` at bytes that are no v2 batch. CRCs are not looked at.
    """
    end = len(buffer)
    while end - position >= HEADER_SIZE:
        (length,) = _LENGTH.unpack_from(buffer, position + 8)
        if length + LENGTH_OVERHEAD > end - position >= LENGTH_OVERHEAD:
            return
        header = read_header(buffer, position)
        yield position, header
        position += header.size


_LENGTH = struct.Struct(">i")
