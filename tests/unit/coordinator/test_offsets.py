"""Offsets that transactions commit, which so far only replay brings; the rest is in scripts/."""

from odradek.coordinator import records
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.shard import GroupShard
from odradek.coordinator.step import Now
from odradek.core.errors import ErrorCode
from odradek.core.ids import ZERO_ID
from odradek.protocol.generated.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics

from .harness import CONSUMER_CONFIG

NOW = Now(1_000_000_000, 0)


def shard_with(*commits: tuple[int, str, int]) -> GroupShard:
    """Commits as (producer id, topic, offset), one record each, in this order."""
    shard = GroupShard(GroupSettings(retention_ms=1_000), lambda _: CONSUMER_CONFIG, lambda: "suffix")
    for position, (producer_id, topic, offset) in enumerate(commits):
        value = records.offset_value(offset, -1, "", 1_000, -1, ZERO_ID)
        shard.replay(position, producer_id, records.offset_key("g", topic, 0), value)
    return shard


def fetched(shard: GroupShard, require_stable: bool = False) -> dict[str, tuple[int, int]]:
    topics = [OffsetFetchRequestTopics(name=name, partition_indexes=[0]) for name in ("t", "u")]
    request = OffsetFetchRequestGroup(group_id="g", topics=topics)
    response = shard.fetch_offsets(request, require_stable)
    return {
        topic.name: (topic.partitions[0].committed_offset, topic.partitions[0].error_code)
        for topic in response.topics
    }


def test_offsets_of_a_transaction_count_once_it_is_committed() -> None:
    shard = shard_with((-1, "t", 1), (7, "t", 2), (7, "u", 3))
    assert fetched(shard) == {"t": (1, 0), "u": (-1, 0)}
    unstable = (-1, ErrorCode.UNSTABLE_OFFSET_COMMIT)
    assert fetched(shard, require_stable=True) == {"t": unstable, "u": unstable}
    shard.replay_marker(7, is_commit=True)
    assert fetched(shard, require_stable=True) == {"t": (2, 0), "u": (3, 0)}
    assert not shard.offsets.pending
    assert not shard.offsets.open_transactions


def test_offsets_of_an_aborted_transaction_never_were() -> None:
    shard = shard_with((-1, "t", 1), (7, "t", 2), (7, "u", 3))
    shard.replay_marker(7, is_commit=False)
    assert fetched(shard, require_stable=True) == {"t": (1, 0), "u": (-1, 0)}


def test_a_later_plain_commit_wins() -> None:
    shard = shard_with((7, "t", 2), (-1, "t", 9))
    shard.replay_marker(7, is_commit=True)
    assert fetched(shard)["t"] == (9, 0)


def test_a_tombstone_takes_pending_offsets_along() -> None:
    shard = shard_with((7, "t", 2), (8, "t", 3))
    shard.replay(9, -1, records.offset_key("g", "t", 0), None)
    shard.replay_marker(7, is_commit=True)
    shard.replay_marker(8, is_commit=True)
    assert fetched(shard)["t"] == (-1, 0)
    assert not shard.offsets.open_transactions


def test_a_marker_without_offsets_is_nothing() -> None:
    shard_with().replay_marker(7, is_commit=True)


def test_what_a_transaction_is_about_to_commit_does_not_expire() -> None:
    shard = shard_with((-1, "t", 1), (7, "t", 2), (-1, "u", 3))
    (step,) = shard.expire(NOW)
    assert [records.read_offset_key(key) for key, _ in step.records] == [("g", "u", 0)]


def test_a_deleted_group_takes_pending_offsets_along() -> None:
    shard = shard_with((-1, "t", 1), (7, "u", 2))
    step = shard.delete_groups(["g"], "token")
    assert len(step.records) == 3
    assert step.write is not None
    step.write.appended(10)
    assert not shard.groups
    assert not shard.offsets.groups
    assert not shard.offsets.pending


def test_offsets_of_a_topic_made_anew_are_stale() -> None:
    shard = GroupShard(GroupSettings(), lambda _: CONSUMER_CONFIG, lambda: "suffix")
    old, new = b"o" * 16, b"n" * 16
    for partition, topic_id in enumerate((old, new, ZERO_ID)):
        value = records.offset_value(partition, -1, "", 1_000, -1, topic_id)
        shard.replay(partition, -1, records.offset_key("g", "t", partition), value)
    request = OffsetFetchRequestGroup(
        group_id="g",
        topics=[OffsetFetchRequestTopics(name="t", topic_id=new, partition_indexes=[0, 1, 2])],
    )
    (topic,) = shard.fetch_offsets(request, False).topics
    assert [partition.committed_offset for partition in topic.partitions] == [-1, 1, 2]
    step = shard.forget_offsets(lambda name, topic_id: topic_id == old)
    assert [records.read_offset_key(key) for key, _ in step.records] == [("g", "t", 0)]
