"""The group coordinator of this broker: the shards of ``__consumer_offsets``."""

from typing import TYPE_CHECKING
from uuid import UUID

from odradek.broker.group_shard import GroupRunner
from odradek.broker.maintenance import Chore
from odradek.broker.partitions import OFFSETS_TOPIC, Partition
from odradek.broker.rebalance_history import RebalanceHistory
from odradek.broker.shards import Shards
from odradek.cluster.image import ClusterImage
from odradek.coordinator.hashing import partition_for
from odradek.coordinator.settings import GroupSettings, MigrationPolicy
from odradek.coordinator.shard import GroupShard
from odradek.coordinator.topics_view import TopicsView
from odradek.core.ids import ZERO_ID, TopicId

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


class Groups(Shards[GroupRunner]):
    """All groups that this broker coordinates."""

    def __init__(self, broker: "Broker") -> None:
        config = broker.config
        super().__init__(
            broker,
            OFFSETS_TOPIC,
            config.offsets_topic_num_partitions,
            [
                ("cleanup.policy", "compact"),
                ("compression.type", "producer"),
                ("segment.bytes", str(config.offsets_topic_segment_bytes)),
            ],
        )
        self._settings = GroupSettings(
            initial_rebalance_delay_ms=config.group_initial_rebalance_delay_ms,
            min_session_timeout_ms=config.group_min_session_timeout_ms,
            max_session_timeout_ms=config.group_max_session_timeout_ms,
            max_size=config.group_max_size,
            metadata_max_bytes=config.offset_metadata_max_bytes,
            retention_ms=config.offsets_retention_ms,
            consumer_max_size=config.group_consumer_max_size,
            consumer_assignors=config.group_consumer_assignors,
            migration_policy=MigrationPolicy[config.group_consumer_migration_policy.upper()],
        )
        self.history = RebalanceHistory(broker.store.volume, broker.clock)
        self._topics = broker.image.topics
        self._view = _view(broker.image)
        self._schedule_expiry()

    def make_runner(self, partition: Partition) -> GroupRunner:
        shard = GroupShard(self._settings, self._broker.group_settings, self._new_suffix)
        shard.topics = self._view
        return GroupRunner(self._broker, partition, shard)

    def _new_suffix(self) -> str:
        """The random part of a member id, in the form of a UUID as Kafka's are."""
        return str(UUID(bytes=self._broker.randomness.randbytes(16), version=4))

    def image_changed(self, image: ClusterImage) -> None:
        """Forgets the offsets of topics that are gone, and tells the groups that read topics which came, went
        or changed. Called after the change is durable and applied."""
        before, self._topics = self._topics, image.topics
        if before is image.topics:
            return
        self._view = _view(image)
        changed = {name for name, topic in image.topics.items() if before.get(name) is not topic}
        gone: dict[str, TopicId] = {}
        for name, topic in before.items():
            now = image.topics.get(name)
            if now is None or now.topic_id != topic.topic_id:
                gone[name] = topic.topic_id
        changed.update(gone)
        for runner in self._runners.values():
            runner.shard.topics_changed(self._view, changed)
        if OFFSETS_TOPIC in gone:
            self.unload_all()
            self.history.forget()
        if gone:
            for runner in self.ready_runners():
                runner.forget_offsets(
                    lambda name, topic_id: name in gone and topic_id in (ZERO_ID, gone[name])
                )

    # Why groups rebalanced

    def loaded(self, runner: GroupRunner) -> None:
        """A shard is whole again: its groups get back why they rebalanced."""
        index, count = runner.partition.index, self.partition_count
        self.history.give_back(runner.shard.groups, lambda group_id: partition_for(group_id, count) == index)

    def chores(self) -> list[Chore]:
        """Called about once a second: what should run in some thread."""
        return self.history.chores(runner.shard.groups for runner in self.ready_runners())

    def close(self) -> None:
        """The broker stops cleanly."""
        self.history.write(runner.shard.groups for runner in self.ready_runners())

    # Expiry

    def _schedule_expiry(self) -> None:
        broker = self._broker
        deadline_ms = broker.clock.monotonic_ms() + broker.config.offsets_retention_check_interval_ms
        broker.timers.schedule(deadline_ms, self._expire)

    def _expire(self) -> None:
        """Forgets what is over in every loaded shard, and comes again."""
        self._schedule_expiry()
        for runner in self.ready_runners():
            runner.expire()


def _view(image: ClusterImage) -> TopicsView:
    """What groups are told of the cluster."""
    racks = {broker.broker_id: broker.rack for broker in image.brokers.values() if broker.rack is not None}
    return TopicsView(image.topics, image.topics_by_id, racks, image.index)
