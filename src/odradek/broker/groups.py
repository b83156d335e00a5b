"""The group coordinator of this broker: which partition of ``__consumer_offsets`` knows which group.

The topic is made when the first FindCoordinator asks for a group. Each of its partitions is a shard: a pure
machine (``coordinator/shard.py``) and the one who performs its steps (``broker/group_shard.py``).
"""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from odradek.broker.group_shard import ShardRunner
from odradek.broker.partitions import OFFSETS_TOPIC
from odradek.cluster.controller import create_internal_topic
from odradek.cluster.image import ClusterImage
from odradek.coordinator.hashing import partition_for
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.shard import GroupShard
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import ZERO_ID, TopicId

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

log = logging.getLogger("odradek.groups")


class Groups:
    """All groups that this broker coordinates.

    Invariant: ``_runners`` holds a runner only for partitions whose shard is loaded, or being loaded.
    """

    def __init__(self, broker: "Broker") -> None:
        config = broker.config
        self._broker = broker
        self._settings = GroupSettings(
            initial_rebalance_delay_ms=config.group_initial_rebalance_delay_ms,
            min_session_timeout_ms=config.group_min_session_timeout_ms,
            max_session_timeout_ms=config.group_max_session_timeout_ms,
            max_size=config.group_max_size,
            metadata_max_bytes=config.offset_metadata_max_bytes,
            retention_ms=config.offsets_retention_ms,
        )
        self._runners: dict[int, ShardRunner] = {}
        self._topics = broker.image.topics
        self._awaiting_topic: list[Callable[[], None]] | None = None
        self._schedule_expiry()

    # Where a group is

    @property
    def partition_count(self) -> int:
        """Partitions of the offsets topic, or how many it will get."""
        topic = self._broker.topics.by_name.get(OFFSETS_TOPIC)
        return (
            len(topic.partitions) if topic is not None else self._broker.config.offsets_topic_num_partitions
        )

    def runner(self, group_id: str) -> ShardRunner:
        """The loaded shard that knows ``group_id``.

        Raises :class:`ApiError`: NOT_COORDINATOR when there is none, COORDINATOR_LOAD_IN_PROGRESS.
        """
        runner = self._runners.get(partition_for(group_id, self.partition_count))
        if runner is None or not runner.is_ready:
            runner = self._bring_up(partition_for(group_id, self.partition_count))
            if not runner.is_ready:
                raise ApiError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return runner

    def is_available(self, group_id: str) -> bool:
        """Whether the partition of ``group_id`` can be used."""
        index = partition_for(group_id, self.partition_count)
        partition = self._broker.topics.partition(OFFSETS_TOPIC, index)
        return partition is not None and partition.log.offline is None

    def runners(self) -> Iterator[ShardRunner]:
        """Every shard. Raises COORDINATOR_LOAD_IN_PROGRESS when one is still being loaded."""
        topic = self._broker.topics.by_name.get(OFFSETS_TOPIC)
        for partition in topic.partitions if topic is not None else ():
            if partition.log.offline is None:
                runner = self._bring_up(partition.index)
                if not runner.is_ready:
                    raise ApiError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
                yield runner

    def _bring_up(self, index: int) -> ShardRunner:
        runner = self._runners.get(index)
        if runner is not None and not runner.is_over:
            return runner
        partition = self._broker.topics.partition(OFFSETS_TOPIC, index)
        if partition is None or partition.log.offline is not None:
            raise ApiError(ErrorCode.NOT_COORDINATOR)
        shard = GroupShard(self._settings, self._new_suffix)
        runner = self._runners[index] = ShardRunner(self._broker, partition, shard)
        runner.load()
        if runner.is_over:
            raise ApiError(ErrorCode.NOT_COORDINATOR)
        return runner

    def _new_suffix(self) -> str:
        """The random part of a member id, in the form of a UUID as Kafka's are."""
        return str(UUID(bytes=self._broker.randomness.randbytes(16), version=4))

    def start(self) -> None:
        """Brings every partition up that holds something, so that lost members are noticed after a restart
        also when nobody asks."""
        topic = self._broker.topics.by_name.get(OFFSETS_TOPIC)
        for partition in topic.partitions if topic is not None else ():
            is_empty = partition.log.log_start_offset == partition.log.log_end_offset
            if not is_empty and partition.log.offline is None:
                try:
                    self._bring_up(partition.index)
                except ApiError as error:
                    log.error("%s cannot be loaded: %s", partition.topic_partition, error)

    # The topic

    def ensure_topic(self, then: Callable[[], None]) -> None:
        """Calls ``then`` once the offsets topic is there, which it makes if need be. Raises
        :class:`ApiError` when it cannot be made."""
        if OFFSETS_TOPIC in self._broker.topics.by_name:
            then()
            return
        if self._awaiting_topic is not None:
            self._awaiting_topic.append(then)
            return
        broker = self._broker
        change = create_internal_topic(
            broker.metadata.proposed,
            OFFSETS_TOPIC,
            broker.config.offsets_topic_num_partitions,
            [
                ("cleanup.policy", "compact"),
                ("compression.type", "producer"),
                ("segment.bytes", str(broker.config.offsets_topic_segment_bytes)),
            ],
            broker.config,
            broker.randomness,
        )
        refusal = change.result[OFFSETS_TOPIC]
        if isinstance(refusal, ApiError):
            raise refusal
        self._awaiting_topic = [then]
        try:
            broker.metadata.commit(change, self._topic_made)
        except ApiError:
            self._awaiting_topic = None
            raise

    def _topic_made(self, image: ClusterImage | ApiError) -> None:
        """Also when it could not be made: those who wait then find no topic, and say so."""
        waiting, self._awaiting_topic = self._awaiting_topic or [], None
        for then in waiting:
            then()

    def partition_failed(self, index: int) -> None:
        """The partition went offline: those who wait for its groups must not wait for ever."""
        runner = self._runners.pop(index, None)
        if runner is not None:
            runner.unload()

    def image_changed(self, image: ClusterImage) -> None:
        """Forgets the offsets of topics that are gone. Called after the change is durable and applied."""
        before, self._topics = self._topics, image.topics
        if before is image.topics:
            return
        gone: dict[str, TopicId] = {}
        for name, topic in before.items():
            now = image.topics.get(name)
            if now is None or now.topic_id != topic.topic_id:
                gone[name] = topic.topic_id
        if OFFSETS_TOPIC in gone:
            for runner in self._runners.values():
                runner.unload()
            self._runners.clear()
        if gone:
            for runner in list(self._runners.values()):
                runner.forget_offsets(
                    lambda name, topic_id: name in gone and topic_id in (ZERO_ID, gone[name])
                )

    # Expiry

    def _schedule_expiry(self) -> None:
        broker = self._broker
        deadline_ms = broker.clock.monotonic_ms() + broker.config.offsets_retention_check_interval_ms
        broker.timers.schedule(deadline_ms, self._expire)

    def _expire(self) -> None:
        """Forgets what is over in every loaded shard, and comes again."""
        self._schedule_expiry()
        for runner in list(self._runners.values()):
            if runner.is_ready:
                runner.expire()
