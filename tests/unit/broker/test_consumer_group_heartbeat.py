from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    RequestTopicPartitions,
)
from odradek.protocol.generated.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from odradek.protocol.generated.delete_groups import DeleteGroupsRequest
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.list_groups import ListGroupsRequest
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.protocol.generated.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup

from .group_client import commit_request, committed, with_groups
from .harness import Harness


def beat_request(member_id: str = "m", epoch: int = 0, **fields: Any) -> ConsumerGroupHeartbeatRequest:
    if epoch == 0:
        fields = {
            "rebalance_timeout_ms": 20_000,
            "topic_partitions": [],
            "subscribed_topic_names": ["t"],
            **fields,
        }
    fields = {"group_id": "g", **fields}
    return ConsumerGroupHeartbeatRequest(member_id=member_id, member_epoch=epoch, **fields)


def assigned(response: Any) -> set[int] | None:
    """The partitions of the one topic that there is; ``None`` when the answer says nothing of them."""
    if response.assignment is None:
        return None
    return {number for part in response.assignment.topic_partitions for number in part.partitions}


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1", num_partitions="4"))
    harness.advance(2_000)
    return harness


@pytest.mark.parametrize("version", range(2))
def test_every_version(harness: Harness, version: int) -> None:
    joined = harness.call(beat_request(), version)
    assert (joined.error_code, joined.member_id, joined.member_epoch) == (0, "m", 2)
    assert joined.heartbeat_interval_ms == 5_000
    assert assigned(joined) == {0, 1, 2, 3}
    assert assigned(harness.call(beat_request(epoch=2), version)) is None
    refused = harness.call(beat_request(epoch=9), version)
    assert refused.error_code == ErrorCode.FENCED_MEMBER_EPOCH
    assert "(9)" in refused.error_message
    assert harness.call(beat_request(epoch=-1), version).member_epoch == -1


def test_before_version_1_the_broker_makes_the_member_id(harness: Harness) -> None:
    assert harness.call(beat_request(""), 1).error_code == ErrorCode.INVALID_REQUEST
    assert len(harness.call(beat_request(""), 0).member_id) == 36


def test_a_heartbeat_with_nothing_to_say_is_answered_at_once_and_writes_nothing(harness: Harness) -> None:
    harness.call(beat_request())
    (partition,) = harness.broker.topics.by_name["__consumer_offsets"].partitions
    end = partition.log.log_end_offset
    pending = harness.send(beat_request(epoch=2))
    assert pending.is_answered
    assert partition.log.log_end_offset == end


def test_an_answer_waits_for_the_disk(harness: Harness) -> None:
    joined, repeated = harness.send(beat_request()), harness.send(beat_request())
    assert not joined.is_answered
    assert not repeated.is_answered
    harness.flush()
    assert assigned(joined.response()) == assigned(repeated.response()) == {0, 1, 2, 3}


def test_two_members_commit_and_survive_a_restart(harness: Harness) -> None:
    topic_id = harness.broker.topics.by_name["t"].topic_id
    harness.call(beat_request("a"))
    harness.advance(1_000)
    assert assigned(harness.call(beat_request("b"))) == set()
    assert assigned(harness.call(beat_request("a", 2))) == {0, 1}
    owned = [RequestTopicPartitions(topic_id=topic_id, partitions=[0, 1])]
    assert harness.call(beat_request("a", 2, topic_partitions=owned)).member_epoch == 3
    assert assigned(harness.call(beat_request("b", 3))) == {2, 3}
    request = commit_request(5, partition=2, member_id="b", generation_id_or_member_epoch=3)
    assert harness.call(request, 9).topics[0].partitions[0].error_code == 0
    request.generation_id_or_member_epoch = 2
    assert harness.call(request, 9).topics[0].partitions[0].error_code == ErrorCode.STALE_MEMBER_EPOCH
    harness.restart()
    assert harness.call(beat_request("a", 3)).error_code == 0
    assert harness.call(beat_request("b", 3)).error_code == 0
    assert committed(harness) == {"t-2": 5}


def test_offset_fetch_is_fenced(harness: Harness) -> None:
    harness.call(beat_request())

    def code(member_id: str | None, epoch: int) -> int:
        group = OffsetFetchRequestGroup(group_id="g", member_id=member_id, member_epoch=epoch, topics=None)
        found: int = harness.call(OffsetFetchRequest(groups=[group]), 9).groups[0].error_code
        return found

    assert code("m", 2) == code(None, -1) == 0
    assert code("m", 1) == ErrorCode.STALE_MEMBER_EPOCH
    assert code("x", 2) == ErrorCode.UNKNOWN_MEMBER_ID


def test_partitions_and_topics_that_come_later_are_assigned(harness: Harness) -> None:
    harness.call(beat_request(subscribed_topic_names=[], subscribed_topic_regex="t|later"))
    harness.advance(1_000)
    grown = CreatePartitionsTopic(name="t", count=6, assignments=None)
    assert harness.call(CreatePartitionsRequest(topics=[grown])).results[0].error_code == 0
    assert assigned(harness.call(beat_request(epoch=2))) == {0, 1, 2, 3, 4, 5}
    harness.advance(1_000)
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="later")]), 9)
    response = harness.call(beat_request(epoch=3))
    assert sorted(len(part.partitions) for part in response.assignment.topic_partitions) == [4, 6]


def test_settings_of_the_broker_count(tmp_path: Path) -> None:
    harness = with_groups(
        Harness(
            tmp_path,
            offsets_topic_num_partitions="1",
            group_consumer_assignors="range",
            group_consumer_max_size="1",
            group_consumer_heartbeat_interval_ms="7000",
        )
    )
    assert harness.call(beat_request("a")).heartbeat_interval_ms == 7_000
    assert harness.call(beat_request("b")).error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    request = beat_request("a", 2, server_assignor="uniform")
    assert harness.call(request).error_code == ErrorCode.UNSUPPORTED_ASSIGNOR


def test_without_the_consumer_protocol(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, group_coordinator_rebalance_protocols="classic"))
    assert harness.call(beat_request()).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert harness.call(ListGroupsRequest()).groups == []


def test_an_empty_group_can_be_deleted(harness: Harness) -> None:
    harness.call(beat_request())
    (result,) = harness.call(DeleteGroupsRequest(groups_names=["g"])).results
    assert result.error_code == ErrorCode.NON_EMPTY_GROUP
    harness.call(beat_request(epoch=-1))
    (result,) = harness.call(DeleteGroupsRequest(groups_names=["g"])).results
    assert result.error_code == 0
    harness.restart()
    harness.call(FindCoordinatorRequest(key="g"), 3)
    assert harness.call(ListGroupsRequest()).groups == []
    assert harness.call(beat_request(epoch=3)).error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_a_silent_member_is_lost_also_after_a_restart(harness: Harness) -> None:
    harness.call(beat_request())
    harness.restart()
    harness.advance(0)
    harness.advance(44_000)
    assert harness.call(beat_request(epoch=2)).error_code == 0
    harness.advance(44_000)
    assert harness.call(beat_request(epoch=2)).error_code == 0
    harness.advance(45_000)
    assert harness.call(beat_request(epoch=2)).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_strangers_leave_nothing_behind(harness: Harness) -> None:
    """A flood of heartbeats from members and groups that are not there."""
    for number in range(300):
        code = harness.call(beat_request(f"m{number}", 5, group_id=f"g{number}")).error_code
        assert code == ErrorCode.GROUP_ID_NOT_FOUND
    harness.call(beat_request())
    (runner,) = harness.broker.groups.runners()
    end = runner.partition.log.log_end_offset
    timers = len(harness.broker.timers)
    for number in range(300):
        assert harness.call(beat_request(f"m{number}", 5)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
        assert harness.call(beat_request("m", 7)).error_code == ErrorCode.FENCED_MEMBER_EPOCH
        regex = "(" * (number + 1)
        refused = harness.call(beat_request(f"m{number}", subscribed_topic_regex=regex))
        assert refused.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    group = runner.shard.groups["g"]
    assert (list(runner.shard.groups), list(group.members), list(group.sessions)) == (["g"], ["m"], ["m"])
    assert runner.partition.log.log_end_offset == end
    assert len(harness.broker.timers) == timers


def test_ids_as_long_as_the_wire_allows(harness: Harness) -> None:
    long = "x" * 32_000
    joined = harness.call(beat_request(long, group_id=long, instance_id=long, rack_id=long))
    assert (joined.error_code, joined.member_id) == (0, long)
    harness.restart()
    assert harness.call(beat_request(long, 2, group_id=long, instance_id=long)).error_code == 0
    assert harness.call(beat_request()).error_code == 0


def test_a_subscription_too_large_for_a_record_is_refused_and_harms_nobody(harness: Harness) -> None:
    harness.call(beat_request())
    names = [f"a-topic-with-a-long-name-{number:08d}" for number in range(40_000)]
    refused = harness.call(beat_request("greedy", subscribed_topic_names=names))
    assert refused.error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    assert harness.call(beat_request(epoch=2)).member_epoch == 2
    refused = harness.call(beat_request("greedy", subscribed_topic_regex="(x{1000}y)" * 3_000))
    assert refused.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    (runner,) = harness.broker.groups.runners()
    assert list(runner.shard.groups["g"].members) == ["m"]
