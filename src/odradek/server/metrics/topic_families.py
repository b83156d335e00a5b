"""Metrics of topics and partitions: JMX exporter's names, kafka_exporter's and kminion's."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from odradek.broker.partitions import Partition
from odradek.broker.traffic import Counts, Traffic
from odradek.server.metrics.detail import Detail
from odradek.server.metrics.family import Family, counter, gauge

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_TRAFFIC: tuple[tuple[str, str, Callable[[Counts], int]], ...] = (
    ("messagesin", "Records that came in.", lambda counts: counts.messages_in),
    ("bytesin", "Bytes of records that came in.", lambda counts: counts.bytes_in),
    ("bytesout", "Bytes of records that consumers got.", lambda counts: counts.bytes_out),
)
_Measure = Callable[[Partition], float]
_PARTITION: tuple[tuple[str, str, tuple[str, str], _Measure], ...] = (
    ("kafka_log_log_size", "Bytes.", ("topic", "partition"), lambda p: p.log.size),
    (
        "kafka_log_log_logstartoffset",
        "First offset.",
        ("topic", "partition"),
        lambda p: p.log.log_start_offset,
    ),
    ("kafka_log_log_logendoffset", "Next offset.", ("topic", "partition"), lambda p: p.log.log_end_offset),
    ("kafka_log_log_numlogsegments", "Segments.", ("topic", "partition"), lambda p: len(p.log.segments)),
    (
        "kafka_topic_partition_current_offset",
        "High watermark.",
        ("topic", "partition"),
        lambda p: p.log.high_watermark,
    ),
    (
        "kafka_topic_partition_oldest_offset",
        "First offset.",
        ("topic", "partition"),
        lambda p: p.log.log_start_offset,
    ),
    (
        "kminion_kafka_topic_partition_high_water_mark",
        "High watermark.",
        ("topic_name", "partition_id"),
        lambda p: p.log.high_watermark,
    ),
    (
        "kminion_kafka_topic_partition_low_water_mark",
        "First offset.",
        ("topic_name", "partition_id"),
        lambda p: p.log.log_start_offset,
    ),
)


def families(broker: "Broker", traffic: Traffic, detail: Detail) -> Iterator[Family]:
    """Sums of all topics always, each topic and each partition as ``detail`` says."""
    for name, help_text, of in _TRAFFIC:
        rows: list[tuple[tuple[str, ...], float]] = [((), of(traffic.all_topics))]
        if detail.topics:
            rows += [((topic.name,), of(counts)) for topic, counts in traffic.by_topic.items()]
        yield counter(f"kafka_server_brokertopicmetrics_{name}", help_text, rows, ["topic"])
    if detail.topics:
        yield from _topics(broker)
    if detail.partitions:
        yield from _partitions(broker)


def _topics(broker: "Broker") -> Iterator[Family]:
    topics = list(broker.topics.by_name.values())
    yield gauge(
        "kafka_topic_partitions", "Partitions.", [((t.name,), len(t.partitions)) for t in topics], ["topic"]
    )
    yield gauge(
        "kminion_kafka_topic_info",
        "A topic.",
        [
            (
                (
                    topic.name,
                    broker.image.topics[topic.name].configs.get("cleanup.policy", "delete"),
                    str(len(topic.partitions)),
                    "1",
                ),
                1,
            )
            for topic in topics
            if topic.name in broker.image.topics
        ],
        ["topic_name", "cleanup_policy", "partition_count", "replication_factor"],
    )
    sums: tuple[tuple[str, str, _Measure], ...] = (
        ("high_water_mark_sum", "Sum of the high watermarks.", lambda p: p.log.high_watermark),
        ("low_water_mark_sum", "Sum of the first offsets.", lambda p: p.log.log_start_offset),
        ("log_dir_size_total_bytes", "Bytes of all partitions.", lambda p: p.log.size),
    )
    for name, help_text, of in sums:
        rows = [((topic.name,), sum(map(of, topic.partitions))) for topic in topics]
        yield gauge(f"kminion_kafka_topic_{name}", help_text, rows, ["topic_name"])


def _partitions(broker: "Broker") -> Iterator[Family]:
    for name, help_text, labels, of in _PARTITION:
        rows = (
            ((topic.name, str(partition.index)), of(partition))
            for topic in list(broker.topics.by_name.values())
            for partition in topic.partitions
        )
        yield gauge(name, help_text, rows, labels)
    yield from _replicas(broker)


def _replicas(broker: "Broker") -> Iterator[Family]:
    """One replica for each partition: the leader, in sync unless it is offline."""
    node = broker.node_id
    measures: tuple[tuple[str, str, _Measure], ...] = (
        ("leader", "The leader's id, -1 without one.", lambda p: -1 if p.log.offline else node),
        ("leader_is_preferred", "1: the first replica leads.", lambda p: p.log.offline is None),
        ("replicas", "Replicas.", lambda p: 1),
        ("in_sync_replica", "Replicas in sync.", lambda p: p.log.offline is None),
        ("under_replicated_partition", "1: replicas are missing.", lambda p: p.log.offline is not None),
    )
    for name, help_text, of in measures:
        rows = (
            ((topic.name, str(partition.index)), of(partition))
            for topic in list(broker.topics.by_name.values())
            for partition in topic.partitions
        )
        yield gauge(f"kafka_topic_partition_{name}", help_text, rows, ["topic", "partition"])
