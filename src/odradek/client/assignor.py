"""The range assignor of the classic group protocol, for when this client leads its group.

Source: ``org.apache.kafka.clients.consumer.RangeAssignor``.
"""

from collections.abc import Iterable, Mapping

from odradek.core.ids import TopicPartition


def assign_ranges(
    subscriptions: Mapping[str, Iterable[str]], partition_counts: Mapping[str, int]
) -> dict[str, list[TopicPartition]]:
    """Give each member a run of neighbouring partitions of every topic it subscribes to.

    ``subscriptions`` maps member ids to topics, ``partition_counts`` topics to how many partitions
    they have; topics that do not exist are left out of the latter. Members are taken in the order
    of their ids, and the first of them get one partition more where a topic does not divide evenly.
    """
    assignment: dict[str, list[TopicPartition]] = {member: [] for member in subscriptions}
    members_of: dict[str, list[str]] = {}
    for member in sorted(subscriptions):
        for topic in set(subscriptions[member]):
            members_of.setdefault(topic, []).append(member)
    for topic in sorted(members_of):
        members = members_of[topic]
        share, rest = divmod(partition_counts.get(topic, 0), len(members))
        start = 0
        for position, member in enumerate(members):
            end = start + share + (position < rest)
            assignment[member].extend(TopicPartition(topic, partition) for partition in range(start, end))
            start = end
    return assignment
