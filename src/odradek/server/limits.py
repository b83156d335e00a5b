"""Who may connect: limits on the number of connections and on the rate of new ones.

Source: ``ConnectionQuotas`` of Kafka's ``SocketServer``; KIP-402, KIP-612. Where Kafka lets a connection
beyond ``max.connections`` wait to be accepted, it is closed here, so that its client learns of it.
"""

from collections import Counter

from odradek.broker.broker import Broker
from odradek.broker.rates import Rate
from odradek.core.clock import Clock

_RATE_UNLIMITED = 2**31 - 1


class ConnectionLimits:
    """Counts connections. Limits are read anew each time, as they may change while the broker runs."""

    def __init__(self, broker: Broker, clock: Clock, highest_descriptor: int) -> None:
        config = broker.config
        self._broker = broker
        self._clock = clock
        self._highest_descriptor = highest_descriptor
        self._count = 0
        self._per_host: Counter[str] = Counter()
        self._rate = Rate(config.quota_window_num, config.quota_window_size_seconds * 1_000)
        self.opened_count = 0
        self.refused_counts: Counter[str] = Counter()
        """Connections that were not let in, by the limit that was reached."""

    def enter(self, host: str, descriptor: int) -> str | None:
        """Counts a connection of ``host``; why it must be closed again, or ``None``."""
        config = self._broker.config
        self._count += 1
        self._per_host[host] += 1
        self.opened_count += 1
        if descriptor >= self._highest_descriptor:
            return self._refuse("descriptors", "the process has no more to spare; raise ulimit -n")
        if self._count > config.max_connections:
            return self._refuse("max.connections", f"{config.max_connections} is reached")
        of_host = config.max_connections_per_ip_overrides.get(host, config.max_connections_per_ip)
        if self._per_host[host] > of_host:
            return self._refuse("max.connections.per.ip", f"{of_host} is reached")
        return None

    def _refuse(self, limit: str, reason: str) -> str:
        self.refused_counts[limit] += 1
        return f"{limit}: {reason}"

    def leave(self, host: str) -> None:
        """A connection of ``host`` is gone."""
        self._count -= 1
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]

    def delay_ms(self) -> int:
        """How long a new connection has to wait for ``max.connection.creation.rate``; it is counted."""
        limit = self._broker.config.max_connection_creation_rate
        if limit >= _RATE_UNLIMITED:
            return 0
        now_ms = self._clock.monotonic_ms()
        self._rate.record(1, now_ms)
        return self._rate.throttle_ms(max(limit, 1), now_ms)

    def early_ms(self, host: str) -> int:
        """How much too early a connection of ``host`` comes: it is held for so long, then closed."""
        early_ms = self._broker.quotas.connection_throttle_ms(host)
        if early_ms:
            self.refused_counts["connection_creation_rate"] += 1
        return early_ms
