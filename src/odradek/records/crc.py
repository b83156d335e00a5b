"""CRC-32C (Castagnoli), the checksum of record batches and of producer snapshots.

``crc32c(buffer, seed=0) -> int`` takes any contiguous buffer and returns the unsigned sum; with the sum of
earlier bytes as ``seed`` it continues. It is the C function itself: the append path calls it for each batch.
"""

from crc32c import crc32c

__all__ = ["crc32c"]
