"""The cluster's metadata as immutable values. A new image shares all that did not change with the old."""

from collections.abc import Mapping
from typing import NamedTuple

from odradek.core.ids import TopicId

ConfigResource = tuple[int, str]
"""(resource type as DescribeConfigs numbers it, name); an empty broker name stands for all brokers."""

QuotaEntity = tuple[tuple[str, str | None], ...]
"""Whom a quota is for: (``user``, ``client-id`` or ``ip``; name), in alphabetical order. A name of ``None``
stands for all that have no quota of their own."""

TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4
BROKER_LOGGER_RESOURCE = 8
CLIENT_METRICS_RESOURCE = 16
GROUP_RESOURCE = 32

_NO_CONFIGS: Mapping[str, str] = {}
_NO_QUOTAS: Mapping[QuotaEntity, Mapping[str, float]] = {}


class PartitionImage(NamedTuple):
    """One partition. ``leader_epoch`` grows with each leader, ``partition_epoch`` with each change."""

    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    partition_epoch: int


class TopicImage(NamedTuple):
    """One topic; ``partitions`` in the order of their index, ``configs`` are its own overrides."""

    name: str
    topic_id: TopicId
    partitions: tuple[PartitionImage, ...]
    configs: Mapping[str, str] = _NO_CONFIGS


class BrokerImage(NamedTuple):
    """One broker. ``epoch`` is the log index of its registration, so it never comes twice."""

    broker_id: int
    epoch: int
    rack: str | None


class ClusterImage:
    """All metadata as of entry ``index`` of the metadata log.

    Nothing in it is ever changed in place; compare parts of two images by identity to see what moved.
    ``configs`` holds the dynamic settings of everything but topics, whose own are in their images.
    """

    __slots__ = (
        "brokers",
        "cluster_id",
        "configs",
        "features",
        "index",
        "next_producer_id",
        "quotas",
        "topics",
        "topics_by_id",
    )

    def __init__(
        self,
        cluster_id: str,
        index: int,
        topics: Mapping[str, TopicImage],
        topics_by_id: Mapping[TopicId, TopicImage],
        configs: Mapping[ConfigResource, Mapping[str, str]],
        brokers: Mapping[int, BrokerImage],
        next_producer_id: int,
        features: Mapping[str, int],
        quotas: Mapping[QuotaEntity, Mapping[str, float]] = _NO_QUOTAS,
    ) -> None:
        self.cluster_id = cluster_id
        self.index = index
        self.topics = topics
        self.topics_by_id = topics_by_id
        self.configs = configs
        self.brokers = brokers
        self.next_producer_id = next_producer_id
        self.features = features
        self.quotas = quotas

    def resource_configs(self, resource: ConfigResource) -> Mapping[str, str]:
        """The dynamic settings of one resource that is not a topic; empty when none were made."""
        return self.configs.get(resource, _NO_CONFIGS)


EMPTY = ClusterImage("", 0, {}, {}, {}, {}, 0, {})
"""The image before the first entry."""
