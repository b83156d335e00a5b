"""Everything that ``/metrics`` shows, collected from a running server."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from odradek.broker import health
from odradek.broker.traffic import Traffic
from odradek.server.metrics import broker_families, group_families, topic_families
from odradek.server.metrics.detail import choose
from odradek.server.metrics.exposition import process_text, slices

if TYPE_CHECKING:
    from odradek.server.server import Server


class MetricsCollector:
    """Counts traffic from the moment it is made."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._traffic = Traffic(server.broker.topics)

    def slices(self) -> Iterator[bytes]:
        """The text, piece by piece, empty ones among them; each is a millisecond's work or so."""
        broker = self._server.broker
        detail = choose(broker.config.metrics_detail, broker.topics)
        for _ in self._traffic.look_in_parts():
            yield b""
        yield from slices(broker_families.families(self._server, health.look(broker), self._traffic))
        yield from slices(topic_families.families(broker, self._traffic, detail))
        yield from slices(group_families.families(broker, detail))
        yield process_text()
