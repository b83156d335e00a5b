"""The shards of one coordinator: its internal topic, which partition of it knows which key, and a runner
for each partition.

The topic is made when the first FindCoordinator asks for a key. Each of its partitions is a shard: a pure
machine (``coordinator/``) and the one who performs its steps (``broker/shard_runner.py``).
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from odradek.broker.partitions import Partition
from odradek.broker.shard_runner import ShardRunner
from odradek.cluster.controller import create_internal_topic
from odradek.cluster.image import ClusterImage
from odradek.coordinator.hashing import partition_for
from odradek.core.errors import ApiError, ErrorCode

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

log = logging.getLogger("odradek.coordinator")

R = TypeVar("R", bound=ShardRunner[Any])


class Shards(Generic[R]):
    """All that this broker coordinates in ``topic``, a topic of ``new_partition_count`` partitions with
    ``topic_configs`` if it has to be made.

    Invariant: ``_runners`` holds a runner only for partitions whose shard is loaded, or being loaded.
    """

    def __init__(
        self,
        broker: "Broker",
        topic: str,
        new_partition_count: int,
        topic_configs: Sequence[tuple[str, str | None]],
    ) -> None:
        self._broker = broker
        self.topic = topic
        self._new_partition_count = new_partition_count
        self._topic_configs = topic_configs
        self._runners: dict[int, R] = {}
        self._awaiting_topic: list[Callable[[], None]] | None = None

    def make_runner(self, partition: Partition) -> R:
        """A runner of a new machine for ``partition``."""
        raise NotImplementedError

    def image_changed(self, image: ClusterImage) -> None:
        """What a change of the metadata means here. Called after it is durable and applied."""
        raise NotImplementedError

    # Where a key is

    @property
    def partition_count(self) -> int:
        """Partitions of the topic, or how many it will get."""
        topic = self._broker.topics.by_name.get(self.topic)
        return len(topic.partitions) if topic is not None else self._new_partition_count

    def runner(self, key: str) -> R:
        """The loaded shard that knows ``key``.

        Raises :class:`ApiError`: NOT_COORDINATOR when there is none, COORDINATOR_LOAD_IN_PROGRESS.
        """
        return self.runner_of(partition_for(key, self.partition_count))

    def runner_of(self, index: int) -> R:
        """The loaded shard of one partition. Raises as :meth:`runner` does."""
        runner = self._runners.get(index)
        if runner is None or not runner.is_ready:
            runner = self._bring_up(index)
            if not runner.is_ready:
                raise ApiError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return runner

    def is_available(self, key: str) -> bool:
        """Whether the partition of ``key`` can be used, now or when it is recovered."""
        index = partition_for(key, self.partition_count)
        partition = self._broker.topics.partition(self.topic, index)
        return partition is not None and (partition.log.offline is None or partition.log.is_recovering)

    def runners(self) -> Iterator[R]:
        """Every shard. Raises COORDINATOR_LOAD_IN_PROGRESS when one is still being loaded."""
        topic = self._broker.topics.by_name.get(self.topic)
        for partition in topic.partitions if topic is not None else ():
            if partition.log.offline is None or partition.log.is_recovering:
                yield self.runner_of(partition.index)

    def ready_runners(self) -> list[R]:
        """The shards that are loaded now."""
        return [runner for runner in self._runners.values() if runner.is_ready]

    def _bring_up(self, index: int) -> R:
        runner = self._runners.get(index)
        if runner is not None and not runner.is_over:
            return runner
        partition = self._broker.topics.partition(self.topic, index)
        if partition is not None and partition.log.is_recovering:
            raise ApiError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        if partition is None or partition.log.offline is not None:
            raise ApiError(ErrorCode.NOT_COORDINATOR)
        runner = self._runners[index] = self.make_runner(partition)
        runner.load()
        if runner.is_over:
            raise ApiError(ErrorCode.NOT_COORDINATOR)
        return runner

    def start(self) -> None:
        """Brings every partition up that holds something, so that what is due after a restart (members to
        miss, transactions to end) is done also when nobody asks."""
        topic = self._broker.topics.by_name.get(self.topic)
        for partition in topic.partitions if topic is not None else ():
            self.partition_came(partition)

    def partition_came(self, partition: Partition) -> None:
        """Brings one partition up, if it can be used and holds something."""
        is_empty = partition.log.log_start_offset == partition.log.log_end_offset
        if not is_empty and partition.log.offline is None:
            try:
                self._bring_up(partition.index)
            except ApiError as error:
                log.error("%s cannot be loaded: %s", partition.topic_partition, error)

    def partition_failed(self, index: int) -> None:
        """The partition went offline: those who wait for it must not wait for ever."""
        runner = self._runners.pop(index, None)
        if runner is not None:
            runner.unload()

    def unload_all(self) -> None:
        """The topic is gone, and all that was known with it."""
        for runner in self._runners.values():
            runner.unload()
        self._runners.clear()

    def close(self) -> None:
        """The broker stops cleanly: what is kept back is written."""
        raise NotImplementedError

    # The topic

    def ensure_topic(self, then: Callable[[], None]) -> None:
        """Calls ``then`` once the topic is there, which it makes if need be. Raises :class:`ApiError` when
        it cannot be made."""
        if self.topic in self._broker.topics.by_name:
            then()
            return
        if self._awaiting_topic is not None:
            self._awaiting_topic.append(then)
            return
        broker = self._broker
        change = create_internal_topic(
            broker.metadata.proposed,
            self.topic,
            self._new_partition_count,
            self._topic_configs,
            broker.config,
            broker.randomness,
        )
        refusal = change.result[self.topic]
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
