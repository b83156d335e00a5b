"""Broker keys that Kafka does not have. All begin with ``odradek.``, so that none is ever taken for Kafka's."""

# ruff: noqa: E501

TABLE = """\
odradek.metrics.detail|STRING|auto|[auto, broker, topic, partition]
odradek.metrics.listener|STRING|null|
"""

DOCUMENTATION = {
    "odradek.metrics.detail": "Down to what metrics are given; auto goes down to partitions while there are at most 1000, to topics while there are at most 1000.",
    "odradek.metrics.listener": "HOST:PORT that answers /metrics (Prometheus), /healthz and /readyz over HTTP; not opened when not set.",
}
"""What each does, in one line."""
