"""The topics that this node leads: what the image says should be here, made so in the log store."""

import logging
from collections.abc import Callable, Iterable

from odradek.broker.partitions import Partition, Topic
from odradek.broker.timers import Timers
from odradek.cluster.configs import broker_layers
from odradek.cluster.image import ClusterImage, TopicImage
from odradek.core.clock import Clock
from odradek.core.config.broker import BrokerConfig
from odradek.core.config.layers import BrokerLayers, topic_values
from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicId, TopicPartition, is_garbled
from odradek.storage.config import LogConfig
from odradek.storage.loading import name_topic
from odradek.storage.log import Log
from odradek.storage.log_state import LogState
from odradek.storage.store import LogStore

log = logging.getLogger("odradek.topics")

SLICE_MS = 5
"""So long partitions are made without a pause."""
PAUSE_MS = 2
"""The pause in which others get their turn."""


class Topics:
    """Topics by name and by id; follows the image through :meth:`apply`."""

    def __init__(self, store: LogStore, config: BrokerConfig, clock: Clock, timers: Timers) -> None:
        self._store = store
        self._timers = timers
        self._config = config
        self._clock = clock
        self.by_name: dict[str, Topic] = {}
        self.by_id: dict[TopicId, Topic] = {}
        self.waiting: set[Partition] = set()
        """Partitions where someone waits for the high watermark."""
        self._unmade: set[Partition] = set()
        """Partitions whose folder could not be made yet: no room, no descriptors."""
        self.making: dict[Partition, None] = {}
        """Very many new partitions, in their order, until it was tried to make them; an offline log stands in
        for each meanwhile."""
        self._when_made: list[Callable[[], None]] = []
        self._stop_making_ms = 0
        self._layers: BrokerLayers | None = None

    def partition(self, name: str, index: int) -> Partition | None:
        topic = self.by_name.get(name)
        return topic.partition(index) if topic is not None else None

    def partition_of(self, partition_log: LogState) -> Partition | None:
        """The partition that owns ``partition_log``, unless its topic is gone."""
        name, index = partition_log.topic_partition
        topic = self.by_name.get(name)
        if topic is None or index >= len(topic.partitions):
            return None
        partition = topic.partitions[index]
        return partition if partition.log is partition_log else None

    def leaderless(self, name: str) -> list[tuple[int, ErrorCode]]:
        """Indexes of the partitions whose log cannot be used, and what Metadata says of each: a log that is
        being recovered will have its leader soon, one that is damaged will not."""
        topic = self.by_name.get(name)
        if topic is None:
            return []
        return [
            (
                partition.index,
                ErrorCode.LEADER_NOT_AVAILABLE
                if partition.log.is_recovering
                else ErrorCode.KAFKA_STORAGE_ERROR,
            )
            for partition in topic.partitions
            if partition.log.offline is not None
        ]

    def apply(self, image: ClusterImage, touched: Iterable[str] | None = None) -> None:
        """Creates, deletes and reconfigures logs so that they are what ``image`` says.

        Only the topics named in ``touched`` are looked at, all when it is None or the broker's defaults have
        changed. Called for durable images only, so a folder never precedes the record that explains it.
        """
        layers = broker_layers(image, self._config)
        if touched is None or layers != self._layers:
            touched = self.by_name.keys() | image.topics.keys()
        self._layers = layers
        self._stop_making_ms = self._clock.monotonic_ms() + SLICE_MS
        plain: LogConfig | None = None
        for name in sorted(touched):  # in one order, so that a run from a seed replays exactly
            topic, wanted = self.by_name.get(name), image.topics.get(name)
            if topic is not None and (wanted is None or wanted.topic_id != topic.topic_id):
                self._remove(topic)
            if wanted is None:
                continue
            if wanted.configs:
                config = LogConfig.from_topic(topic_values(layers, wanted.configs))
            else:
                config = plain = plain or LogConfig.from_topic(topic_values(layers, {}))
            self._bring_up(wanted, config)

    def when_made(self, callback: Callable[[], None]) -> None:
        """Calls back once it was tried to make every partition: at once, unless they are very many."""
        if self.making:
            self._when_made.append(callback)
        else:
            callback()

    def _bring_up(self, topic_image: TopicImage, config: LogConfig) -> None:
        topic = self.by_name.get(topic_image.name)
        if topic is None:
            topic = Topic(topic_image.name, topic_image.topic_id)
        for partition, partition_image in zip(topic.partitions, topic_image.partitions, strict=False):
            partition.log.config = config
            partition.leader_epoch = partition_image.leader_epoch
        waiting: Log | None = None
        for index in range(len(topic.partitions), len(topic_image.partitions)):
            key = TopicPartition(topic_image.name, index)
            partition_log = self._store.logs.get(key)
            if partition_log is not None and _is_of_another(partition_log, topic_image.topic_id):
                log.warning("the folder of %s is of an earlier topic of that name; setting it aside", key)
                self._store.delete(key)
                partition_log = None
            is_made = partition_log is not None
            if partition_log is None and (self.making or self._clock.monotonic_ms() > self._stop_making_ms):
                if waiting is None:
                    now_ms = self._clock.now_ms()
                    waiting = self._store.stand_in(key, topic_image.topic_id, config, now_ms)
                epoch = topic_image.partitions[index].leader_epoch
                self._make_later(Partition(topic, index, waiting, epoch))
                continue
            if partition_log is None:
                partition_log, is_made = self._create(key, topic_image.topic_id, config)
            elif partition_log.offline is None and partition_log.topic_id != topic_image.topic_id:
                self._name_again(partition_log, topic_image.topic_id)
            if partition_log.config is not config:
                partition_log.config = config
            partition = Partition(topic, index, partition_log, topic_image.partitions[index].leader_epoch)
            topic.partitions.append(partition)
            if not is_made:
                self._unmade.add(partition)
        self.by_name[topic.name] = topic
        self.by_id[topic.topic_id] = topic

    def recovered(self, recovered: Log) -> None:
        """A log is there now for which another one stood in so far."""
        key = recovered.topic_partition
        partition = self.partition(*key)
        if partition is None:
            return  # its topic is gone, only its folder was left
        topic_id = partition.topic.topic_id
        if _is_of_another(recovered, topic_id):
            log.warning("the folder of %s is of an earlier topic of that name; setting it aside", key)
            try:
                self._store.delete(key)
            except OSError as error:
                log.warning("%s cannot be set aside: %s", recovered.folder, error)
            if not self._make(partition):
                self._unmade.add(partition)
            return
        if recovered.topic_id != topic_id:
            self._name_again(recovered, topic_id)
        partition.log = recovered

    def _name_again(self, partition_log: Log, topic_id: TopicId) -> None:
        log.warning("%s/partition.metadata is damaged; it is written anew", partition_log.folder)
        try:
            name_topic(partition_log, topic_id)
        except OSError as error:
            log.warning("%s/partition.metadata cannot be written: %s", partition_log.folder, error)

    def _create(self, key: TopicPartition, topic_id: TopicId, config: LogConfig) -> tuple[Log, bool]:
        """A new log; an offline one in its place, and False, when the disk refuses. One that has held records
        is not made anew."""
        now_ms = self._clock.now_ms()
        lost = self._store.what_was_lost(key, topic_id)
        if lost is not None:
            return self._store.stand_in(key, topic_id, config, now_ms, lost), True
        try:
            return self._store.create(key, topic_id, config, now_ms), True
        except OSError as error:
            return self._store.stand_in(key, topic_id, config, now_ms, error), False

    def _make_later(self, partition: Partition) -> None:
        """Making very many takes longer than everybody else should wait: the rest follows in slices."""
        partition.topic.partitions.append(partition)
        if not self.making:
            self._timers.schedule(self._clock.monotonic_ms() + PAUSE_MS, self._make_slice)
        self.making[partition] = None

    def _make_slice(self) -> None:
        stop_ms = self._clock.monotonic_ms() + SLICE_MS
        while self.making and self._clock.monotonic_ms() <= stop_ms:
            partition = next(iter(self.making))
            del self.making[partition]
            if self.by_id.get(partition.topic.topic_id) is partition.topic and not self._make(partition):
                self._unmade.add(partition)
        if self.making:
            self._timers.schedule(self._clock.monotonic_ms() + PAUSE_MS, self._make_slice)
            return
        callbacks, self._when_made = self._when_made, []
        for callback in callbacks:
            callback()

    def _make(self, partition: Partition) -> bool:
        config = partition.log.config
        made, is_made = self._create(partition.topic_partition, partition.topic.topic_id, config)
        made.take_place_of(partition.log)
        partition.log = made
        return is_made

    def make_missing(self) -> None:
        """Tries again to make what the disk refused before."""
        for partition in list(self._unmade):
            if not self._make(partition):
                return
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
            if self._store.logs.get(partition.topic_partition) is not partition.log:
                continue  # it was still to be made
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
