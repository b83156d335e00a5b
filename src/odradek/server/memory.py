"""Bounds what requests that are still on their way may take up, over all connections.

A request that arrives whole is handled out of the shared buffer and needs nothing. One that does not reserves
its announced size first; when there is no room its connection is not read until others are done.
"""

from collections import deque
from typing import Protocol


class Waiting(Protocol):
    """A connection without room for its request."""

    def room_was_made(self) -> None: ...


class RequestMemory:
    """``queued.max.request.bytes``, shared out in the order of asking; -1 (or 0) sets no bound.

    One request always fits, whatever its size. Invariant: who waits holds nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.reserved_bytes = 0
        self._waiting: deque[Waiting] = deque()

    def reserve(self, size: int) -> bool:
        """Whether ``size`` bytes may be used; they are given back by :meth:`release`."""
        if 0 < self.limit_bytes < self.reserved_bytes + size and self.reserved_bytes:
            return False
        self.reserved_bytes += size
        return True

    def wait(self, connection: Waiting) -> None:
        """``connection`` is told when it should ask again."""
        self._waiting.append(connection)

    def leave(self, connection: Waiting) -> None:
        """``connection`` does not wait any more."""
        if connection in self._waiting:
            self._waiting.remove(connection)

    def release(self, size: int) -> None:
        """Gives ``size`` bytes back and tells those who waited longest."""
        self.reserved_bytes -= size
        for _ in range(len(self._waiting)):
            if 0 < self.limit_bytes <= self.reserved_bytes:
                break
            self._waiting.popleft().room_was_made()
