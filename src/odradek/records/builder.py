"""Building v2 batches: for coordinators, tests, tools and recompression; producers send theirs ready-made."""

from collections.abc import Iterable, Sequence
from struct import Struct

from odradek.records.batch import (
    CONTROL_FLAG,
    CRC_START,
    DELETE_HORIZON_FLAG,
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    LOG_APPEND_TIME_FLAG,
    MAGIC,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    TRANSACTIONAL_FLAG,
    Bytes,
)
from odradek.records.compression import NONE, compress
from odradek.records.crc import crc32c
from odradek.records.record import Record, write_varint

_put_crc = Struct(">I").pack_into
_pack_before_crc = Struct(">qiibI").pack
_pack_behind_crc = Struct(">hiqqqhii").pack
"""The header of a batch, cut where what its CRC covers begins."""


def build_batch(
    records: Iterable[Record],
    base_offset: int = 0,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = -1,
    base_sequence: int = NO_SEQUENCE,
    compression: int = NONE,
    transactional: bool = False,
    control: bool = False,
    partition_leader_epoch: int = -1,
    timestamp_type: int = 0,
    log_append_time: int = NO_TIMESTAMP,
    *,
    keep_offsets: bool = False,
    delete_horizon_ms: int | None = None,
    compression_level: int | None = None,
) -> bytearray:
    """One batch of ``records``, ready to be appended.

    Records are numbered from ``base_offset`` on in their order; with ``keep_offsets`` they keep their
    own offsets (compaction), which must ascend from ``base_offset``. With ``timestamp_type``
    LOG_APPEND_TIME the batch carries ``log_append_time`` (ms). ``compression_level`` None is Kafka's
    default for the codec.
    """
    body = bytearray()
    base_timestamp = NO_TIMESTAMP if delete_horizon_ms is None else delete_horizon_ms
    max_timestamp = NO_TIMESTAMP
    count = last_delta = 0
    for record in records:
        if not count and delete_horizon_ms is None:
            base_timestamp = record.timestamp
        last_delta = record.offset - base_offset if keep_offsets else count
        _write_record(body, record, last_delta, record.timestamp - base_timestamp)
        if record.timestamp > max_timestamp:
            max_timestamp = record.timestamp
        count += 1
    attributes = compression
    if transactional:
        attributes |= TRANSACTIONAL_FLAG
    if control:
        attributes |= CONTROL_FLAG
    if delete_horizon_ms is not None:
        attributes |= DELETE_HORIZON_FLAG
    if timestamp_type == LOG_APPEND_TIME:
        attributes |= LOG_APPEND_TIME_FLAG
        max_timestamp = log_append_time
    payload: Bytes = compress(compression, body, compression_level) if compression else body
    batch = bytearray(HEADER_SIZE)
    batch += payload
    HEADER.pack_into(
        batch,
        0,
        base_offset,
        len(batch) - LENGTH_OVERHEAD,
        partition_leader_epoch,
        MAGIC,
        0,
        attributes,
        last_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    )
    seal_batch(batch)
    return batch


def build_plain(
    records: Sequence[tuple[bytes, bytes | None]],
    timestamp_ms: int,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = -1,
    *,
    transactional: bool = False,
) -> bytearray:
    """What :func:`build_batch` makes of ``records`` (keys and values) of one time, at a third of the cost:
    coordinators write several of them for a request."""
    pieces: list[bytes] = []
    for delta, (key, value) in enumerate(records):
        key_length, offset_delta = _varint(len(key)), _varint(delta)
        value_length, content = (b"\1", b"") if value is None else (_varint(len(value)), value)
        size = 3 + len(offset_delta) + len(key_length) + len(key) + len(value_length) + len(content)
        pieces.append(
            b"%b\0\0%b%b%b%b%b\0" % (_varint(size), offset_delta, key_length, key, value_length, content)
        )
    attributes = TRANSACTIONAL_FLAG if transactional else 0
    return around_body(b"".join(pieces), len(records), attributes, timestamp_ms, producer_id, producer_epoch)


def around_body(
    body: bytes, count: int, attributes: int, timestamp_ms: int, producer_id: int, producer_epoch: int
) -> bytearray:
    """The batch whose ``count`` uncompressed records are ``body``, all of one time and without sequence."""
    covered = (
        _pack_behind_crc(
            attributes,
            count - 1,
            timestamp_ms,
            timestamp_ms,
            producer_id,
            producer_epoch,
            NO_SEQUENCE,
            count,
        )
        + body
    )
    length = CRC_START - LENGTH_OVERHEAD + len(covered)
    return bytearray(_pack_before_crc(0, length, -1, MAGIC, crc32c(covered)) + covered)


def seal_batch(batch: bytearray | memoryview) -> None:
    """Recompute the CRC of the one batch that fills ``batch``, after fields that it covers were changed."""
    _put_crc(batch, CRC_START - 4, crc32c(memoryview(batch)[CRC_START:]))


def _write_record(out: bytearray, record: Record, offset_delta: int, timestamp_delta: int) -> None:
    body = bytearray(1)
    write_varint(body, timestamp_delta)
    write_varint(body, offset_delta)
    _write_bytes(body, record.key)
    _write_bytes(body, record.value)
    write_varint(body, len(record.headers))
    for name, content in record.headers:
        _write_bytes(body, name.encode("utf-8", "surrogateescape"))
        _write_bytes(body, content)
    write_varint(out, len(body))
    out += body


def _write_bytes(out: bytearray, content: Bytes | None) -> None:
    if content is None:
        out.append(1)
    else:
        write_varint(out, len(content))
        out += content


def _varint(number: int) -> bytes:
    """``number``, not negative, in zigzag form."""
    return _VARINTS[number] if number < len(_VARINTS) else _make_varint(number)


def _make_varint(number: int) -> bytes:
    out = bytearray()
    write_varint(out, number)
    return bytes(out)


_VARINTS = [_make_varint(number) for number in range(512)]
