"""Which partition a record goes to, chosen as Java's producer chooses it.

Source: ``org.apache.kafka.common.utils.Utils.murmur2``, ``BuiltInPartitioner.partitionForKey``;
KIP-794 for records without a key.
"""

import struct
from functools import lru_cache

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit MurmurHash2 with Kafka's seed, as an unsigned number."""
    length = len(data)
    state = _SEED ^ length
    for (word,) in struct.iter_unpack("<I", data[: length & ~3]):
        word = word * _FACTOR & _MASK
        state = state * _FACTOR & _MASK ^ (word ^ word >> 24) * _FACTOR & _MASK
    tail = data[length & ~3 :]
    if tail:
        state = (state ^ int.from_bytes(tail, "little")) * _FACTOR & _MASK
    state = (state ^ state >> 13) * _FACTOR & _MASK
    return state ^ state >> 15


@lru_cache(maxsize=65536)
def partition_for_key(key: bytes, partition_count: int) -> int:
    """The partition of ``key`` among ``partition_count``."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count


class StickyPartitions:
    """Partitions for records without a key: one for a whole batch, then the next.

    Whole batches instead of turns by record keep batches large (KIP-480, KIP-794).
    """

    __slots__ = ("_batch_bytes", "_count", "_current", "_filled")

    def __init__(self, partition_count: int, batch_bytes: int, first: int = 0) -> None:
        self._count = partition_count
        self._batch_bytes = batch_bytes
        self._current = first % partition_count
        self._filled = 0

    def next_partition(self, record_bytes: int) -> int:
        """The partition for a record of about ``record_bytes``."""
        if self._filled >= self._batch_bytes:
            self.turn()
        self._filled += record_bytes
        return self._current

    def turn(self) -> None:
        """Go to the next partition: the current one's batch has been sent."""
        if self._filled:
            self._current = (self._current + 1) % self._count
            self._filled = 0
