"""Compression of batches as Kafka frames it, with a bound on what may come out.

gzip and zstd are plain streams; snappy is framed as xerial's ``SnappyOutputStream`` frames it (plain
blocks are read too, some clients send them); lz4 is the standard frame with independent blocks, as
Kafka's Java reader demands. Levels are Kafka's ``compression.<codec>.level``.
"""

import struct
import zlib
from collections.abc import Callable

import cramjam

from odradek.records.errors import CorruptBatchError, InvalidRecordsError

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NAMES = ("uncompressed", "gzip", "snappy", "lz4", "zstd")
"""The names that ``compression.type`` uses, by id."""

MAX_DECOMPRESSED_BYTES = 128 * 1024 * 1024
"""Nothing is inflated beyond this, whatever the compressed bytes promise."""

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK = 32 * 1024
_LZ4_HEADER = b"\x04\x22\x4d\x18\x60\x40\x82"  # version 1, independent blocks of 64 KB, header checksum
_LZ4_BLOCK = 64 * 1024
_LZ4_DEFAULT_LEVEL = 9
_SMALLEST_OUTPUT = 64 * 1024
_LENGTH = struct.Struct(">i")

Bytes = bytes | bytearray | memoryview


def compress(codec: int, data: Bytes, level: int | None = None) -> bytes:
    """``data`` compressed with ``codec`` (``NONE`` copies it); ``level`` None means Kafka's default.

    Raises ``ValueError`` for an unknown codec.
    """
    if codec == NONE:
        return bytes(data)
    if codec == GZIP:
        squeezer = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, 31)
        return squeezer.compress(data) + squeezer.flush()
    if codec == SNAPPY:
        return _compress_snappy(data)
    if codec == LZ4:
        return _compress_lz4(data, level)
    if codec == ZSTD:
        return bytes(cramjam.zstd.compress(data, 3 if level is None else level))
    raise ValueError(f"unknown compression codec {codec}")


def decompress(codec: int, data: Bytes, limit: int = MAX_DECOMPRESSED_BYTES) -> Bytes:
    """The original bytes; for ``NONE`` the very buffer given.

    Raises :class:`CorruptBatchError` when ``data`` is no such stream, :class:`InvalidRecordsError` for
    an unknown codec or when more than ``limit`` bytes would come out.
    """
    if codec == NONE:
        return data
    if codec == GZIP:
        return _decompress_gzip(data, limit)
    if codec == SNAPPY:
        return _decompress_snappy(data, limit)
    if codec == LZ4:
        return _decompress_bounded(cramjam.lz4.decompress_into, data, limit)
    if codec == ZSTD:
        return _decompress_bounded(cramjam.zstd.decompress_into, data, limit)
    raise InvalidRecordsError(f"unknown compression codec {codec}")


def _too_large(limit: int) -> InvalidRecordsError:
    return InvalidRecordsError(f"the batch decompresses to more than {limit} bytes")


def _compress_snappy(data: Bytes) -> bytes:
    view = memoryview(data)
    parts = [_XERIAL_HEADER]
    for start in range(0, len(view), _XERIAL_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK]))
        parts += (_LENGTH.pack(len(block)), block)
    return b"".join(parts)


def _compress_lz4(data: Bytes, level: int | None) -> bytes:
    view = memoryview(data)
    squeeze = cramjam.lz4.compress_block
    plain_level = level is None or level == _LZ4_DEFAULT_LEVEL
    parts = [_LZ4_HEADER]
    for start in range(0, len(view), _LZ4_BLOCK):
        plain = view[start : start + _LZ4_BLOCK]
        if plain_level:
            block = bytes(squeeze(plain, store_size=False))
        else:
            block = bytes(squeeze(plain, store_size=False, mode="high_compression", compression=level))
        if len(block) < len(plain):
            parts += (len(block).to_bytes(4, "little"), block)
        else:
            parts += ((len(plain) | 0x80000000).to_bytes(4, "little"), bytes(plain))
    parts.append(b"\0\0\0\0")
    return b"".join(parts)


def _decompress_gzip(data: Bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    rest: Bytes = data
    try:
        while rest:
            inflater = zlib.decompressobj(31)
            piece = inflater.decompress(rest, left + 1)
            left -= len(piece)
            if left < 0:
                raise _too_large(limit)
            parts.append(piece)
            if not inflater.eof:
                raise CorruptBatchError("gzip stream ends early")
            rest = inflater.unused_data
    except zlib.error as error:
        raise CorruptBatchError(f"gzip: {error}") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _decompress_snappy(data: Bytes, limit: int) -> bytes:
    view = memoryview(data)
    if bytes(view[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        return _decompress_snappy_block(view, limit, limit)
    parts: list[bytes] = []
    left = limit
    position = len(_XERIAL_HEADER)
    while position < len(view):
        if len(view) - position < 4:
            raise CorruptBatchError("snappy block length cut off")
        (length,) = _LENGTH.unpack_from(view, position)
        position += 4
        if not 0 <= length <= len(view) - position:
            raise CorruptBatchError(f"snappy block length {length} reaches beyond the batch")
        block = _decompress_snappy_block(view[position : position + length], left, limit)
        left -= len(block)
        parts.append(block)
        position += length
    return b"".join(parts)


def _decompress_snappy_block(block: memoryview, left: int, limit: int) -> bytes:
    try:
        if cramjam.snappy.decompress_raw_len(block) > left:
            raise _too_large(limit)
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise CorruptBatchError(f"snappy: {error}") from error


def _decompress_bounded(into: Callable[[Bytes, bytearray], int], data: Bytes, limit: int) -> memoryview:
    size = min(max(_SMALLEST_OUTPUT, 4 * len(data)), limit)
    while True:
        output = bytearray(size)
        try:
            length = into(data, output)
        except cramjam.DecompressionError as error:
            if "write whole buffer" not in str(error):
                raise CorruptBatchError(str(error)) from error
            if size >= limit:
                raise _too_large(limit) from error
            size = min(size * 4, limit)
        else:
            return memoryview(output)[:length]
