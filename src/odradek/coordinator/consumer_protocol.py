"""The protocol that classic consumers speak among themselves, where the coordinator must understand it: to
serve them in a consumer group, and to turn one kind of group into the other.

Each version begins with the fields of the one before, so an unknown later one is read as the last known.

Source: ``ConsumerProtocol``, ``GroupMetadataManager`` (``deserializeSubscription``, ``prepareAssignment``).
"""

import struct
from collections.abc import Iterable, Mapping

from odradek.coordinator.topics_view import TopicsView
from odradek.core.ids import TopicId
from odradek.protocol.generated.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from odradek.protocol.primitives import MalformedError
from odradek.protocol.versioned import read_version

_VERSION = struct.Struct(">h")
_HIGHEST = 3


def read_subscription(metadata: bytes) -> ConsumerProtocolSubscription:
    """A member's metadata. Raises ``MalformedError``."""
    version = min(read_version(metadata), _HIGHEST)
    if version < 0:
        raise MalformedError("a negative version of the consumer protocol")
    subscription, _ = ConsumerProtocolSubscription.decode(memoryview(metadata), _VERSION.size, version)
    return subscription


def read_assignment(assignment: bytes, topics: TopicsView) -> dict[TopicId, frozenset[int]]:
    """A member's assignment, less the topics that are gone; ``b""`` is none. Raises ``MalformedError``."""
    if not assignment:
        return {}
    version = min(read_version(assignment), _HIGHEST)
    decoded, _ = ConsumerProtocolAssignment.decode(memoryview(assignment), _VERSION.size, version)
    by_name = topics.by_name
    return {
        by_name[part.topic].topic_id: frozenset(part.partitions)
        for part in decoded.assigned_partitions
        if part.topic in by_name and part.partitions
    }


def write_assignment(
    partitions: Mapping[TopicId, Iterable[int]], topics: TopicsView, metadata: bytes
) -> bytes:
    """An assignment in the version that the member's metadata has; topics that are gone are left out."""
    version = max(0, min(read_version(metadata), _HIGHEST))
    assignment = ConsumerProtocolAssignment(
        assigned_partitions=[
            ConsumerProtocolAssignmentTopicPartition(
                topic=topics.by_id[topic_id].name, partitions=sorted(numbers)
            )
            for topic_id, numbers in partitions.items()
            if topic_id in topics.by_id
        ],
        user_data=None,
    )
    parts: list[bytes] = [_VERSION.pack(version)]
    assignment.encode(parts, version)
    return b"".join(parts)
