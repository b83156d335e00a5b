"""The limits and periods that the machines obey, one field per broker key."""

from typing import NamedTuple


class GroupSettings(NamedTuple):
    """Defaults are Kafka's. Times in milliseconds unless the name says otherwise."""

    initial_rebalance_delay_ms: int = 3_000
    """``group.initial.rebalance.delay.ms``: how long an empty group waits for further first members."""
    min_session_timeout_ms: int = 6_000
    """``group.min.session.timeout.ms``"""
    max_session_timeout_ms: int = 1_800_000
    """``group.max.session.timeout.ms``"""
    max_size: int = 2_147_483_647
    """``group.max.size``: members a group may have."""
    metadata_max_bytes: int = 4_096
    """``offset.metadata.max.bytes``: text a commit may carry, in UTF-16 units as Kafka counts it."""
    retention_ms: int = 10_080 * 60_000
    """``offsets.retention.minutes``"""
    new_member_join_timeout_ms: int = 5 * 60_000
    """How long a new member's JoinGroup may be parked: it has no heartbeat yet that could tell that it is
    gone. Fixed in Kafka too (``GroupMetadataManager``)."""


class TransactionSettings(NamedTuple):
    """Defaults are Kafka's, in milliseconds."""

    expiration_ms: int = 7 * 24 * 3_600_000
    """``transactional.id.expiration.ms``: how long an unused transactional id is kept."""
