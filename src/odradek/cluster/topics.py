"""Commands on topics: create, delete, grow. Pure: image and command → records and results.

Checks, their order and their codes: ``org.apache.kafka.controller.ReplicationControlManager`` (Kafka 4.3).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from odradek.cluster.change import Change
from odradek.cluster.configs import broker_layers
from odradek.cluster.image import TOPIC_RESOURCE, ClusterImage, TopicImage
from odradek.cluster.names import Collisions, invalid_name_reason
from odradek.cluster.records import ConfigChanged, PartitionCreated, Record, TopicCreated, TopicDeleted
from odradek.core.config.broker import BrokerConfig
from odradek.core.config.layers import BrokerLayers, validate_topic
from odradek.core.config.values import ConfigError
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import Randomness, TopicId, new_id

METADATA_TOPIC = "__cluster_metadata"
MAX_RECORDS = 10_000
"""Of one command, as in Kafka: an entry is atomic, so it must stay small enough to be."""


class NewTopic(NamedTuple):
    """A topic to make. -1 asks for the broker's default; ``assignments`` (partition → brokers) excludes both
    numbers; a config value of ``None`` is refused."""

    name: str
    partitions: int = -1
    replication_factor: int = -1
    assignments: Sequence[tuple[int, Sequence[int]]] = ()
    configs: Sequence[tuple[str, str | None]] = ()


class CreatedTopic(NamedTuple):
    """A topic that will be there once the change is durable."""

    topic_id: TopicId
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


class GrownTopic(NamedTuple):
    """A topic to grow to ``total`` partitions; ``assignments`` holds the brokers of each new one."""

    name: str
    total: int
    assignments: Sequence[Sequence[int]] | None = None


def create_topics(
    image: ClusterImage,
    topics: Sequence[NewTopic],
    config: BrokerConfig,
    randomness: Randomness,
) -> Change[dict[str, CreatedTopic | ApiError]]:
    """Every topic on its own: those that fail do not hold the others up. Names must be distinct."""
    collisions = Collisions(image.topics)
    layers = broker_layers(image, config)
    records: list[Record] = []
    results: dict[str, CreatedTopic | ApiError] = {}
    for topic in topics:
        try:
            made, result = _create_topic(image, topic, config, layers, collisions, randomness)
            if len(records) + len(made) > MAX_RECORDS:
                raise _too_large()
        except ApiError as error:
            results[topic.name] = error
            continue
        results[topic.name] = result
        records += made
        collisions.add(topic.name)
    return Change(records, results)


def _create_topic(
    image: ClusterImage,
    topic: NewTopic,
    config: BrokerConfig,
    layers: BrokerLayers,
    collisions: Collisions,
    randomness: Randomness,
) -> tuple[list[Record], CreatedTopic]:
    name = topic.name
    reason = invalid_name_reason(name)
    if reason is not None:
        raise ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, reason)
    if name == METADATA_TOPIC:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            f"{name} is the name of Kafka's metadata log, which is no topic",
        )
    if name in image.topics:
        raise ApiError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
    other = collisions.colliding(name)
    if other is not None:
        raise ApiError(
            ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {other}"
        )
    nulls = [key for key, value in topic.configs if value is None]
    if nulls:
        raise ApiError(
            ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {','.join(nulls)}"
        )
    configs = {key: value for key, value in topic.configs if value is not None}
    try:
        validate_topic(layers, configs)
    except ConfigError as error:
        raise ApiError(ErrorCode.INVALID_CONFIG, str(error)) from error
    placement = _placement(image, topic, config)
    topic_id = new_id(randomness)
    records: list[Record] = [TopicCreated(name, topic_id)]
    records += [ConfigChanged(TOPIC_RESOURCE, name, key, value) for key, value in configs.items()]
    records += [
        PartitionCreated(topic_id, number, replicas[0], replicas, replicas)
        for number, replicas in enumerate(placement)
    ]
    return records, CreatedTopic(topic_id, len(placement), len(placement[0]), configs)


def _placement(image: ClusterImage, topic: NewTopic, config: BrokerConfig) -> list[tuple[int, ...]]:
    """The replicas of each partition, leader first."""
    if topic.assignments:
        return _manual_placement(image, topic)
    replication_factor = topic.replication_factor
    if replication_factor < -1 or replication_factor == 0:
        raise ApiError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    if topic.partitions < -1 or topic.partitions == 0:
        raise ApiError(
            ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
        )
    count = config.num_partitions if topic.partitions == -1 else topic.partitions
    if replication_factor == -1:
        replication_factor = config.default_replication_factor
    return _place(image, count, replication_factor)


def _place(image: ClusterImage, count: int, replication_factor: int) -> list[tuple[int, ...]]:
    brokers = sorted(image.brokers)
    if replication_factor > len(brokers):
        raise ApiError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {replication_factor} time(s): The target replication factor"
            f" of {replication_factor} cannot be reached because only {len(brokers)} broker(s) are"
            " registered.",
        )
    if count > MAX_RECORDS:
        raise _too_large()
    return [
        tuple(brokers[(number + offset) % len(brokers)] for offset in range(replication_factor))
        for number in range(count)
    ]


def _too_large() -> ApiError:
    return ApiError(
        ErrorCode.POLICY_VIOLATION,
        f"Excessively large number of partitions per request: {MAX_RECORDS} records at most",
    )


def _manual_placement(image: ClusterImage, topic: NewTopic) -> list[tuple[int, ...]]:
    if topic.replication_factor != -1:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        )
    if topic.partitions != -1:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        )
    placement: dict[int, tuple[int, ...]] = {}
    replication_factor: int | None = None
    for number, brokers in topic.assignments:
        if number in placement:
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Found multiple manual partition assignments for partition {number}",
            )
        placement[number] = _check_replicas(image, brokers, replication_factor)
        replication_factor = len(brokers)
    if sorted(placement) != list(range(len(placement))):
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence",
        )
    return [placement[number] for number in range(len(placement))]


def _check_replicas(
    image: ClusterImage, brokers: Sequence[int], replication_factor: int | None
) -> tuple[int, ...]:
    if not brokers:
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        )
    for broker_id in sorted(brokers):
        if broker_id not in image.brokers:
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"The manual partition assignment includes broker {broker_id}, but no such broker is"
                " registered.",
            )
    if len(set(brokers)) != len(brokers):
        repeated = next(broker_id for broker_id in sorted(brokers) if list(brokers).count(broker_id) > 1)
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"The manual partition assignment includes the broker {repeated} more than once.",
        )
    if replication_factor is not None and len(brokers) != replication_factor:
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"The manual partition assignment includes a partition with {len(brokers)} replica(s), but this"
            f" is not consistent with previous partitions, which have {replication_factor} replica(s).",
        )
    return tuple(brokers)


def delete_topics(
    image: ClusterImage, topic_ids: Sequence[TopicId]
) -> Change[dict[TopicId, TopicImage | ApiError]]:
    """Deletes by id; results hold what was there. Ids must be distinct."""
    records: list[Record] = []
    results: dict[TopicId, TopicImage | ApiError] = {}
    for topic_id in topic_ids:
        topic = image.topics_by_id.get(topic_id)
        if topic is None:
            results[topic_id] = ApiError(ErrorCode.UNKNOWN_TOPIC_ID)
            continue
        results[topic_id] = topic
        records.append(TopicDeleted(topic_id))
    return Change(records, results)


def create_partitions(
    image: ClusterImage, topics: Sequence[GrownTopic]
) -> Change[dict[str, ApiError | None]]:
    """Grows topics, each on its own. Names must be distinct."""
    records: list[Record] = []
    results: dict[str, ApiError | None] = {}
    for topic in topics:
        try:
            made = _grow(image, topic)
            if len(records) + len(made) > MAX_RECORDS:
                raise _too_large()
        except ApiError as error:
            results[topic.name] = error
            continue
        results[topic.name] = None
        records += made
    return Change(records, results)


def _grow(image: ClusterImage, topic: GrownTopic) -> list[Record]:
    """Source: ``ReplicationControlManager.createPartitions``."""
    current = image.topics.get(topic.name)
    if current is None:
        raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    present = len(current.partitions)
    if topic.total == present:
        raise ApiError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {present} partition(s).")
    if topic.total < present:
        raise ApiError(
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {topic.name} currently has {present} partition(s); {topic.total} would not be an"
            " increase.",
        )
    added = topic.total - present
    if topic.assignments is not None and len(topic.assignments) != added:
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Attempted to add {added} additional partition(s), but only {len(topic.assignments)}"
            " assignment(s) were specified.",
        )
    replication_factor = len(current.partitions[0].replicas)
    if topic.assignments is None:
        placement = _place(image, added, replication_factor)
    else:
        placement = [_check_replicas(image, brokers, replication_factor) for brokers in topic.assignments]
    return [
        PartitionCreated(current.topic_id, present + number, replicas[0], replicas, replicas)
        for number, replicas in enumerate(placement)
    ]
