"""A clock that stands still until a test moves it."""


class FakeClock:
    """All readings of :class:`odradek.core.clock.Clock`, moved together by :meth:`advance`."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def monotonic_ns(self) -> int:
        return self._monotonic_ms * 1_000_000

    def advance(self, ms: int) -> None:
        self._now_ms += ms
        self._monotonic_ms += ms
