"""Image and change records → image: the only way metadata changes, here and on every broker of a cluster."""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from odradek.cluster.image import (
    TOPIC_RESOURCE,
    BrokerImage,
    ClusterImage,
    ConfigResource,
    PartitionImage,
    QuotaEntity,
    TopicImage,
)
from odradek.cluster.records import (
    BrokerRegistered,
    ClientQuotaChanged,
    ClusterCreated,
    ConfigChanged,
    FeatureChanged,
    PartitionCreated,
    ProducerIdsAllocated,
    Record,
    TopicCreated,
    TopicDeleted,
)
from odradek.core.errors import OdradekError
from odradek.core.ids import TopicId

K = TypeVar("K")
V = TypeVar("V")


class FoldError(OdradekError):
    """A record that does not fit the image before it: the log is not the one that made this image."""


def fold_all(image: ClusterImage, records: Iterable[Record], index: int) -> ClusterImage:
    """``image`` after the records of entry ``index``. Each mapping is copied at most once per call.

    Raises :class:`FoldError` when a record refers to what is not there.
    """
    folder = Folder(image)
    for record in records:
        folder.apply(record, index)
    return folder.image(index)


def fold(image: ClusterImage, record: Record, index: int) -> ClusterImage:
    """``image`` after one record."""
    return fold_all(image, (record,), index)


def touched_topics(before: ClusterImage, records: Iterable[Record]) -> set[str]:
    """Names of the topics that ``records``, which are folded over ``before``, may make, change or delete."""
    created: dict[TopicId, str] = {}
    touched: set[str] = set()
    for record in records:
        match record:
            case TopicCreated(name, topic_id):
                created[topic_id] = name
                touched.add(name)
            case PartitionCreated(topic_id) | TopicDeleted(topic_id):
                topic = before.topics_by_id.get(topic_id)
                touched.add(topic.name if topic is not None else created[topic_id])
            case ConfigChanged(resource_type, name) if resource_type == TOPIC_RESOURCE:
                touched.add(name)
            case BrokerRegistered(_, _, True):
                touched.update(before.topics)
    return touched


class Folder:
    """Folds many entries and builds the image once, which makes start-up linear in the log's length.

    Invariant: mappings of the image it started from are never written to; a mapping that is to change is
    copied first, and the partitions of a growing topic are kept in a list until the end.
    """

    def __init__(self, image: ClusterImage) -> None:
        self._cluster_id = image.cluster_id
        self._topics = _Copy(image.topics)
        self._by_id = _Copy(image.topics_by_id)
        self._configs = _Copy(image.configs)
        self._brokers = _Copy(image.brokers)
        self._features = _Copy(image.features)
        self._quotas: _Copy[QuotaEntity, Mapping[str, float]] = _Copy(image.quotas)
        self._next_producer_id = image.next_producer_id
        self._growing: dict[TopicId, list[PartitionImage]] = {}

    def apply(self, record: Record, index: int) -> None:
        """Folds one record of entry ``index``."""
        match record:
            case PartitionCreated():
                self._create_partition(record)
            case ConfigChanged():
                self._change_config(record)
            case TopicCreated(name, topic_id):
                if name in self._topics.now or topic_id in self._by_id.now:
                    raise FoldError(f"topic {name} exists already")
                self._put(TopicImage(name, topic_id, ()))
            case TopicDeleted(topic_id):
                topic = self._topic(topic_id)
                self._growing.pop(topic_id, None)
                del self._topics.writable()[topic.name]
                del self._by_id.writable()[topic_id]
            case ProducerIdsAllocated(_, next_producer_id):
                if next_producer_id < self._next_producer_id:
                    raise FoldError("producer ids would be given out twice")
                self._next_producer_id = next_producer_id
            case BrokerRegistered(broker_id, rack, takes_over):
                self._brokers.writable()[broker_id] = BrokerImage(broker_id, index, rack)
                if takes_over:
                    self._raise_leader_epochs(broker_id)
            case FeatureChanged(name, level):
                features = self._features.writable()
                if level:
                    features[name] = level
                else:
                    features.pop(name, None)
            case ClientQuotaChanged(entity, key, value):
                self._change_quota(entity, key, value)
            case ClusterCreated(cluster_id):
                if self._cluster_id:
                    raise FoldError("a second cluster begins in the log of the first")
                self._cluster_id = cluster_id

    def image(self, index: int) -> ClusterImage:
        """The image after everything applied so far."""
        self._finish_growing()
        return ClusterImage(
            self._cluster_id,
            index,
            self._topics.now,
            self._by_id.now,
            self._configs.now,
            self._brokers.now,
            self._next_producer_id,
            self._features.now,
            self._quotas.now,
        )

    def _topic(self, topic_id: TopicId) -> TopicImage:
        topic = self._by_id.now.get(topic_id)
        if topic is None:
            raise FoldError(f"there is no topic with id {topic_id.hex()}")
        return topic

    def _put(self, topic: TopicImage) -> None:
        self._topics.writable()[topic.name] = topic
        self._by_id.writable()[topic.topic_id] = topic

    def _create_partition(self, record: PartitionCreated) -> None:
        partitions = self._growing.get(record.topic_id)
        if partitions is None:
            partitions = list(self._topic(record.topic_id).partitions)
            self._growing[record.topic_id] = partitions
        if record.partition != len(partitions):
            raise FoldError(f"partition {record.partition} follows {len(partitions)} others")
        partitions.append(
            PartitionImage(
                record.leader, record.leader_epoch, record.replicas, record.isr, record.partition_epoch
            )
        )

    def _finish_growing(self) -> None:
        growing, self._growing = self._growing, {}
        for topic_id, partitions in growing.items():
            self._put(self._topic(topic_id)._replace(partitions=tuple(partitions)))

    def _change_config(self, record: ConfigChanged) -> None:
        if record.resource_type == TOPIC_RESOURCE:
            topic = self._topics.now.get(record.resource_name)
            if topic is None:
                raise FoldError(
                    f"config {record.key} is for topic {record.resource_name}, which is not there"
                )
            self._put(topic._replace(configs=_changed(topic.configs, record)))
            return
        resource: ConfigResource = (record.resource_type, record.resource_name)
        values = _changed(self._configs.now.get(resource, {}), record)
        configs = self._configs.writable()
        if values:
            configs[resource] = values
        else:
            configs.pop(resource, None)

    def _change_quota(self, entity: QuotaEntity, key: str, value: float | None) -> None:
        limits = dict(self._quotas.now.get(entity, {}))
        if value is None:
            limits.pop(key, None)
        else:
            limits[key] = value
        quotas = self._quotas.writable()
        if limits:
            quotas[entity] = limits
        else:
            quotas.pop(entity, None)

    def _raise_leader_epochs(self, broker_id: int) -> None:
        self._finish_growing()
        for topic in list(self._topics.now.values()):
            if any(partition.leader == broker_id for partition in topic.partitions):
                partitions = tuple(
                    partition._replace(
                        leader_epoch=partition.leader_epoch + 1, partition_epoch=partition.partition_epoch + 1
                    )
                    if partition.leader == broker_id
                    else partition
                    for partition in topic.partitions
                )
                self._put(topic._replace(partitions=partitions))


def _changed(values: Mapping[str, str], record: ConfigChanged) -> dict[str, str]:
    changed = dict(values)
    if record.value is None:
        changed.pop(record.key, None)
    else:
        changed[record.key] = record.value
    return changed


class _Copy(Generic[K, V]):
    """A mapping that is copied before its first change."""

    __slots__ = ("_is_ours", "now")

    def __init__(self, mapping: Mapping[K, V]) -> None:
        self.now: Mapping[K, V] = mapping
        self._is_ours = False

    def writable(self) -> dict[K, V]:
        if not self._is_ours:
            self.now = dict(self.now)
            self._is_ours = True
        assert isinstance(self.now, dict)
        return self.now
