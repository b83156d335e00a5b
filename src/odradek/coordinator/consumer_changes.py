"""Everything about a consumer group that has a record: how it is written, read, done and taken back.

A change is made once, by :meth:`~Change.apply`, whether its record was just written or is replayed: so a
group that is rebuilt from its records is the group that wrote them. ``apply`` answers the change that takes
it back, for an append that is refused.

Record schemas and versions are Kafka 4.3's. A group's ConsumerGroupPartitionMetadata record is only ever
deleted, since KIP-1101 put a hash of the topics into the group's record.

Source: ``GroupCoordinatorRecordHelpers``, ``GroupMetadataManager.replay``.
"""

from typing import NamedTuple, Protocol

from odradek.coordinator.assignors.assignor import Assignment
from odradek.coordinator.consumer_group import ConsumerGroup, ResolvedRegex
from odradek.coordinator.consumer_member import ClassicPart, MemberState, Owned, Progress, Subscription
from odradek.coordinator.step import RecordBytes
from odradek.protocol.generated.consumer_group_current_member_assignment import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    TopicPartitions,
)
from odradek.protocol.generated.consumer_group_member_metadata import (
    ClassicMemberMetadata,
    ClassicProtocol,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
)
from odradek.protocol.generated.consumer_group_metadata import (
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
)
from odradek.protocol.generated.consumer_group_partition_metadata import ConsumerGroupPartitionMetadataKey
from odradek.protocol.generated.consumer_group_regular_expression import (
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
)
from odradek.protocol.generated.consumer_group_target_assignment_member import (
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    TopicPartition,
)
from odradek.protocol.generated.consumer_group_target_assignment_metadata import (
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
)
from odradek.protocol.versioned import (
    decode_record_key,
    decode_versioned,
    encode_record_key,
    encode_versioned,
)

EPOCH_KEY = 3
PARTITION_METADATA_KEY = 4
SUBSCRIPTION_KEY = 5
TARGET_EPOCH_KEY = 6
TARGET_KEY = 7
PROGRESS_KEY = 8
REGEX_KEY = 16
KEYS = frozenset(
    (
        EPOCH_KEY,
        PARTITION_METADATA_KEY,
        SUBSCRIPTION_KEY,
        TARGET_EPOCH_KEY,
        TARGET_KEY,
        PROGRESS_KEY,
        REGEX_KEY,
    )
)
"""Record types of consumer groups."""

_VERSION = 0


class Change(Protocol):
    """One record's worth of change."""

    def record(self, group_id: str) -> RecordBytes: ...

    def apply(self, group: ConsumerGroup) -> "Change": ...


class PutSubscription(NamedTuple):
    """A member says something new of itself; without ``said`` it is gone."""

    member_id: str
    said: Subscription | None

    def record(self, group_id: str) -> RecordBytes:
        key = encode_record_key(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=self.member_id))
        return key, None if self.said is None else encode_versioned(_subscription(self.said), _VERSION)

    def apply(self, group: ConsumerGroup) -> Change:
        return PutSubscription(self.member_id, group.put_subscription(self.member_id, self.said))


class PutProgress(NamedTuple):
    """A member moved; without ``at`` it has nothing any more."""

    member_id: str
    at: Progress | None

    def record(self, group_id: str) -> RecordBytes:
        key = encode_record_key(
            ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=self.member_id)
        )
        at = self.at
        if at is None:
            return key, None
        value = ConsumerGroupCurrentMemberAssignmentValue(
            member_epoch=at.epoch,
            previous_member_epoch=at.previous_epoch,
            state=at.state,
            assigned_partitions=_owned_list(at.assigned),
            partitions_pending_revocation=_owned_list(at.revoking),
        )
        return key, encode_versioned(value, _VERSION)

    def apply(self, group: ConsumerGroup) -> Change:
        return PutProgress(self.member_id, group.put_progress(self.member_id, self.at))


class PutTarget(NamedTuple):
    """A member's part of the target assignment; without ``target`` it has none."""

    member_id: str
    target: Assignment | None

    def record(self, group_id: str) -> RecordBytes:
        key = encode_record_key(
            ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=self.member_id)
        )
        if self.target is None:
            return key, None
        value = ConsumerGroupTargetAssignmentMemberValue(
            topic_partitions=[
                TopicPartition(topic_id=topic_id, partitions=sorted(partitions))
                for topic_id, partitions in self.target.items()
            ]
        )
        return key, encode_versioned(value, _VERSION)

    def apply(self, group: ConsumerGroup) -> Change:
        return PutTarget(self.member_id, group.put_target(self.member_id, self.target))


class PutEpoch(NamedTuple):
    """The group's epoch, and the hash of the topics that its members subscribe to."""

    epoch: int
    metadata_hash: int

    def record(self, group_id: str) -> RecordBytes:
        value = ConsumerGroupMetadataValue(epoch=self.epoch, metadata_hash=self.metadata_hash)
        return epoch_key(group_id), encode_versioned(value, _VERSION)

    def apply(self, group: ConsumerGroup) -> Change:
        return PutEpoch(*group.put_epoch(self.epoch, self.metadata_hash))


class PutTargetEpoch(NamedTuple):
    """The epoch that the target assignment is for, and when (wall clock) it was made."""

    epoch: int
    timestamp_ms: int

    def record(self, group_id: str) -> RecordBytes:
        value = ConsumerGroupTargetAssignmentMetadataValue(
            assignment_epoch=self.epoch, assignment_timestamp=self.timestamp_ms
        )
        return target_epoch_key(group_id), encode_versioned(value, _VERSION)

    def apply(self, group: ConsumerGroup) -> Change:
        return PutTargetEpoch(*group.put_target_epoch(self.epoch, self.timestamp_ms))


class PutRegex(NamedTuple):
    """What a regular expression matches; without ``resolved`` nobody subscribes with it any more."""

    regex: str
    resolved: ResolvedRegex | None

    def record(self, group_id: str) -> RecordBytes:
        key = encode_record_key(
            ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=self.regex)
        )
        if self.resolved is None:
            return key, None
        value = ConsumerGroupRegularExpressionValue(
            topics=sorted(self.resolved.topics),
            version=self.resolved.version,
            timestamp=self.resolved.timestamp_ms,
        )
        return key, encode_versioned(value, _VERSION)

    def apply(self, group: ConsumerGroup) -> Change:
        return PutRegex(self.regex, group.put_regex(self.regex, self.resolved))


def epoch_key(group_id: str) -> bytes:
    return encode_record_key(ConsumerGroupMetadataKey(group_id=group_id))


def target_epoch_key(group_id: str) -> bytes:
    return encode_record_key(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id))


def partition_metadata_key(group_id: str) -> bytes:
    return encode_record_key(ConsumerGroupPartitionMetadataKey(group_id=group_id))


def group_tombstones(group: ConsumerGroup) -> list[RecordBytes]:
    """What removes a group with all its members, in Kafka's order."""
    group_id, members = group.group_id, group.members
    records = [PutProgress(member_id, None).record(group_id) for member_id in members]
    records += [PutTarget(member_id, None).record(group_id) for member_id in members]
    records.append((target_epoch_key(group_id), None))
    records += [PutSubscription(member_id, None).record(group_id) for member_id in members]
    records += [PutRegex(regex, None).record(group_id) for regex in group.regexes]
    records.append((partition_metadata_key(group_id), None))
    records.append((epoch_key(group_id), None))
    return records


def whole_group(group: ConsumerGroup) -> list[RecordBytes]:
    """What makes a group as it stands, in Kafka's order."""
    changes: list[Change] = [
        PutSubscription(member.member_id, member.said) for member in group.members.values()
    ]
    changes.append(PutEpoch(group.epoch, group.metadata_hash))
    changes += [PutTarget(member_id, target) for member_id, target in group.targets.items()]
    changes.append(PutTargetEpoch(group.target_epoch, group.target_timestamp_ms))
    changes += [PutProgress(member.member_id, member.at) for member in group.members.values()]
    return [change.record(group.group_id) for change in changes]


# Reading


def read_change(kind: int, key: bytes, value: bytes | None) -> tuple[str, Change | None]:
    """The group that a record is about and what it changes; ``None`` is what concerns the group as a whole:
    its deletion, the deletion of its target epoch, and records that only older Kafkas use.

    Raises ``MalformedError``.
    """
    if kind == PROGRESS_KEY:
        progress_key = decode_record_key(ConsumerGroupCurrentMemberAssignmentKey, key)
        return progress_key.group_id, PutProgress(
            progress_key.member_id, None if value is None else _read_progress(value)
        )
    if kind == SUBSCRIPTION_KEY:
        member_key = decode_record_key(ConsumerGroupMemberMetadataKey, key)
        return member_key.group_id, PutSubscription(
            member_key.member_id, None if value is None else _read_subscription(value)
        )
    if kind == TARGET_KEY:
        target_key = decode_record_key(ConsumerGroupTargetAssignmentMemberKey, key)
        return target_key.group_id, PutTarget(
            target_key.member_id, None if value is None else _read_target(value)
        )
    if kind == REGEX_KEY:
        regex_key = decode_record_key(ConsumerGroupRegularExpressionKey, key)
        return regex_key.group_id, PutRegex(
            regex_key.regular_expression, None if value is None else _read_regex(value)
        )
    group_id = decode_record_key(ConsumerGroupMetadataKey, key).group_id  # These three keys are alike.
    if value is None or kind == PARTITION_METADATA_KEY:
        return group_id, None
    if kind == EPOCH_KEY:
        group_value = decode_versioned(ConsumerGroupMetadataValue, value)
        return group_id, PutEpoch(group_value.epoch, group_value.metadata_hash)
    target_value = decode_versioned(ConsumerGroupTargetAssignmentMetadataValue, value)
    return group_id, PutTargetEpoch(target_value.assignment_epoch, target_value.assignment_timestamp)


def _subscription(said: Subscription) -> ConsumerGroupMemberMetadataValue:
    classic = said.classic
    return ConsumerGroupMemberMetadataValue(
        instance_id=said.instance_id,
        rack_id=said.rack_id,
        client_id=said.client_id,
        client_host=said.client_host,
        subscribed_topic_names=sorted(said.topics),
        subscribed_topic_regex=said.regex,
        rebalance_timeout_ms=said.rebalance_timeout_ms,
        server_assignor=said.server_assignor,
        classic_member_metadata=None
        if classic is None
        else ClassicMemberMetadata(
            session_timeout_ms=classic.session_timeout_ms,
            supported_protocols=[
                ClassicProtocol(name=name, metadata=metadata) for name, metadata in classic.protocols
            ],
        ),
    )


def _read_subscription(value: bytes) -> Subscription:
    said = decode_versioned(ConsumerGroupMemberMetadataValue, value)
    classic = said.classic_member_metadata
    return Subscription(
        said.instance_id,
        said.rack_id,
        said.client_id,
        said.client_host,
        frozenset(said.subscribed_topic_names),
        said.subscribed_topic_regex or "",
        said.rebalance_timeout_ms,
        said.server_assignor,
        # Kafka 3.7 wrote nothing there, which reads as a part without protocols.
        None
        if classic is None or not classic.supported_protocols
        else ClassicPart(
            classic.session_timeout_ms,
            tuple((protocol.name, bytes(protocol.metadata)) for protocol in classic.supported_protocols),
        ),
    )


def _owned_list(owned: Owned) -> list[TopicPartitions]:
    return [
        TopicPartitions(
            topic_id=topic_id, partitions=list(partitions), assignment_epochs=list(partitions.values())
        )
        for topic_id, partitions in owned.items()
    ]


def _read_owned(parts: list[TopicPartitions], epoch: int) -> Owned:
    """Before Kafka 4.3 records did not say since when a partition is held: then it is since ``epoch``."""
    return {
        part.topic_id: dict(
            zip(part.partitions, part.assignment_epochs or [epoch] * len(part.partitions), strict=True)
        )
        for part in parts
    }


def _read_progress(value: bytes) -> Progress:
    at = decode_versioned(ConsumerGroupCurrentMemberAssignmentValue, value)
    try:
        state = MemberState(at.state)
    except ValueError:
        state = MemberState.UNRELEASED  # A later Kafka's: the member looks at its target anew.
    return Progress(
        at.member_epoch,
        at.previous_member_epoch,
        state,
        _read_owned(at.assigned_partitions, at.member_epoch),
        _read_owned(at.partitions_pending_revocation, at.member_epoch),
    )


def _read_target(value: bytes) -> Assignment:
    target = decode_versioned(ConsumerGroupTargetAssignmentMemberValue, value)
    return {part.topic_id: frozenset(part.partitions) for part in target.topic_partitions}


def _read_regex(value: bytes) -> ResolvedRegex:
    resolved = decode_versioned(ConsumerGroupRegularExpressionValue, value)
    return ResolvedRegex(frozenset(resolved.topics), resolved.version, resolved.timestamp)
