"""The topics that this node leads: what the image says should be here, made so in the log store."""

import logging

from odradek.broker.partitions import Partition, Topic
from odradek.cluster.configs import broker_layers
from odradek.cluster.image import ClusterImage, TopicImage
from odradek.core.clock import Clock
from odradek.core.config.broker import BrokerConfig
from odradek.core.config.layers import topic_values
from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicId, TopicPartition, is_garbled
from odradek.storage.config import LogConfig
from odradek.storage.loading import name_topic
from odradek.storage.log import Log
from odradek.storage.log_state import LogState
from odradek.storage.store import LogStore

log = logging.getLogger("odradek.topics")


class Topics:
    """Topics by name and by id; follows the image through :meth:`apply`."""

    def __init__(self, store: LogStore, config: BrokerConfig, clock: Clock) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self.by_name: dict[str, Topic] = {}
        self.by_id: dict[TopicId, Topic] = {}
        self.waiting: set[Partition] = set()
        """Partitions where someone waits for the high watermark."""
        self._unmade: set[Partition] = set()
        """Partitions whose folder could not be made yet: no room, no descriptors."""
        self._image: ClusterImage | None = None

    def partition(self, name: str, index: int) -> Partition | None:
        topic = self.by_name.get(name)
        return topic.partition(index) if topic is not None else None

    def partition_of(self, partition_log: LogState) -> Partition | None:
        """The partition that owns ``partition_log``, unless its topic is gone."""
        name, index = partition_log.topic_partition
        partition = self.partition(name, index)
        return partition if partition is not None and partition.log is partition_log else None

    def offline_partitions(self, name: str) -> list[int]:
        """Indexes of the partitions whose log cannot be used."""
        topic = self.by_name.get(name)
        if topic is None:
            return []
        return [partition.index for partition in topic.partitions if partition.log.offline is not None]

    def apply(self, image: ClusterImage) -> None:
        """Creates, deletes and reconfigures logs so that they are what ``image`` says.

        Called for durable images only, so a folder never precedes the record that explains it.
        """
        before, self._image = self._image, image
        if before is not None and before.topics is image.topics and before.configs is image.configs:
            return
        for name, topic in list(self.by_name.items()):
            wanted = image.topics.get(name)
            if wanted is None or wanted.topic_id != topic.topic_id:
                self._remove(topic)
        configs_changed = before is None or before.configs is not image.configs
        layers = broker_layers(image, self._config)
        plain = LogConfig.from_topic(topic_values(layers, {}))
        for name, topic_image in image.topics.items():
            if before is None or configs_changed or before.topics.get(name) is not topic_image:
                overrides = topic_image.configs
                config = LogConfig.from_topic(topic_values(layers, overrides)) if overrides else plain
                self._bring_up(topic_image, config)

    def _bring_up(self, topic_image: TopicImage, config: LogConfig) -> None:
        topic = self.by_name.get(topic_image.name)
        if topic is None:
            topic = Topic(topic_image.name, topic_image.topic_id)
        for partition, partition_image in zip(topic.partitions, topic_image.partitions, strict=False):
            partition.log.config = config
            partition.leader_epoch = partition_image.leader_epoch
        for index in range(len(topic.partitions), len(topic_image.partitions)):
            key = TopicPartition(topic_image.name, index)
            partition_log = self._store.logs.get(key)
            if partition_log is not None and _is_of_another(partition_log, topic_image.topic_id):
                log.warning("the folder of %s is of an earlier topic of that name; setting it aside", key)
                self._store.delete(key)
                partition_log = None
            is_made = partition_log is not None
            if partition_log is None:
                partition_log, is_made = self._create(key, topic_image.topic_id, config)
            elif partition_log.offline is None and partition_log.topic_id != topic_image.topic_id:
                self._name_again(partition_log, topic_image.topic_id)
            partition_log.config = config
            partition = Partition(topic, index, partition_log, topic_image.partitions[index].leader_epoch)
            topic.partitions.append(partition)
            if not is_made:
                self._unmade.add(partition)
        self.by_name[topic.name] = topic
        self.by_id[topic.topic_id] = topic

    def _name_again(self, partition_log: Log, topic_id: TopicId) -> None:
        log.warning("%s/partition.metadata is damaged; it is written anew", partition_log.folder)
        try:
            name_topic(partition_log, topic_id)
        except OSError as error:
            log.warning("%s/partition.metadata cannot be written: %s", partition_log.folder, error)

    def _create(self, key: TopicPartition, topic_id: TopicId, config: LogConfig) -> tuple[Log, bool]:
        """A new log; an offline one in its place, and False, when the disk refuses."""
        now_ms = self._clock.now_ms()
        try:
            return self._store.create(key, topic_id, config, now_ms), True
        except OSError as error:
            return self._store.stand_in(key, topic_id, config, now_ms, error), False

    def make_missing(self) -> None:
        """Tries again to make what the disk refused before."""
        for partition in list(self._unmade):
            config = partition.log.config
            made, is_made = self._create(partition.topic_partition, partition.topic.topic_id, config)
            if not is_made:
                return
            partition.log = made
            self._unmade.discard(partition)
            log.info("%s could be made now", partition.topic_partition)

    def _remove(self, topic: Topic) -> None:
        del self.by_name[topic.name]
        del self.by_id[topic.topic_id]
        for partition in topic.partitions:
            self.waiting.discard(partition)
            partition.fail_waiters(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            if partition in self._unmade:
                self._unmade.discard(partition)
                continue
            try:
                self._store.delete(partition.topic_partition)
            except OSError as error:
                log.error("the folder of %s cannot be set aside: %s", partition.topic_partition, error)


def _is_of_another(partition_log: Log, topic_id: TopicId) -> bool:
    """Whether a log belongs to an earlier topic. One that cannot be read does not say whose it is: it stays,
    as what is in it may still be rescued."""
    is_empty = partition_log.offline is None and partition_log.log_end_offset == 0
    if is_garbled(partition_log.topic_id, topic_id):
        return is_empty
    return partition_log.topic_id != topic_id
