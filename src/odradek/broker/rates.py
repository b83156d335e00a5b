"""How much of a quota is used: a rate over a sliding window, and a bucket of tokens.

Both take the time with each call. Source: Kafka's ``Rate`` over ``SampledStat``, ``TokenBucket`` (KIP-599)
and ``QuotaUtils``.
"""

from collections import deque


class Rate:
    """Units per second over ``count`` windows of ``window_ms``.

    Until that long has passed, the windows that are missing count as if nothing had come in them, so that a
    client that has just begun is not throttled for its first second.
    """

    __slots__ = ("_count", "_samples", "_window_ms", "last_used_ms")

    def __init__(self, count: int, window_ms: int) -> None:
        self._count = count
        self._window_ms = window_ms
        self._samples: deque[list[float]] = deque()
        """[start, last use, sum], the oldest first"""
        self.last_used_ms = 0

    def record(self, amount: float, now_ms: int) -> None:
        self.last_used_ms = now_ms
        samples = self._samples
        if not samples or now_ms - samples[-1][0] >= self._window_ms:
            samples.append([now_ms, now_ms, 0.0])
        samples[-1][1] = now_ms
        samples[-1][2] += amount

    def throttle_ms(self, limit: float, now_ms: int) -> int:
        """How long nothing may come until the rate is at ``limit`` again; 0 while it is not above."""
        self._forget(now_ms)
        total = sum(sample[2] for sample in self._samples)
        window_ms = self._elapsed_ms(now_ms)
        rate = total / (window_ms / 1_000)
        return round((rate - limit) / limit * window_ms) if rate > limit else 0

    def _forget(self, now_ms: int) -> None:
        oldest_ms = now_ms - self._count * self._window_ms
        while self._samples and self._samples[0][1] <= oldest_ms:
            self._samples.popleft()

    def _elapsed_ms(self, now_ms: int) -> int:
        elapsed = now_ms - int(self._samples[0][0]) if self._samples else 0
        missing = self._count - 1 - elapsed // self._window_ms
        if missing > 0:
            elapsed += missing * self._window_ms
        return max(elapsed, 1)


class TokenBucket:
    """Tokens that come back at the quota's rate, at most as many as ``burst_s`` seconds bring."""

    __slots__ = ("_burst_s", "_tokens", "_updated_ms", "last_used_ms")

    def __init__(self, burst_s: float) -> None:
        self._burst_s = burst_s
        self._tokens: float | None = None
        """``None``: full."""
        self._updated_ms = 0
        self.last_used_ms = 0

    def take(self, amount: float, limit: float, now_ms: int) -> None:
        """Takes tokens; there may be less than none afterwards."""
        self._refill(limit, now_ms)
        assert self._tokens is not None
        self._tokens -= amount

    def throttle_ms(self, limit: float, now_ms: int) -> int:
        """How long until there are no less than none."""
        self._refill(limit, now_ms)
        assert self._tokens is not None
        return round(-self._tokens / limit * 1_000) if self._tokens < 0 else 0

    def _refill(self, limit: float, now_ms: int) -> None:
        self.last_used_ms = now_ms
        burst = self._burst_s * limit
        tokens = burst if self._tokens is None else self._tokens
        self._tokens = min(burst, tokens + limit * (now_ms - self._updated_ms) / 1_000)
        self._updated_ms = now_ms
