"""Entries of the metadata log: framed, checked, indexed, and chained by hash.

Each entry is one atomic change. It carries the hash of the entry before, so that two logs that agree on one
entry agree on all before it; that is how a broker will learn that a cluster's history is not its own.
"""

import struct
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from odradek.cluster.records import LEVEL, Record, decode_records, encode_records
from odradek.core.errors import OdradekError

MAGIC = b"OdMe"
HASH_BYTES = 16
FIRST_HASH = bytes(HASH_BYTES)
"""What the first entry names as the hash before it."""
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
COMPRESS_FROM_BYTES = 256

_DEFLATED = 1
_FRAME = struct.Struct(">4sII")
_BODY = struct.Struct(">QQIHHI16s")
HEADER_BYTES = _FRAME.size + _BODY.size


class EntryError(OdradekError):
    """These bytes are no whole entry; the message says why."""


class NewerLevelError(OdradekError):
    """The entry was written under a metadata level that this code does not know."""


class Entry(NamedTuple):
    """One entry. ``durable_index`` is what its writer knew to be on disk when it wrote."""

    number: int
    durable_index: int
    epoch: int
    """The controller's epoch; 0 while a node is its own controller."""
    previous_hash: bytes
    hash: bytes
    payload: bytes
    record_count: int
    size: int
    """Bytes of the whole entry."""

    def records(self) -> list[Record]:
        """Its records; raises what :func:`decode_records` raises."""
        return decode_records(self.payload, self.record_count)


def encode_entry(
    number: int, durable_index: int, epoch: int, previous_hash: bytes, records: Sequence[Record]
) -> tuple[bytes, bytes]:
    """One entry's bytes, and its hash, which the next one names."""
    payload = encode_records(records)
    flags = 0
    if len(payload) >= COMPRESS_FROM_BYTES:
        payload = zlib.compress(payload, 1)
        flags = _DEFLATED
    body = _BODY.pack(number, durable_index, epoch, LEVEL, flags, len(records), previous_hash) + payload
    frame = _FRAME.pack(MAGIC, _FRAME.size + len(body), zlib.crc32(body))
    return frame + body, blake2b(body, digest_size=HASH_BYTES).digest()


def read_entry(data: bytes | memoryview, position: int) -> Entry:
    """The entry at ``position``.

    Raises :class:`EntryError` when there is no whole and unharmed one, :class:`NewerLevelError` when it is
    one of a newer Odradek.
    """
    if len(data) - position < HEADER_BYTES:
        raise EntryError("the header is cut short")
    magic, size, crc = _FRAME.unpack_from(data, position)
    if magic != MAGIC:
        raise EntryError("no entry begins here")
    if size < HEADER_BYTES or size > len(data) - position:
        raise EntryError(f"its length of {size} bytes goes beyond the file")
    body = bytes(data[position + _FRAME.size : position + size])
    if zlib.crc32(body) != crc:
        raise EntryError("its checksum does not match its bytes")
    number, durable_index, epoch, level, flags, count, previous_hash = _BODY.unpack_from(body, 0)
    if level > LEVEL:
        raise NewerLevelError(
            f"entry {number} was written under metadata level {level}, this Odradek knows {LEVEL}; upgrade it"
        )
    payload = body[_BODY.size :]
    if flags & _DEFLATED:
        payload = _inflate(payload)
    digest = blake2b(body, digest_size=HASH_BYTES).digest()
    return Entry(number, durable_index, epoch, previous_hash, digest, payload, count, size)


def _inflate(payload: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(payload, MAX_PAYLOAD_BYTES)
    except zlib.error as error:
        raise EntryError(f"its records cannot be inflated: {error}") from error
    if inflater.unconsumed_tail or not inflater.eof:
        raise EntryError("its records cannot be inflated whole")
    return inflated
