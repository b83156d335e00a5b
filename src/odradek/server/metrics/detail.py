"""The cardinality switch: down to what series are given."""

from typing import NamedTuple

from odradek.broker.topics import Topics

AUTOMATIC_LIMIT = 1_000
"""``auto`` gives a series to each of so many topics or partitions at most."""


class Detail(NamedTuple):
    """Whether each topic and each partition has series of its own."""

    topics: bool
    partitions: bool


def choose(wanted: str, topics: Topics) -> Detail:
    """What ``odradek.metrics.detail=wanted`` means for as many topics as there are now."""
    if wanted != "auto":
        return Detail(wanted in ("topic", "partition"), wanted == "partition")
    partitions = sum(len(topic.partitions) for topic in topics.by_name.values())
    return Detail(len(topics.by_name) <= AUTOMATIC_LIMIT, partitions <= AUTOMATIC_LIMIT)
