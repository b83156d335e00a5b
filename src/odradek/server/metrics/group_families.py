"""Metrics of consumer groups: members and lag, under kafka_exporter's and kminion's names.

Only what is loaded is shown: scraping loads no group.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from odradek.coordinator.kept_offset import position
from odradek.server.metrics.detail import Detail
from odradek.server.metrics.family import Family, gauge

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.coordinator.shard import GroupShard


class _Offset(NamedTuple):
    """What a group committed for a partition, and how far that is from the end; -1 when it is gone."""

    group: str
    topic: str
    partition: str
    committed: int
    lag: int


def families(broker: "Broker", detail: Detail) -> Iterator[Family]:
    """Groups always; offsets and lag by topic and by partition as ``detail`` says."""
    is_there = "groups" in broker.__dict__
    shards = [runner.shard for runner in broker.groups.ready_runners()] if is_there else []
    yield from _groups(broker, shards)
    offsets = list(_offsets(broker, shards)) if detail.topics else []
    if detail.topics:
        yield from _by_topic(offsets)
    if detail.partitions:
        yield from _by_partition(offsets)


def _groups(broker: "Broker", shards: "list[GroupShard]") -> Iterator[Family]:
    groups = [group for shard in shards for group in shard.groups.values()]
    states = Counter(group.state.value for group in groups)
    yield gauge(
        "odradek_groups",
        "Groups by state.",
        [((state,), count) for state, count in states.items()],
        ["state"],
    )
    members = [((group.group_id,), len(group.members)) for group in groups]
    yield gauge("kafka_consumergroup_members", "Members of a group.", members, ["consumergroup"])
    yield gauge("kminion_kafka_consumer_group_members", "Members of a group.", members, ["group_id"])
    node = str(broker.node_id)
    yield gauge(
        "kminion_kafka_consumer_group_info",
        "A group; 1: it is stable.",
        [
            (
                (
                    node,
                    group.group_id,
                    group.protocol_name or "",
                    group.protocol_type or "",
                    group.state.value,
                ),
                group.state.value == "Stable",
            )
            for group in groups
        ],
        ["coordinator_id", "group_id", "protocol", "protocol_type", "state"],
    )


def _offsets(broker: "Broker", shards: "list[GroupShard]") -> Iterator[_Offset]:
    for shard in shards:
        for group_id, topics in shard.offsets.groups.items():
            for topic, partitions in topics.items():
                for index, kept in partitions.items():
                    offset = position(kept)[0]
                    partition = broker.topics.partition(topic, index)
                    end = partition.log.high_watermark if partition is not None else -1
                    lag = max(end - offset, 0) if end >= 0 else -1
                    yield _Offset(group_id, topic, str(index), offset, lag)


def _by_topic(offsets: list[_Offset]) -> Iterator[Family]:
    committed: Counter[tuple[str, str]] = Counter()
    lag: Counter[tuple[str, str]] = Counter()
    for offset in offsets:
        committed[offset.group, offset.topic] += offset.committed
        lag[offset.group, offset.topic] += max(offset.lag, 0)
    exporter, kminion = ["consumergroup", "topic"], ["group_id", "topic_name"]
    yield gauge("kafka_consumergroup_lag_sum", "Records behind, all partitions.", lag.items(), exporter)
    yield gauge("kafka_consumergroup_current_offset_sum", "Sum of the offsets.", committed.items(), exporter)
    yield gauge("kminion_kafka_consumer_group_topic_lag", "Records behind.", lag.items(), kminion)
    yield gauge(
        "kminion_kafka_consumer_group_topic_offset_sum", "Sum of the offsets.", committed.items(), kminion
    )


def _by_partition(offsets: list[_Offset]) -> Iterator[Family]:
    exporter = ["consumergroup", "topic", "partition"]
    yield gauge(
        "kafka_consumergroup_current_offset",
        "Committed offset.",
        ((offset[:3], offset.committed) for offset in offsets),
        exporter,
    )
    yield gauge(
        "kafka_consumergroup_lag",
        "Records behind; -1: the partition is gone.",
        ((offset[:3], offset.lag) for offset in offsets),
        exporter,
    )
    yield gauge(
        "kminion_kafka_consumer_group_topic_partition_lag",
        "Records behind.",
        ((offset[:3], offset.lag) for offset in offsets if offset.lag >= 0),
        ["group_id", "topic_name", "partition_id"],
    )
