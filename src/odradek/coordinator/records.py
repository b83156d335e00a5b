"""Keys and values of ``__consumer_offsets``: what the group machines write, and reading what Kafka wrote.

Versions written are Kafka 4.3's: offsets 4 (1 when the client asked for a retention), group metadata 3.
Everything older is read; records of other kinds of groups are told apart by the key's first two bytes.

Source: ``GroupCoordinatorRecordHelpers``, ``GroupCoordinatorRecordSerde``.
"""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from odradek.coordinator.classic_group import ClassicGroup, Member, State
from odradek.coordinator.step import RecordBytes
from odradek.core.ids import ZERO_ID, TopicId
from odradek.protocol.generated.group_metadata import (
    GroupMetadataKey,
    GroupMetadataValue,
    MemberMetadata,
)
from odradek.protocol.generated.offset_commit import OffsetCommitKey, OffsetCommitValue
from odradek.protocol.stencil import Stencil, stencil
from odradek.protocol.versioned import decode_versioned, encode_record_key, encode_versioned

LEGACY_OFFSET_KEY = 0
OFFSET_KEY = 1
GROUP_KEY = 2
OFFSET_VALUE_VERSION = 4
OFFSET_VALUE_VERSION_WITH_EXPIRY = 1
GROUP_VALUE_VERSION = 3


class CommittedOffset(NamedTuple):
    """One committed offset.

    ``leader_epoch`` and ``expire_timestamp_ms`` are -1 when not known. ``topic_id`` is the zero id unless
    the commit named the topic by its id. ``record_offset`` is where the commit's record lies in the log.
    """

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int
    topic_id: TopicId
    record_offset: int


@lru_cache(maxsize=16_384)
def offset_key(group_id: str, topic: str, partition: int) -> bytes:
    """The key of an offset's records; kept, as those who commit do so again and again."""
    return encode_record_key(OffsetCommitKey(group=group_id, topic=topic, partition=partition))


def offset_value(
    offset: int,
    leader_epoch: int,
    metadata: str,
    commit_timestamp_ms: int,
    expire_timestamp_ms: int,
    topic_id: TopicId,
) -> bytes:
    """The fields of :class:`CommittedOffset`, but for where it lies, as a record's value."""
    if not metadata and expire_timestamp_ms == -1:
        pack, first, middle, last = _plain_offset_layout(topic_id)
        return pack(first, offset, leader_epoch, middle, commit_timestamp_ms, last)
    value = OffsetCommitValue(
        offset=offset,
        leader_epoch=leader_epoch,
        metadata=metadata,
        commit_timestamp=commit_timestamp_ms,
        expire_timestamp=expire_timestamp_ms,
        topic_id=topic_id,
    )
    has_expiry = expire_timestamp_ms != -1
    return encode_versioned(value, OFFSET_VALUE_VERSION_WITH_EXPIRY if has_expiry else OFFSET_VALUE_VERSION)


def offset_value_stencil(metadata: str, topic_id: TopicId) -> Stencil:
    """Where offset, leader epoch and commit timestamp lie, in this order, in the value of a record without an
    expiry of its own."""
    value = OffsetCommitValue(metadata=metadata, topic_id=topic_id)
    found = stencil(
        lambda: encode_versioned(value, OFFSET_VALUE_VERSION),
        (value, "offset"),
        (value, "leader_epoch"),
        (value, "commit_timestamp"),
    )
    assert found is not None
    return found


@lru_cache(maxsize=1_024)
def _plain_offset_layout(topic_id: TopicId) -> tuple[Callable[..., bytes], bytes, bytes, bytes]:
    """How a value without metadata is packed, and what stands between its numbers."""
    found = offset_value_stencil("", topic_id)
    first, middle, last = found.fixed
    return Struct(">" + found.layout).pack, first, middle, last


def group_record(group: ClassicGroup, assignments: dict[str, bytes]) -> RecordBytes:
    """The state of ``group`` with these assignments (by member id; none is an empty one)."""
    value = GroupMetadataValue(
        protocol_type=group.protocol_type or "",
        generation=group.generation,
        protocol=group.protocol_name,
        leader=group.leader_id,
        current_state_timestamp=group.state_since_ms,
        members=[
            MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.session_timeout_ms,
                subscription=member.metadata(group.protocol_name),
                assignment=assignments.get(member.member_id, b""),
            )
            for member in group.members.values()
        ],
    )
    return group_key(group.group_id), encode_versioned(value, GROUP_VALUE_VERSION)


def new_group_record(group: ClassicGroup) -> RecordBytes:
    """What makes a group known before it has its first generation, whoever is about to join it."""
    value = GroupMetadataValue(
        protocol_type="",
        generation=0,
        protocol=None,
        leader=None,
        current_state_timestamp=group.state_since_ms,
    )
    return group_key(group.group_id), encode_versioned(value, GROUP_VALUE_VERSION)


def group_key(group_id: str) -> bytes:
    return encode_record_key(GroupMetadataKey(group=group_id))


def key_type(key: bytes) -> int:
    """The kind of a record, by its key; -1 for a key that is too short to say."""
    return int.from_bytes(key[:2], "big") if len(key) >= 2 else -1


def read_offset_key(key: bytes) -> tuple[str, str, int]:
    """Group, topic and partition; version 0 keys have the same fields."""
    decoded, _ = OffsetCommitKey.decode(memoryview(key), 2, 0)
    return decoded.group, decoded.topic, decoded.partition


def read_offset_value(value: bytes, record_offset: int) -> CommittedOffset:
    decoded = decode_versioned(OffsetCommitValue, value)
    return CommittedOffset(
        decoded.offset,
        decoded.leader_epoch,
        decoded.metadata,
        decoded.commit_timestamp,
        decoded.expire_timestamp,
        decoded.topic_id or ZERO_ID,
        record_offset,
    )


def read_group_key(key: bytes) -> str:
    decoded, _ = GroupMetadataKey.decode(memoryview(key), 2, 0)
    return decoded.group


def read_group(group_id: str, value: bytes) -> ClassicGroup:
    """The group that a record describes: Stable when it has members, else Empty."""
    decoded = decode_versioned(GroupMetadataValue, value)
    group = ClassicGroup(group_id, decoded.current_state_timestamp)
    group.generation = decoded.generation
    group.protocol_type = decoded.protocol_type or None
    group.protocol_name = decoded.protocol
    group.leader_id = decoded.leader
    for member in decoded.members:
        has_rebalance_timeout = member.rebalance_timeout != -1
        group.add(
            Member(
                member.member_id,
                member.group_instance_id,
                member.client_id,
                member.client_host,
                member.rebalance_timeout if has_rebalance_timeout else member.session_timeout,
                member.session_timeout,
                ((decoded.protocol or "", bytes(member.subscription)),),
                bytes(member.assignment),
            )
        )
    if group.members:
        group.state = State.STABLE
    group.subscribed_topics = group.compute_subscribed_topics()
    return group
