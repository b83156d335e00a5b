"""Who will be back in a moment, and is worth waiting for with the next flush.

Clients that wait for the disk fall into two halves by themselves: whoever comes during a flush waits for the
next, which begins when the first is over and its half has been answered, and so on. A flush that waits for
those who have just been answered carries both, and half as many are made. Only those are waited for who came
back at once many times in a row, and only for a moment: who is alone, comes now and then, only reads, or has
more requests on their way anyhow neither waits for anybody nor is waited for.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

PROMPT_S = 0.001
"""Who brings nothing within this time is not waited for."""
PROMPT_TIMES = 8
"""So many times in a row somebody has to be prompt before he is waited for."""


class Rider(Protocol):
    """A connection, which keeps this for us."""

    answered_s: float
    """When a flush answered it; 0 once it has come back."""
    prompt_times: int

    @property
    def outstanding(self) -> int:
        """Requests that have no answer yet, or whose answer is about to be sent."""
        ...


class Riders:
    """Those whom the last flush has answered. Times in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered_s = 0.0
        self._awaited: set[Rider] = set()

    def answered(self, riders: Iterable[Rider]) -> None:
        """A flush has answered these; nothing is sent yet."""
        self._answered_s = now_s = self._clock()
        for rider in riders:
            if rider.outstanding == 1:
                rider.answered_s = now_s
                if rider.prompt_times >= PROMPT_TIMES:
                    self._awaited.add(rider)

    def came(self, rider: Rider, *, wants_flush: bool) -> None:
        """One of them waits for an answer again, which needs a flush or not; or its connection has ended."""
        is_prompt = wants_flush and self._clock() - rider.answered_s < PROMPT_S
        rider.answered_s = 0.0
        rider.prompt_times = min(rider.prompt_times + 1, PROMPT_TIMES) if is_prompt else 0
        self._awaited.discard(rider)

    def are_awaited(self) -> bool:
        """Whether somebody will be back in a moment. Who is late is not waited for any more."""
        if self._awaited and self._clock() - self._answered_s >= PROMPT_S:
            self.give_up()
        return bool(self._awaited)

    def give_up(self) -> None:
        """Waits for nobody any more; who did not come has to be prompt again before the next wait for him."""
        for rider in self._awaited:
            rider.prompt_times = 0
        self._awaited.clear()
