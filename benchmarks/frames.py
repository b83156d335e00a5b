"""Requests as bytes, written by hand so that the yardstick shares no code with the broker that it measures.

Produce 12 and Fetch 12 are the newest versions that name topics, so no topic id has to be resolved.
Error codes lie at fixed positions in the answers (flexible versions, one topic, no tagged fields), which
lets the generator check every answer without decoding it.
"""

import random
import struct
from dataclasses import dataclass

from crc32c import crc32c

PRODUCE, FETCH = 0, 1
PRODUCE_VERSION = FETCH_VERSION = 12
CLIENT_ID = b"bench"
BATCH_HEADER_BYTES = 61
NO_TIMEOUT_MS = 30_000
MAX_WAIT_MS = 500


def unsigned_varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def varint(value: int) -> bytes:
    """Zigzag, as record fields use it."""
    return unsigned_varint((value << 1) ^ (value >> 63))


def compact_string(text: str) -> bytes:
    encoded = text.encode()
    return unsigned_varint(len(encoded) + 1) + encoded


def record(offset_delta: int, value: bytes) -> bytes:
    """One record of a v2 batch: no key, no headers, the batch's own timestamp."""
    body = b"\0" + varint(0) + varint(offset_delta) + varint(-1) + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def record_batch(record_bytes: int, batch_bytes: int, timestamp_ms: int) -> tuple[bytes, int]:
    """An uncompressed v2 batch of as many records with `record_bytes` of value as fit, but at least one.

    Returns the batch, at most `batch_bytes` long when it has several records, and how many it has.
    """
    randomness = random.Random(batch_bytes)
    records: list[bytes] = []
    size = BATCH_HEADER_BYTES
    while True:
        piece = record(len(records), randomness.randbytes(record_bytes))
        if records and size + len(piece) > batch_bytes:
            break
        records.append(piece)
        size += len(piece)
    count = len(records)
    # attributes, last offset delta, base and max timestamp, producer id, epoch, sequence, record count
    checked = struct.pack(">hiqqqhii", 0, count - 1, timestamp_ms, timestamp_ms, -1, -1, -1, count)
    checked += b"".join(records)
    # base offset, length, leader epoch, magic, CRC
    return struct.pack(">qiibI", 0, len(checked) + 9, -1, 2, crc32c(checked)) + checked, count


def request(api_key: int, version: int, body: bytes, *, flexible: bool = True) -> bytes:
    """A whole frame with its size prefix, correlation id 0 at position 8."""
    header = (
        struct.pack(">hhih", api_key, version, 0, len(CLIENT_ID)) + CLIENT_ID + (b"\0" if flexible else b"")
    )
    return struct.pack(">i", len(header) + len(body)) + header + body


@dataclass(frozen=True, slots=True)
class Frame:
    """One request and what the generator must know about it. Positions in answers do not count the size."""

    request: bytes
    payload_bytes: int = 0
    """Counted for each answer; 0 counts the answer's own size."""
    offset_position: int = 0
    """Where the fetch offset lies in the request; 0: the request is sent as it is."""
    first_offset: int = 0
    offset_step: int = 1
    end_offset: int = 0
    minimum_answer_bytes: int = 0
    records_position: int = 0
    error_positions: tuple[int, ...] = ()


def produce(
    topic: str, partitions: list[int], batch: bytes, acks: int, transactional_id: str | None = None
) -> Frame:
    """Produce 12: the same batch for each of `partitions`."""
    pieces = [
        unsigned_varint(0) if transactional_id is None else compact_string(transactional_id),
        struct.pack(">hi", acks, NO_TIMEOUT_MS),
        unsigned_varint(2),
        compact_string(topic),
        unsigned_varint(len(partitions) + 1),
    ]
    for partition in partitions:
        pieces += [struct.pack(">i", partition), unsigned_varint(len(batch) + 1), batch, b"\0"]
    pieces.append(b"\0\0")
    # correlation id, tags, one topic: name, partitions: index, error, 3 x int64, errors, message, tags
    first = 5 + 1 + len(compact_string(topic)) + len(unsigned_varint(len(partitions) + 1)) + 4
    step = 4 + 2 + 8 + 8 + 8 + 1 + 1 + 1
    return Frame(
        request=request(PRODUCE, PRODUCE_VERSION, b"".join(pieces)),
        payload_bytes=len(batch) * len(partitions),
        error_positions=tuple(first + step * index for index in range(len(partitions))),
    )


def fetch(
    topic: str,
    partition: int,
    max_bytes: int,
    *,
    batch: bytes = b"",
    batch_records: int = 1,
    end_offset: int = 0,
    read_committed: bool = False,
) -> Frame:
    """Fetch 12 outside a session, one partition. With `end_offset` each one reads the next batch."""
    name = compact_string(topic)
    before = struct.pack(
        ">iiiib", -1, MAX_WAIT_MS, 1, 0x7FFFFFFF, read_committed
    )  # replica, wait, min and max bytes, isolation
    before += (
        struct.pack(">ii", 0, -1) + unsigned_varint(2) + name + unsigned_varint(2)
    )  # session id and epoch
    before += struct.pack(">ii", partition, -1)  # current leader epoch
    after = struct.pack(">iqi", -1, -1, max_bytes) + b"\0\0"  # last fetched epoch, log start
    after += unsigned_varint(1) + compact_string("") + b"\0"  # no forgotten topics, no rack
    frame = request(FETCH, FETCH_VERSION, before + struct.pack(">q", 0) + after)
    # correlation id, tags, throttle; error, session id, one topic: name, one partition: index, error
    top_error = 4 + 1 + 4
    partition_error = top_error + 2 + 4 + 1 + len(name) + 1 + 4
    return Frame(
        request=frame,
        offset_position=len(frame) - len(after) - 8,
        offset_step=batch_records,
        end_offset=end_offset,
        minimum_answer_bytes=len(batch),
        records_position=partition_error + 2 + 8 + 8 + 8 + 1 + 4,
        error_positions=(top_error, partition_error),
    )


def plan(frames: list[Frame]) -> bytes:
    """The generator's input: the number of frames, then each frame's fields and bytes, all big-endian."""
    pieces = [struct.pack(">I", len(frames))]
    for frame in frames:
        errors = frame.error_positions
        pieces.append(
            struct.pack(
                f">IIIqqqIII{len(errors)}I",
                len(frame.request),
                frame.payload_bytes,
                frame.offset_position,
                frame.first_offset,
                frame.offset_step,
                frame.end_offset,
                frame.minimum_answer_bytes,
                frame.records_position,
                len(errors),
                *errors,
            )
        )
        pieces.append(frame.request)
    return b"".join(pieces)
