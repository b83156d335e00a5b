"""Producer snapshots: ``<offset>.snapshot`` holds what is known of all producers below that offset.

Source: ``ProducerSnapshot.json`` version 1 and ``ProducerStateManager``; FORMAT.md has the layout.
"""

import struct

from odradek.records.crc import crc32c
from odradek.storage.producers import KeptBatch, Producer

VERSION = 1
_HEADER = struct.Struct(">hI")
_COUNT = struct.Struct(">i")
_ENTRY = struct.Struct(">qhiqiqiq")


class SnapshotError(Exception):
    """A snapshot that cannot be used; an older one, or the log itself, takes its place."""


def encode_snapshot(producers: dict[int, Producer]) -> bytes:
    """The file's bytes; of each producer only the last batch is kept, as in Kafka."""
    body = bytearray(_COUNT.pack(len(producers)))
    for producer in producers.values():
        last = producer.batches[-1] if producer.batches else KeptBatch(-1, -1, 0, -1)
        body += _ENTRY.pack(
            producer.producer_id,
            producer.epoch,
            last.last_sequence,
            last.last_offset,
            last.offset_delta,
            producer.last_timestamp,
            producer.coordinator_epoch,
            producer.transaction_start,
        )
    return _HEADER.pack(VERSION, crc32c(body)) + body


def decode_snapshot(content: bytes) -> list[Producer]:
    """The producers in a snapshot's bytes; raises :class:`SnapshotError`."""
    start = _HEADER.size + _COUNT.size
    if len(content) < start:
        raise SnapshotError("too short")
    version, crc = _HEADER.unpack_from(content)
    if version != VERSION:
        raise SnapshotError(f"version {version} is unknown")
    if crc != crc32c(memoryview(content)[_HEADER.size :]):
        raise SnapshotError("CRC does not fit")
    (count,) = _COUNT.unpack_from(content, _HEADER.size)
    if count < 0 or len(content) != start + count * _ENTRY.size:
        raise SnapshotError(f"length does not fit {count} entries")
    return [_producer(*_ENTRY.unpack_from(content, start + number * _ENTRY.size)) for number in range(count)]


def _producer(
    producer_id: int,
    epoch: int,
    last_sequence: int,
    last_offset: int,
    offset_delta: int,
    timestamp: int,
    coordinator_epoch: int,
    transaction_start: int,
) -> Producer:
    producer = Producer(producer_id, epoch, coordinator_epoch, timestamp, max(transaction_start, -1))
    if last_offset >= 0:
        producer.add(KeptBatch(last_sequence, last_offset, offset_delta, timestamp))
    return producer
