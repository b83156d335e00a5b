"""Time and turn-taking of a simulation: one heap of events, coroutines that wait on it, no asyncio.

Events at the same time run in the order in which they were scheduled, so a run depends on nothing but its
seed.
"""

import heapq
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
EPOCH_MS = 1_700_000_000_000


class Future(Generic[T]):
    """A value that will be there; awaited by one task at most."""

    __slots__ = ("_error", "_value", "_waiter", "is_done")

    def __init__(self) -> None:
        self.is_done = False
        self._value: Any = None
        self._error: Exception | None = None
        self._waiter: Callable[[], None] | None = None

    def resolve(self, value: T) -> None:
        if not self.is_done:
            self.is_done, self._value = True, value
            self._wake()

    def fail(self, error: Exception) -> None:
        if not self.is_done:
            self.is_done, self._error = True, error
            self._wake()

    def when_done(self, waiter: Callable[[], None]) -> None:
        if self.is_done:
            waiter()
        else:
            self._waiter = waiter

    def __await__(self) -> Generator["Future[T]", None, T]:
        if not self.is_done:
            yield self
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()


class Loop:
    """The clock (:class:`odradek.core.clock.Clock`) and the events on it. Times in milliseconds."""

    def __init__(self) -> None:
        self._now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.events = 0

    def now_ms(self) -> int:
        return EPOCH_MS + int(self._now)

    def monotonic_ms(self) -> int:
        return int(self._now)

    def monotonic_ns(self) -> int:
        return int(self._now * 1_000_000)

    @property
    def elapsed_ms(self) -> float:
        """Since the beginning, fractions included."""
        return self._now

    def after(self, delay_ms: float, callback: Callable[[], None]) -> None:
        self.at(self._now + delay_ms, callback)

    def at(self, elapsed_ms: float, callback: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (elapsed_ms, self._number, callback))

    def run_for(self, ms: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Run events for that long, or until ``until()``; whether that came. May be called by an event."""
        end = self._now + ms
        while not until():
            if not self._heap or self._heap[0][0] > end:
                self._now = max(self._now, end)
                return until()
            at, _, callback = heapq.heappop(self._heap)
            self._now = max(self._now, at)
            self.events += 1
            callback()
        return True

    async def sleep(self, ms: float) -> None:
        future: Future[None] = Future()
        self.after(ms, lambda: future.resolve(None))
        await future

    def spawn(self, work: Coroutine[Future[Any], None, None]) -> Future[None]:
        """Run ``work`` beside everything else; an error of its ends the simulation."""
        ended: Future[None] = Future()

        def step() -> None:
            try:
                waits_for = work.send(None)
            except StopIteration:
                ended.resolve(None)
                return
            waits_for.when_done(lambda: self.after(0, step))

        self.after(0, step)
        return ended
