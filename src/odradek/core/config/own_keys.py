"""Broker keys that Kafka does not have. All begin with ``odradek.``, so that none is ever taken for Kafka's."""

# ruff: noqa: E501

TABLE = """\
odradek.disk.headroom.bytes|LONG|-1|[-1,...]
odradek.metrics.detail|STRING|auto|[auto, broker, topic, partition]
odradek.metrics.listener|STRING|null|
odradek.scrub.enable|BOOLEAN|true|
odradek.scrub.interval.ms|LONG|86400000|[1,...]
odradek.scrub.io.max.bytes.per.second|DOUBLE|1.6777216E7|
"""

DOCUMENTATION = {
    "odradek.disk.headroom.bytes": "Room on the volume that producers do not get; -1 is a twentieth of it, at most 1 GiB.",
    "odradek.metrics.detail": "Down to what metrics are given; auto goes down to partitions while there are at most 1000, to topics while there are at most 1000.",
    "odradek.metrics.listener": "HOST:PORT that answers /metrics (Prometheus), /healthz and /readyz over HTTP; not opened when not set.",
    "odradek.scrub.enable": "Whether all files of all partitions are read and checked in the background, in a child process.",
    "odradek.scrub.interval.ms": "How long after the end of a pass of the scrub the next one begins, also across restarts; the first begins two minutes after the start.",
    "odradek.scrub.io.max.bytes.per.second": "Most bytes that the scrub reads in a second.",
}
"""What each does, in one line."""
