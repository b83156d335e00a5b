"""The limits and periods that the machines obey, one field per broker key."""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from odradek.core.config.groups import ConsumerGroupConfig


class MigrationPolicy(Enum):
    """``group.consumer.migration.policy``: which conversions of a group with members are allowed."""

    DISABLED = "DISABLED"
    UPGRADE = "UPGRADE"
    DOWNGRADE = "DOWNGRADE"
    BIDIRECTIONAL = "BIDIRECTIONAL"

    @property
    def allows_upgrade(self) -> bool:
        return self in (MigrationPolicy.UPGRADE, MigrationPolicy.BIDIRECTIONAL)

    @property
    def allows_downgrade(self) -> bool:
        return self in (MigrationPolicy.DOWNGRADE, MigrationPolicy.BIDIRECTIONAL)


GroupConfigOf = Callable[[str], ConsumerGroupConfig]
"""What is in force for the consumer group of an id. Asked at every heartbeat, so it must be quick."""


class GroupSettings(NamedTuple):
    """Defaults are Kafka's. Times in milliseconds unless the name says otherwise."""

    initial_rebalance_delay_ms: int = 3_000
    """``group.initial.rebalance.delay.ms``: how long an empty group waits for further first members."""
    min_session_timeout_ms: int = 6_000
    """``group.min.session.timeout.ms``"""
    max_session_timeout_ms: int = 1_800_000
    """``group.max.session.timeout.ms``"""
    max_size: int = 2_147_483_647
    """``group.max.size``: members a classic group may have."""
    metadata_max_bytes: int = 4_096
    """``offset.metadata.max.bytes``: text a commit may carry, in UTF-16 units as Kafka counts it."""
    retention_ms: int = 10_080 * 60_000
    """``offsets.retention.minutes``"""
    new_member_join_timeout_ms: int = 5 * 60_000
    """How long a new member's JoinGroup may be parked: it has no heartbeat yet that could tell that it is
    gone. Fixed in Kafka too (``GroupMetadataManager``)."""
    consumer_max_size: int = 2_147_483_647
    """``group.consumer.max.size``: members a consumer group may have."""
    consumer_assignors: tuple[str, ...] = ("uniform", "range")
    """``group.consumer.assignors``; the first is for groups whose members name none."""
    migration_policy: MigrationPolicy = MigrationPolicy.BIDIRECTIONAL
    """``group.consumer.migration.policy``"""


class TransactionSettings(NamedTuple):
    """Defaults are Kafka's, in milliseconds."""

    expiration_ms: int = 7 * 24 * 3_600_000
    """``transactional.id.expiration.ms``: how long an unused transactional id is kept."""
