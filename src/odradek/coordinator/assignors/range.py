"""The ``range`` assignor: each subscriber of a topic gets one contiguous range of its partitions.

Topics with the same subscribers and as many partitions are co-partitioned: whoever reads partition *n* of
one reads it of all. Static members come first and in the order of their instance ids, so that a restart,
which gives them new member ids, moves nothing.

Source: KIP-848, ``RangeAssignor``.
"""

from collections.abc import Mapping

from odradek.coordinator.assignors.assignor import Assignment, MemberSubscription
from odradek.core.ids import TopicId


def assign_ranges(
    members: Mapping[str, MemberSubscription], partition_counts: Mapping[TopicId, int]
) -> dict[str, Assignment]:
    """See :class:`~odradek.coordinator.assignors.assignor.Assignor`. Previous targets play no part."""
    subscribers: dict[TopicId, list[str]] = {}
    for member_id in sorted(members, key=lambda each: _rank(each, members[each])):
        for topic in members[member_id].topics:
            if topic in partition_counts:
                subscribers.setdefault(topic, []).append(member_id)
    ranges: dict[str, dict[TopicId, frozenset[int]]] = {member_id: {} for member_id in members}
    for topic, member_ids in subscribers.items():
        size, larger_count = divmod(partition_counts[topic], len(member_ids))
        start = 0
        for index, member_id in enumerate(member_ids):
            end = start + size + (index < larger_count)
            if end == start:
                break
            ranges[member_id][topic] = frozenset(range(start, end))
            start = end
    return {
        member_id: member.target if member.target == ranges[member_id] else ranges[member_id]
        for member_id, member in members.items()
    }


def _rank(member_id: str, member: MemberSubscription) -> tuple[bool, str]:
    if member.instance_id is None:
        return True, member_id
    return False, member.instance_id
