"""The time seam: nothing below ``server/`` reads a clock except through this."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings: one that people see, one that only measures."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since the Unix epoch; may jump."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds from an arbitrary start; never goes back. Deadlines are kept in it."""
        ...

    def monotonic_ns(self) -> int:
        """The same in nanoseconds, for what is shorter than a millisecond."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()
