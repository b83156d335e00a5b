"""Deadlines of everything that waits, in one heap that the server turns into one timer of its loop."""

import heapq
import logging
from collections.abc import Callable

log = logging.getLogger("odradek.timers")

COMPACT_WHEN_CANCELLED = 1_024


class Timer:
    """One scheduled call; ``cancel`` is free of order and may come twice."""

    __slots__ = ("_timers", "callback", "deadline_ms")

    def __init__(self, deadline_ms: int, callback: Callable[[], None], timers: "Timers") -> None:
        self.deadline_ms = deadline_ms
        self.callback: Callable[[], None] | None = callback
        self._timers = timers

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._timers.forget_one()


class Timers:
    """A heap of timers on the monotonic clock (milliseconds).

    Invariant: cancelled entries ≤ max(live entries, COMPACT_WHEN_CANCELLED), so memory follows what lives.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0
        self._cancelled = 0
        self.on_earlier: Callable[[], None] | None = None
        """Called when a new timer is due before all others: the server re-arms its own."""

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def schedule(self, deadline_ms: int, callback: Callable[[], None]) -> Timer:
        """Calls ``callback`` at the first :meth:`run_due` at or after ``deadline_ms``."""
        timer = Timer(deadline_ms, callback, self)
        self._sequence += 1
        heapq.heappush(self._heap, (deadline_ms, self._sequence, timer))
        if self._heap[0][2] is timer and self.on_earlier is not None:
            self.on_earlier()
        return timer

    def next_deadline_ms(self) -> int | None:
        """When the next live timer is due, or ``None`` when nothing waits."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def run_due(self, now_ms: int) -> int:
        """Runs what is due at ``now_ms``; returns how many ran.

        Timers that are scheduled meanwhile wait for the next call, so a callback that re-arms itself
        cannot hold the loop.
        """
        newest = self._sequence
        ran = 0
        while self._heap:
            deadline_ms, sequence, timer = self._heap[0]
            callback = timer.callback
            if callback is not None and (deadline_ms > now_ms or sequence > newest):
                break
            heapq.heappop(self._heap)
            if callback is None:
                self._cancelled -= 1
                continue
            timer.callback = None
            try:
                callback()
            except Exception:
                # The others must still run, and the server must still arm its timer for the next.
                log.exception("what was due at %d failed", deadline_ms)
            ran += 1
        return ran

    def forget_one(self) -> None:
        """Counts a cancelled entry, and rebuilds the heap once they outnumber the live ones."""
        self._cancelled += 1
        if self._cancelled > COMPACT_WHEN_CANCELLED and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0
