"""Families as the text that Prometheus reads, in slices that do not hold up the event loop."""

from collections.abc import Iterable, Iterator
from itertools import islice

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from odradek.server.metrics.family import Family

__all__ = ["CONTENT_TYPE_LATEST", "process_text", "slices"]

SLICE_ROWS = 250
"""About a millisecond's work."""


def slices(families: Iterable[Family]) -> Iterator[bytes]:
    """The text, a few hundred rows at a time; whoever writes it lets others run in between."""
    for family in families:
        rows = iter(family.rows)
        is_first = True
        while True:
            some = list(islice(rows, SLICE_ROWS))
            if not some:
                break
            metric = Metric(family.name, family.help, family.kind)
            for suffix, values, value in some:
                labels = dict(zip(family.labels, values, strict=False))
                metric.add_sample(family.name + suffix, labels, value)
            text = generate_latest(_Collected(metric))
            # HELP and TYPE stand before the family's first row only.
            yield text if is_first else text.split(b"\n", 2)[2]
            is_first = False


def process_text() -> bytes:
    """CPU, memory and descriptors of this process, under Prometheus' usual names."""
    return generate_latest(ProcessCollector(registry=None))


class _Collected(Collector):
    """What :func:`generate_latest` needs of a registry."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)
