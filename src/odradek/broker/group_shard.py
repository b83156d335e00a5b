"""One partition of ``__consumer_offsets`` and its groups: what is special about running their machine."""

import logging
from collections.abc import Callable

from odradek.broker.shard_runner import ShardRunner
from odradek.coordinator.shard import GroupShard
from odradek.core.ids import ZERO_ID, TopicId

log = logging.getLogger("odradek.groups")


class GroupRunner(ShardRunner[GroupShard]):
    """The runner of a group shard."""

    def expire(self) -> None:
        """Forgets offsets and groups whose time is over."""
        for step in self.shard.expire(self.now()):
            self.perform(step)

    def forget_offsets(self, is_stale: Callable[[str, TopicId], bool]) -> None:
        """Forgets the offsets of topics that are gone."""
        if self.is_ready:
            self.perform(self.shard.forget_offsets(is_stale))

    def start(self) -> None:
        shard = self.shard
        if shard.foreign_records:
            log.info(
                "%s holds %d records of kinds of groups that are not served; they are left alone",
                self.partition.topic_partition,
                shard.foreign_records,
            )
        if shard.groups:
            log.info("%s: %d groups", self.partition.topic_partition, len(shard.groups))
        topics = self._broker.image.topics

        def is_of_an_earlier_topic(name: str, topic_id: TopicId) -> bool:
            topic = topics.get(name)
            return topic is not None and topic_id not in (ZERO_ID, topic.topic_id)

        self._broker.groups.loaded(self)
        super().start()
        # A crash may have come between a topic's deletion and that of its offsets.
        self.forget_offsets(is_of_an_earlier_topic)

    def unload(self) -> None:
        if self.is_ready:
            self._broker.groups.history.keep(self.shard.groups)
        super().unload()

    def end_transaction(self, marker: bytearray, producer_id: int, is_commit: bool) -> int:
        """Writes the end of a transaction, a control batch, and applies or drops the offsets that were
        committed in it; the offset that must be durable. Raises :class:`ApiError`."""
        appended = self.append_batch(marker)
        self.shard.replay_marker(producer_id, is_commit)
        return appended.last_offset + 1
