"""Single records of a batch, decoded: for lookups, compaction, coordinators and tools; never on the hot path.

Source: ``org.apache.kafka.common.record.DefaultRecord``.
"""

from typing import NamedTuple

from odradek.records.batch import (
    COMPRESSION_MASK,
    HEADER_SIZE,
    LOG_APPEND_TIME_FLAG,
    BatchHeader,
    Bytes,
    read_header,
)
from odradek.records.compression import MAX_DECOMPRESSED_BYTES, decompress
from odradek.records.errors import InvalidRecordsError

Headers = tuple[tuple[str, bytes | None], ...]


class Record(NamedTuple):
    """One record; ``timestamp`` is in milliseconds, -1 when there is none.

    Header keys that are not UTF-8 survive a round trip as surrogate escapes.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def read_records(batch: Bytes, limit: int = MAX_DECOMPRESSED_BYTES) -> list[Record]:
    """All records of the one v2 batch at the start of ``batch``, decompressed to at most ``limit`` bytes.

    Raises ``CorruptBatchError`` (header or compressed stream) or :class:`InvalidRecordsError` (records
    that do not fill the batch exactly). The CRC is not looked at.
    """
    header = read_header(batch)
    body = memoryview(batch)[HEADER_SIZE : header.size]
    return parse_records(header, decompress(header.attributes & COMPRESSION_MASK, body, limit))


def parse_records(header: BatchHeader, body: Bytes) -> list[Record]:
    """The records in ``body``, the decompressed bytes that follow ``header``."""
    if header.record_count < 0:
        raise InvalidRecordsError(f"record count {header.record_count} is negative")
    fixed = header.max_timestamp if header.attributes & LOG_APPEND_TIME_FLAG else None
    records: list[Record] = []
    position = 0
    end = len(body)
    view = memoryview(body)
    try:
        for _ in range(header.record_count):
            size, position = read_varint(view, position)
            if size < 0 or size > end - position:
                raise InvalidRecordsError(f"record size {size} does not fit the {end - position} bytes left")
            records.append(_read_record(view, position, position + size, header, fixed))
            position += size
    except IndexError as error:
        raise InvalidRecordsError("records end early") from error
    if position != end:
        raise InvalidRecordsError(f"{end - position} bytes remain after {header.record_count} records")
    return records


def _read_record(
    view: memoryview, position: int, end: int, header: BatchHeader, fixed_timestamp: int | None
) -> Record:
    timestamp_delta, position = read_varint(view, position + 1)
    offset_delta, position = read_varint(view, position)
    key, position = _read_bytes(view, position, end)
    value, position = _read_bytes(view, position, end)
    count, position = read_varint(view, position)
    headers: Headers = ()
    if count:
        if not 0 < count <= end - position:
            raise InvalidRecordsError(f"header count {count} does not fit the record")
        found = []
        for _ in range(count):
            name, position = _read_bytes(view, position, end)
            if name is None:
                raise InvalidRecordsError("a header key is null")
            content, position = _read_bytes(view, position, end)
            found.append((name.decode("utf-8", "surrogateescape"), content))
        headers = tuple(found)
    if position != end:
        raise InvalidRecordsError(f"record size is off by {end - position}")
    timestamp = header.base_timestamp + timestamp_delta if fixed_timestamp is None else fixed_timestamp
    return Record(header.base_offset + offset_delta, timestamp, key, value, headers)


def _read_bytes(view: memoryview, position: int, end: int) -> tuple[bytes | None, int]:
    length, position = read_varint(view, position)
    if length < 0:
        return None, position
    if length > end - position:
        raise InvalidRecordsError(f"field length {length} does not fit the {end - position} bytes left")
    return bytes(view[position : position + length]), position + length


def read_varint(view: Bytes, position: int) -> tuple[int, int]:
    """The zigzag number at ``position`` and the position after it.

    Raises ``IndexError`` past the end and :class:`InvalidRecordsError` when it is longer than ten bytes.
    """
    byte = view[position]
    position += 1
    if byte < 0x80:
        return byte >> 1 ^ -(byte & 1), position
    result = byte & 0x7F
    shift = 7
    while shift < 70:
        byte = view[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result >> 1 ^ -(result & 1), position
        shift += 7
    raise InvalidRecordsError("a number is longer than ten bytes")


def write_varint(out: bytearray, number: int) -> None:
    """Append ``number`` in zigzag form."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
