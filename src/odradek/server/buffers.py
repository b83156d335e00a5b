"""Receive buffers: one that all connections share, and large ones lent to those in the middle of a frame.

A connection between frames owns no buffer, so ten thousand idle ones cost nothing. Frames that arrive whole
are handled in the shared buffer without a copy; only the head of a frame that is still on its way is copied
out of it.
"""

SHARED_BYTES = 2 * 1024 * 1024
"""All that a client keeps in flight should fit: a frame that does not is copied, and not handled together
with the others. (Half a MiB: a third more CPU for requests of 1 MB; a quarter of one: for those of 64 KB.)"""
SMALLEST_BYTES = 4 * 1024
FIRST_LARGEST_BYTES = 2 * 1024 * 1024
"""What a frame's announced size may reserve before its bytes arrive; beyond, the buffer grows with them."""
KEPT_BUFFERS = 8


class BufferPool:
    """Lends bytearrays of power-of-two sizes and keeps a few of each size for the next borrower."""

    def __init__(self) -> None:
        self.shared = memoryview(bytearray(SHARED_BYTES))
        self._free: dict[int, list[bytearray]] = {}

    def lend(self, size: int) -> bytearray:
        """A bytearray of at least ``size`` bytes, its content undefined."""
        capacity = max(SMALLEST_BYTES, 1 << (size - 1).bit_length())
        free = self._free.get(capacity)
        return free.pop() if free else bytearray(capacity)

    def take_back(self, buffer: bytearray) -> None:
        """Accepts a lent buffer that nobody looks into any more."""
        free = self._free.setdefault(len(buffer), [])
        if len(buffer) <= FIRST_LARGEST_BYTES and len(free) < KEPT_BUFFERS:
            free.append(buffer)
