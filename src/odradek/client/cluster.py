"""How a cluster is doing: brokers, their disks, and partitions that cannot be used."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from odradek.client.admin import ResourceType, describe_configs
from odradek.client.client import BrokerInfo, Client, ClusterInfo
from odradek.client.errors import ConnectError
from odradek.core.config import headroom
from odradek.core.config.listeners import parse_address
from odradek.core.config.values import ConfigError
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition

WATCH_TIMEOUT_S = 2.0
_METRICS_LISTENER = "odradek.metrics.listener"


class LogDir(NamedTuple):
    """One data folder. Sizes are of its volume, in bytes, -1 when the broker is too old to tell."""

    path: str
    total: int
    usable: int
    error: str | None
    partitions: dict[TopicPartition, int]
    """Bytes of each partition."""
    headroom: int = 0
    """What producers do not get of it."""


class BrokerHealth(NamedTuple):
    """A broker and its folders; ``error`` says why it could not be asked.

    ``background`` is how its scrub and its compaction do, as ``/readyz`` tells it; None without a listener
    for metrics, or when that cannot be reached from here.
    """

    broker: BrokerInfo
    log_dirs: list[LogDir]
    error: str | None
    background: dict[str, Any] | None = None


class ClusterHealth(NamedTuple):
    """``recovering`` will come by themselves, ``offline`` will not."""

    cluster: ClusterInfo
    brokers: list[BrokerHealth]
    partitions: int
    offline: list[TopicPartition]
    recovering: list[TopicPartition]
    under_replicated: list[TopicPartition]


async def cluster_health(client: Client) -> ClusterHealth:
    """Asks every broker; those that do not answer are told of, not raised."""
    cluster = await client.cluster()
    brokers = [await _ask_broker(client, broker) for broker in sorted(cluster.brokers.values())]
    count = 0
    offline: list[TopicPartition] = []
    recovering: list[TopicPartition] = []
    under_replicated: list[TopicPartition] = []
    for topic in cluster.topics.values():
        for partition in topic.partitions:
            count += 1
            name = TopicPartition(topic.name, partition.partition)
            # A broker that still checks a log says that there is no leader yet; damage has its own code.
            is_coming = partition.error is ErrorCode.LEADER_NOT_AVAILABLE and not partition.offline
            if partition.leader < 0 or is_coming:
                (recovering if is_coming else offline).append(name)
            elif len(partition.in_sync) < len(partition.replicas):
                under_replicated.append(name)
    return ClusterHealth(
        cluster, brokers, count, sorted(offline), sorted(recovering), sorted(under_replicated)
    )


async def describe_log_dirs(
    client: Client, node_id: int, partitions: Iterable[TopicPartition] | None = None
) -> list[LogDir]:
    """The data folders of one broker; ``partitions`` None means all. Raises ``ApiError``."""
    from odradek.protocol.generated.describe_log_dirs import (
        DescribableLogDirTopic,
        DescribeLogDirsRequest,
        DescribeLogDirsResponse,
    )

    topics = None
    if partitions is not None:
        wanted: dict[str, list[int]] = {}
        for name, index in partitions:
            wanted.setdefault(name, []).append(index)
        topics = [DescribableLogDirTopic(topic=name, partitions=indexes) for name, indexes in wanted.items()]
    connection = await client.broker(node_id)
    response = await connection.call(
        DescribeLogDirsRequest(topics=topics), DescribeLogDirsResponse, timeout_ms=client.timeout_ms
    )
    if response.error_code:
        raise ApiError(ErrorCode(response.error_code), f"the data folders of broker {node_id}")
    return [
        LogDir(
            folder.log_dir,
            folder.total_bytes,
            folder.usable_bytes,
            ErrorCode(folder.error_code).name if folder.error_code else None,
            {
                TopicPartition(topic.name, partition.partition_index): partition.partition_size
                for topic in folder.topics
                for partition in topic.partitions
            },
        )
        for folder in response.results
    ]


async def _ask_broker(client: Client, broker: BrokerInfo) -> BrokerHealth:
    try:
        folders = await describe_log_dirs(client, broker.node_id)
        keys = (headroom.KEY, _METRICS_LISTENER)
        entries = await describe_configs(client, ResourceType.BROKER, str(broker.node_id), keys)
    except (ApiError, ConnectError) as error:
        return BrokerHealth(broker, [], str(error))
    values = {entry.name: entry.value for entry in entries}
    configured = int(values.get(headroom.KEY) or headroom.AUTOMATIC)
    folders = [
        folder._replace(headroom=headroom.headroom_of(max(folder.total, 0), configured)) for folder in folders
    ]
    listener = values.get(_METRICS_LISTENER)
    return BrokerHealth(broker, folders, None, await _background(broker.host, listener) if listener else None)


async def _background(host: str, listener: str) -> dict[str, Any] | None:
    """What ``/readyz`` says of it, asked at the broker's own host when it listens everywhere."""
    try:
        bound, port = parse_address(_METRICS_LISTENER, listener)
        async with asyncio.timeout(WATCH_TIMEOUT_S):
            where = host if bound in ("", "0.0.0.0", "::") else bound
            reader, writer = await asyncio.open_connection(where, port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: odradek\r\n\r\n")
                answer = await reader.read()
            finally:
                writer.close()
        found = json.loads(answer.partition(b"\r\n\r\n")[2])["background"]
    except (OSError, TimeoutError, ValueError, KeyError, TypeError, ConfigError):
        return None  # whoever watches over the network need not reach it
    return found if isinstance(found, dict) else None
