"""The last offset of each key, in bounded memory: what compaction decides by.

Source: ``SkimpyOffsetMap``. Like there long keys are represented by a 128-bit digest; unlike there by BLAKE2,
for which nobody can make two keys collide on purpose, and short keys stand for themselves.
"""

from hashlib import blake2b

ENTRY_BYTES = 192
"""What one key takes of memory at most (digest, number, slot, and the table's growing), measured."""
_DIGEST_BYTES = 16


class OffsetMap:
    """Holds up to ``limit`` keys. ``latest_offset`` is up to where the log was taken in, -1 at first."""

    __slots__ = ("_offsets", "latest_offset", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = max(limit, 1)
        self.latest_offset = -1
        self._offsets: dict[bytes, int] = {}

    @classmethod
    def within(cls, memory_bytes: int, load_factor: float) -> "OffsetMap":
        """As large as ``load_factor`` of ``memory_bytes`` allows (``log.cleaner.dedupe.buffer.size``)."""
        return cls(int(memory_bytes * load_factor) // ENTRY_BYTES)

    def __len__(self) -> int:
        return len(self._offsets)

    def put(self, key: bytes, offset: int) -> bool:
        """Note that ``key`` is at ``offset``, which ascends; False, and nothing noted, when it is full."""
        if len(key) >= _DIGEST_BYTES:
            key = blake2b(key, digest_size=_DIGEST_BYTES).digest()
        offsets = self._offsets
        if len(offsets) >= self.limit:
            return False
        offsets[key] = self.latest_offset = offset
        return True

    def get(self, key: bytes) -> int:
        """The last offset of ``key``, -1 when it is not known."""
        if len(key) >= _DIGEST_BYTES:
            key = blake2b(key, digest_size=_DIGEST_BYTES).digest()
        return self._offsets.get(key, -1)
