"""OffsetCommit and OffsetDelete: requests that were let in, turned into records and their effects.

Source: ``OffsetMetadataManager.commitOffset`` and ``deleteOffsets``; KIP-211, KIP-320, KIP-496.
"""

from typing import Protocol

from odradek.coordinator import records
from odradek.coordinator.consumer_draft import Group
from odradek.coordinator.kept_offset import keep
from odradek.coordinator.offsets import Offsets
from odradek.coordinator.records import CommittedOffset
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.step import Now, Producer, ReplyWhenDurable, Step, Token, coordinator_error
from odradek.core.errors import ErrorCode
from odradek.core.ids import ZERO_ID
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from odradek.protocol.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)

DEFAULT_RETENTION = -1


class Store(Protocol):
    """What these need of a shard."""

    settings: GroupSettings
    offsets: Offsets

    def make_simple_group(self, group_id: str) -> None: ...

    def admit_commit(
        self,
        step: Step,
        request: OffsetCommitRequest,
        topics: list[OffsetCommitRequestTopic],
        api_version: int,
        now: Now,
    ) -> None: ...


def commit_offsets(
    step: Step,
    store: Store,
    request: OffsetCommitRequest,
    topics: list[OffsetCommitRequestTopic],
    response: OffsetCommitResponse,
    token: Token,
    now: Now,
    producer: Producer | None = None,
) -> None:
    """Makes the records of a commit that was let in. Partitions whose metadata is too large are refused
    one by one, the others still go through. With a ``producer`` they count when its transaction ends."""
    group_id = request.group_id
    commit_time = now.wall_ms
    retention = request.retention_time_ms
    expiry = -1 if retention == DEFAULT_RETENTION else commit_time + retention
    limit = store.settings.metadata_max_bytes
    entries: list[tuple[str, int, int, int, str, bytes]] = []
    for topic in topics:
        name = topic.name
        topic_id = topic.topic_id or ZERO_ID
        results = _results(response, name, topic_id)
        for partition in topic.partitions:
            index = partition.partition_index
            metadata = partition.committed_metadata or ""
            if is_too_long(metadata, limit):
                code = ErrorCode.OFFSET_METADATA_TOO_LARGE
                results.append(OffsetCommitResponsePartition(partition_index=index, error_code=code))
                continue
            offset, leader_epoch = partition.committed_offset, partition.committed_leader_epoch
            value = records.offset_value(offset, leader_epoch, metadata, commit_time, expiry, topic_id)
            step.records.append((records.offset_key(group_id, name, index), value))
            entries.append((name, index, offset, leader_epoch, metadata, topic_id))
            results.append(OffsetCommitResponsePartition(partition_index=index, error_code=0))
    if not entries:
        step.reply(token, response)
        return

    def apply(base_offset: int) -> None:
        store.make_simple_group(group_id)
        put = store.offsets.put
        for position, (name, index, offset, leader_epoch, metadata, topic_id) in enumerate(
            entries, base_offset
        ):
            committed = (offset, leader_epoch, metadata, commit_time, expiry, topic_id, position)
            if producer is None:
                put(group_id, name, index, keep(*committed))
            else:
                store.offsets.put_pending(
                    producer.producer_id, group_id, name, index, CommittedOffset(*committed)
                )

    def refuse(code: ErrorCode) -> OffsetCommitResponse:
        for topic in response.topics:
            for partition in topic.partitions:
                partition.error_code = partition.error_code or coordinator_error(code)
        return response

    step.producer = producer
    step.write = ReplyWhenDurable(token, response, apply, refuse)


def is_too_long(metadata: str, limit: int) -> bool:
    """Whether it has more than ``limit`` UTF-16 units, what Java calls the length of a text."""
    if len(metadata) > limit or metadata.isascii():
        return len(metadata) > limit
    return len(metadata.encode("utf-16-le", "surrogatepass")) > 2 * limit


def _results(
    response: OffsetCommitResponse, name: str, topic_id: bytes
) -> list[OffsetCommitResponsePartition]:
    """The place of a topic's results, which may hold refused partitions already."""
    for known in response.topics:
        if known.name == name:
            return known.partitions
    added = OffsetCommitResponseTopic(name=name, topic_id=topic_id, partitions=[])
    response.topics.append(added)
    return added.partitions


def delete_offsets(
    step: Step,
    store: Store,
    group: Group,
    request: OffsetDeleteRequest,
    response: OffsetDeleteResponse,
    token: Token,
) -> None:
    """Makes tombstones for the partitions asked, but for topics that the group reads."""
    group_id = request.group_id
    names: list[tuple[str, str, int]] = []
    known = {topic.name: topic.partitions for topic in response.topics}
    for topic in request.topics:
        is_read = group.is_subscribed_to(topic.name)
        code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if is_read else ErrorCode.NONE
        results = known.get(topic.name)
        if results is None:
            results = known[topic.name] = []
            response.topics.append(OffsetDeleteResponseTopic(name=topic.name, partitions=results))
        for partition in topic.partitions:
            index = partition.partition_index
            results.append(OffsetDeleteResponsePartition(partition_index=index, error_code=code))
            is_pending = (topic.name, index) in store.offsets.open_transactions.get(group_id, {})
            if not is_read and (is_pending or store.offsets.get(group_id, topic.name, index) is not None):
                names.append((group_id, topic.name, index))
    if not names:
        step.reply(token, response)
        return
    step.records = [(records.offset_key(*name), None) for name in names]

    def apply(base_offset: int) -> None:
        for name in names:
            store.offsets.remove(*name)

    def refuse(code: ErrorCode) -> OffsetDeleteResponse:
        return OffsetDeleteResponse(error_code=coordinator_error(code), topics=[])

    step.write = ReplyWhenDurable(token, response, apply, refuse)
