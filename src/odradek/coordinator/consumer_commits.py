"""Who may commit and fetch offsets of a consumer group.

Since KIP-1251 a commit is good in an older epoch of the member too, for partitions that it has held since
then: so a commit that was on its way while the member moved on is not lost.

Source: ``ConsumerGroup`` (``validateOffsetCommit``, ``validateOffsetFetch``); KIP-848, KIP-1251.
"""

from collections.abc import Iterable
from typing import Any

from odradek.coordinator.consumer_group import ConsumerGroup
from odradek.coordinator.consumer_member import ConsumerMember
from odradek.core.errors import ApiError, ErrorCode

EPOCHS_FROM = 9
"""The first version of OffsetCommit whose clients understand member epochs."""


def validate_commit(
    group: ConsumerGroup, member_id: str, epoch: int, topics: Iterable[Any], api_version: int
) -> None:
    """Checks a commit of ``topics``: values with ``topic_id`` and ``partitions``, which have
    ``partition_index``. A negative epoch may commit as long as the group has no members.

    Raises :class:`ApiError`: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH, ILLEGAL_GENERATION for a member of the
    classic protocol, UNSUPPORTED_VERSION.
    """
    if epoch < 0 and not group.members:
        return
    member = group.members.get(member_id)
    if member is None:
        raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
    if not member.is_classic and api_version < EPOCHS_FROM:
        raise ApiError(ErrorCode.UNSUPPORTED_VERSION)
    if not _is_current(member, epoch, topics):
        raise ApiError(_stale(member))


def validate_transactional_commit(
    group: ConsumerGroup, member_id: str, instance_id: str | None, epoch: int, topics: Iterable[Any]
) -> None:
    """Checks a TxnOffsetCommit of ``topics`` as above; its clients know generations only, and the older of
    them not even that, so who names no member is let in. Raises :class:`ApiError`: UNKNOWN_MEMBER_ID,
    ILLEGAL_GENERATION."""
    if epoch < 0 and (not group.members or (not member_id and instance_id is None)):
        return
    member = group.members.get(member_id)
    if member is None:
        raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
    if not _is_current(member, epoch, topics):
        raise ApiError(ErrorCode.ILLEGAL_GENERATION)


def validate_fetch(group: ConsumerGroup, member_id: str | None, epoch: int) -> None:
    """Checks an OffsetFetch; one that names no member is let in. Raises :class:`ApiError` as above."""
    if member_id is None and epoch < 0:
        return
    member = group.members.get(member_id or "")
    if member is None:
        raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
    if epoch != member.at.epoch:
        raise ApiError(_stale(member))


def _stale(member: ConsumerMember) -> ErrorCode:
    return ErrorCode.ILLEGAL_GENERATION if member.is_classic else ErrorCode.STALE_MEMBER_EPOCH


def _is_current(member: ConsumerMember, epoch: int, topics: Iterable[Any]) -> bool:
    if epoch == member.at.epoch:
        return True
    return not member.is_classic and epoch < member.at.epoch and _held_since(member, epoch, topics)


def _held_since(member: ConsumerMember, epoch: int, topics: Iterable[Any]) -> bool:
    """Whether the member got all these partitions in ``epoch`` or before, and did not give them up."""
    at = member.at
    for topic in topics:
        assigned = at.assigned.get(topic.topic_id, {})
        revoking = at.revoking.get(topic.topic_id, {})
        for partition in topic.partitions:
            index = partition.partition_index
            since = assigned.get(index, revoking.get(index))
            if since is None or epoch < since:
                return False
    return True
