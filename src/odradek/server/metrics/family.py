"""One metric family before it is text: name, kind, help, and rows that are made while they are written."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from odradek.server.histogram import Histogram

Row = tuple[str, Sequence[str], float]
"""(what follows the family's name, label values, value)"""


class Family(NamedTuple):
    """``kind`` is gauge, counter or histogram. A counter's name stands without its ``_total``."""

    name: str
    kind: str
    help: str
    labels: Sequence[str]
    rows: Iterable[Row]


def gauge(
    name: str, help_text: str, rows: Iterable[tuple[Sequence[str], float]], labels: Sequence[str] = ()
) -> Family:
    """Values that go up and down."""
    return Family(name, "gauge", help_text, labels, (("", values, value) for values, value in rows))


def counter(
    name: str, help_text: str, rows: Iterable[tuple[Sequence[str], float]], labels: Sequence[str] = ()
) -> Family:
    """Sums that only grow while the broker runs."""
    return Family(name, "counter", help_text, labels, (("_total", values, value) for values, value in rows))


def single(name: str, help_text: str, value: float) -> Family:
    """A gauge without labels."""
    return gauge(name, help_text, [((), value)])


def histogram(name: str, help_text: str, observed: Histogram) -> Family:
    """Buckets, sum and count."""
    rows: list[Row] = []
    so_far = 0
    for bound, count in zip((*observed.bounds, float("inf")), observed.counts, strict=True):
        so_far += count
        rows.append(("_bucket", (_bound(bound),), so_far))
    rows += [("_sum", (), observed.sum), ("_count", (), so_far)]
    return Family(name, "histogram", help_text, ("le",), rows)


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)
