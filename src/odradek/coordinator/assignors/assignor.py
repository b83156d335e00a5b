"""What an assignor is given and what it gives back.

Racks are not part of it: Kafka 4.3 keeps the racks of members and hands them to its assignors, but neither
its ``uniform`` nor its ``range`` looks at them.

Source: KIP-848, ``ConsumerGroupPartitionAssignor``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from odradek.core.ids import TopicId

Assignment = Mapping[TopicId, frozenset[int]]
"""Partitions by topic; no topic has an empty set. Never changed once made, so it may be shared."""


class MemberSubscription(NamedTuple):
    """What an assignor must know of one member."""

    topics: frozenset[TopicId]
    """The topics that it subscribes to. Those without a partition count do not exist (any more)."""
    target: Assignment = MappingProxyType({})
    """Its part of the previous target assignment; may hold what it gave up or what is gone."""
    instance_id: str | None = None
    """Set for static members."""


class Assignor(Protocol):
    """Who reads what.

    Each partition of a topic that somebody subscribes to goes to exactly one of its subscribers. The answer
    has every member, also those that get nothing; a member whose part is as it was gets the very object that
    it brought as ``target``. It does not depend on the order of ``members`` and ``partition_counts``.
    """

    def __call__(
        self, members: Mapping[str, MemberSubscription], partition_counts: Mapping[TopicId, int]
    ) -> dict[str, Assignment]: ...
