"""The controller: every command that changes metadata, as pure functions image → change.

A node alone is its own controller. Commands are checked against everything appended so far, durable or
not, so that two in flight cannot both win; ``broker/metadata_commits.py`` sees to it.
"""

from collections.abc import Sequence

from odradek.cluster.change import Change
from odradek.cluster.configs import (
    Alteration,
    Operation,
    alter_configs,
    broker_layers,
    incremental_alter_configs,
)
from odradek.cluster.features import FeatureUpdate, initial_features, update_features
from odradek.cluster.image import ClusterImage
from odradek.cluster.records import BrokerRegistered, ClusterCreated, ProducerIdsAllocated, Record
from odradek.cluster.topics import (
    CreatedTopic,
    GrownTopic,
    NewTopic,
    create_partitions,
    create_topics,
    delete_topics,
)
from odradek.core.config.broker import BrokerConfig
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import Randomness

__all__ = [
    "Alteration",
    "Change",
    "CreatedTopic",
    "FeatureUpdate",
    "GrownTopic",
    "NewTopic",
    "Operation",
    "allocate_producer_ids",
    "alter_configs",
    "auto_create_topics",
    "broker_layers",
    "create_cluster",
    "create_internal_topic",
    "create_partitions",
    "create_topics",
    "delete_topics",
    "incremental_alter_configs",
    "register_broker",
    "update_features",
]

PRODUCER_ID_BLOCK = 1_000
"""Ids taken at once, as in Kafka: one entry per thousand producers, and none is ever given out twice."""


def create_cluster(cluster_id: str) -> list[Record]:
    """The first records of a new log."""
    return [ClusterCreated(cluster_id), *initial_features()]


def register_broker(broker_id: int, rack: str | None, *, was_clean: bool) -> list[Record]:
    """A broker starts. After an unclean stop its leaderships go on under new epochs (KIP-320): clients that
    read what the crash undid can tell."""
    return [BrokerRegistered(broker_id, rack, takes_over=not was_clean)]


def allocate_producer_ids(image: ClusterImage, broker_id: int) -> Change[range]:
    """The next block of producer ids; may be used once the change is durable."""
    first = image.next_producer_id
    following = first + PRODUCER_ID_BLOCK
    return Change([ProducerIdsAllocated(broker_id, following)], range(first, following))


def auto_create_topics(
    image: ClusterImage, names: Sequence[str], config: BrokerConfig, randomness: Randomness
) -> Change[dict[str, ErrorCode]]:
    """Topics made because somebody asked for them; the result says for which names that is refused."""
    change = create_topics(image, [NewTopic(name) for name in names], config, randomness)
    refused: dict[str, ErrorCode] = {
        name: result.code
        for name, result in change.result.items()
        if isinstance(result, ApiError) and result.code is not ErrorCode.TOPIC_ALREADY_EXISTS
    }
    return Change(change.records, refused)


def create_internal_topic(
    image: ClusterImage,
    name: str,
    partitions: int,
    configs: Sequence[tuple[str, str | None]],
    config: BrokerConfig,
    randomness: Randomness,
) -> Change[dict[str, CreatedTopic | ApiError]]:
    """A topic of the broker's own, with one replica while there is one broker."""
    topic = NewTopic(name, partitions, 1, (), configs)
    return create_topics(image, [topic], config, randomness)
