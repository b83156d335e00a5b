"""Committed offsets: what a partition of ``__consumer_offsets`` remembers, and what may be forgotten.

Offsets that a transaction commits are kept apart until its marker comes (only replay brings them so far).

Source: ``OffsetMetadataManager``; KIP-211 (expiry), KIP-447 (stable offsets), KIP-496 (deletion).
"""

from collections.abc import Callable, Iterator

from odradek.coordinator import kept_offset
from odradek.coordinator.classic_group import ClassicGroup, State
from odradek.coordinator.consumer_group import ConsumerGroup
from odradek.coordinator.records import CommittedOffset
from odradek.core.errors import ErrorCode
from odradek.core.ids import ZERO_ID, TopicId
from odradek.protocol.generated.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)

TopicOffsets = dict[int, bytes]
"""By partition, in the form of :mod:`~odradek.coordinator.kept_offset`."""
PartitionName = tuple[str, int]


class Offsets:
    """Offsets by group, topic and partition.

    Invariant: no group and no topic is kept without an offset; ``open_transactions`` names exactly the
    partitions that ``pending`` holds offsets for.
    """

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, TopicOffsets]] = {}
        self.pending: dict[int, dict[tuple[str, str, int], CommittedOffset]] = {}
        """By producer id: offsets of transactions that are not over."""
        self.open_transactions: dict[str, dict[PartitionName, set[int]]] = {}
        """By group: partitions with pending offsets, and whose."""

    def put(self, group_id: str, topic: str, partition: int, kept: bytes) -> None:
        """``kept`` is what :func:`kept_offset.keep` gives."""
        topics = self.groups.get(group_id)
        if topics is None:
            topics = self.groups[group_id] = {}
        partitions = topics.get(topic)
        if partitions is None:
            partitions = topics[topic] = {}
        partitions[partition] = kept

    def get(self, group_id: str, topic: str, partition: int) -> CommittedOffset | None:
        kept = self.groups.get(group_id, {}).get(topic, {}).get(partition)
        return None if kept is None else kept_offset.look(kept)

    def remove(self, group_id: str, topic: str, partition: int) -> None:
        """Forgets an offset, also those that open transactions want to commit there."""
        topics = self.groups.get(group_id)
        if topics is not None and topic in topics:
            topics[topic].pop(partition, None)
            if not topics[topic]:
                del topics[topic]
            if not topics:
                del self.groups[group_id]
        for producer_id in list(self.open_transactions.get(group_id, {}).get((topic, partition), ())):
            self._drop_pending(producer_id, (group_id, topic, partition))

    def put_pending(
        self, producer_id: int, group_id: str, topic: str, partition: int, committed: CommittedOffset
    ) -> None:
        """Keeps an offset until its transaction is committed or aborted."""
        self.pending.setdefault(producer_id, {})[group_id, topic, partition] = committed
        open_here = self.open_transactions.setdefault(group_id, {})
        open_here.setdefault((topic, partition), set()).add(producer_id)

    def end_transaction(self, producer_id: int, is_commit: bool) -> None:
        """Applies or drops what the transaction of ``producer_id`` wanted to commit.

        An offset that was committed after it in the log wins, as compaction may have removed the order.
        """
        for name, committed in list(self.pending.get(producer_id, {}).items()):
            self._drop_pending(producer_id, name)
            existing = self.get(*name)
            if is_commit and (existing is None or committed.record_offset > existing.record_offset):
                self.put(*name, kept_offset.keep(*committed))

    def _drop_pending(self, producer_id: int, name: tuple[str, str, int]) -> None:
        group_id, topic, partition = name
        mine = self.pending[producer_id]
        del mine[name]
        if not mine:
            del self.pending[producer_id]
        open_here = self.open_transactions[group_id]
        open_here[topic, partition].discard(producer_id)
        if not open_here[topic, partition]:
            del open_here[topic, partition]
        if not open_here:
            del self.open_transactions[group_id]

    def all_of(self, group_id: str) -> Iterator[PartitionName]:
        """Every partition that the group has an offset for, pending ones included."""
        topics = self.groups.get(group_id, {})
        for topic, partitions in topics.items():
            for partition in partitions:
                yield topic, partition
        for topic, partition in self.open_transactions.get(group_id, ()):
            if partition not in topics.get(topic, ()):
                yield topic, partition

    def fetch(self, request: OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup:
        """What the group committed, for the topics asked (``None``: for all).

        An offset that was committed for another topic id than the one asked for is not there: the topic
        was made anew since.
        """
        group_id = request.group_id
        topics = self.groups.get(group_id, {})
        unstable = self.open_transactions.get(group_id, {}) if require_stable else {}
        response = OffsetFetchResponseGroup(group_id=group_id, topics=[], error_code=0)
        if request.topics is None:
            wanted = [(topic, ZERO_ID, list(partitions)) for topic, partitions in topics.items()]
        else:
            wanted = [(topic.name, topic.topic_id, topic.partition_indexes) for topic in request.topics]
        for topic, topic_id, indexes in wanted:
            partitions = topics.get(topic, {})
            response.topics.append(
                OffsetFetchResponseTopics(
                    name=topic,
                    topic_id=topic_id,
                    partitions=[
                        _no_offset(index, ErrorCode.UNSTABLE_OFFSET_COMMIT)
                        if unstable and (topic, index) in unstable
                        else _fetched(index, partitions.get(index), topic_id)
                        for index in indexes
                    ],
                )
            )
        return response

    def expired(
        self, group: ClassicGroup | ConsumerGroup, retention_ms: int, wall_ms: int
    ) -> list[PartitionName] | None:
        """Which offsets of ``group`` may be forgotten now; ``None`` when that is all of them, so that an
        empty group can go too.

        A group without members keeps its offsets for the retention after it became empty; a running one
        only loses those of topics that it no longer reads; who only stores offsets here keeps each for the
        retention after its commit.
        """
        topics = self.groups.get(group.group_id)
        open_here = self.open_transactions.get(group.group_id, {})
        if topics is None:
            return None if not open_here else []
        since = _expiry_base(group)
        if since is None:
            return []
        expired = [
            (topic, partition)
            for topic, partitions in topics.items()
            if not group.is_subscribed_to(topic)
            for partition, kept in partitions.items()
            if _is_expired(kept, since(kept), retention_ms, wall_ms) and (topic, partition) not in open_here
        ]
        is_all = not open_here and len(expired) == sum(map(len, topics.values()))
        return None if is_all else expired

    def stale(self, is_stale: Callable[[str, TopicId], bool]) -> Iterator[tuple[str, str, int]]:
        """Group, topic and partition of each offset, pending ones too, whose topic (name and id, which is
        the zero id when the commit did not say) is stale."""
        for group_id, topics in self.groups.items():
            for topic, partitions in topics.items():
                for partition, kept in partitions.items():
                    if is_stale(topic, kept_offset.topic_id(kept)):
                        yield group_id, topic, partition
        for pending in self.pending.values():
            for (group_id, topic, partition), committed in pending.items():
                if is_stale(topic, committed.topic_id):
                    yield group_id, topic, partition


def _no_offset(index: int, code: ErrorCode = ErrorCode.NONE) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(
        partition_index=index, committed_offset=-1, committed_leader_epoch=-1, metadata="", error_code=code
    )


def _fetched(index: int, kept: bytes | None, topic_id: TopicId) -> OffsetFetchResponsePartitions:
    if kept is None:
        return _no_offset(index)
    if topic_id != ZERO_ID and kept_offset.topic_id(kept) not in (ZERO_ID, topic_id):
        return _no_offset(index)
    offset, leader_epoch, metadata = kept_offset.position(kept)
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=offset,
        committed_leader_epoch=leader_epoch,
        metadata=metadata,
        error_code=0,
    )


def _expiry_base(group: ClassicGroup | ConsumerGroup) -> Callable[[bytes], int] | None:
    """From when on an offset of ``group`` ages; ``None`` when none may expire now."""
    since_commit = kept_offset.commit_timestamp_ms
    if isinstance(group, ConsumerGroup) or group.protocol_type is None:
        return since_commit
    if group.state is State.EMPTY:
        return since_commit if group.state_since_ms == -1 else lambda _: group.state_since_ms
    is_known_to_read = group.speaks_consumer_protocol and group.subscribed_topics is not None
    return since_commit if is_known_to_read and group.state is State.STABLE else None


def _is_expired(kept: bytes, since_ms: int, retention_ms: int, wall_ms: int) -> bool:
    if len(kept) > kept_offset.PLAIN_SIZE:
        expire_timestamp_ms = kept_offset.expire_timestamp_ms(kept)
        if expire_timestamp_ms != -1:
            return wall_ms >= expire_timestamp_ms
    return wall_ms - since_ms >= retention_ms
