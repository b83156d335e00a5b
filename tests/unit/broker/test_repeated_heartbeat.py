"""A heartbeat that is known by its bytes gets what any other gets; what happens in its group ends that."""

from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from odradek.protocol.generated.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from odradek.protocol.generated.leave_group import LeaveGroupRequest, MemberIdentity
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic

from .group_client import commit_request, committed, with_groups
from .harness import Harness
from .repeating import from_scratch, is_known, learn, send_watched
from .test_consumer_group_heartbeat import assigned, beat_request
from .test_quotas import set_quota
from .test_update_features import UNSAFE, update

_GROUP_RESOURCE = 32


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """Member m is alone in its group, in epoch 2, and its heartbeat is known."""
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1", num_partitions="4"))
    harness.advance(2_000)
    harness.call(beat_request())
    learn(harness, beat_request(epoch=2), 1)
    harness.advance(1_000)
    return harness


def test_it_is_answered_as_if_it_were_the_first(harness: Harness) -> None:
    learn(harness, beat_request(epoch=2), 0)
    for version in (0, 1):
        request = beat_request(epoch=2)
        pending, was_known = send_watched(harness, request, version)
        assert was_known
        assert pending.response() == from_scratch(harness, request, version)


def test_one_that_says_everything_is_told_everything(harness: Harness) -> None:
    request = beat_request(epoch=2, rebalance_timeout_ms=20_000, subscribed_topic_names=["t"])
    request.topic_partitions = []
    for _ in range(16):
        harness.call(request)
    pending, was_known = send_watched(harness, request, 1)
    assert was_known
    assert assigned(pending.response()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "other",
    [
        beat_request(epoch=2, topic_partitions=[]),
        beat_request(epoch=2, rack_id="r"),
        beat_request("n", 2),
        beat_request(epoch=1),
        beat_request(epoch=3),
    ],
)
def test_another_is_not_known(harness: Harness, other: Any) -> None:
    pending, was_known = send_watched(harness, other, 1)
    assert not was_known
    assert pending.response() == from_scratch(harness, other, 1)


def test_who_joins_or_leaves_is_not_learnt(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path))
    for _ in range(16):
        harness.call(beat_request())
    for _ in range(16):
        harness.call(beat_request(epoch=-1))
    for _ in range(16):
        assert harness.call(beat_request(epoch=2)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert not harness.session.repeats.known


def test_it_keeps_the_session(harness: Harness) -> None:
    for _ in range(10):
        harness.advance(43_000)
        assert is_known(harness, beat_request(epoch=2), 1)
    harness.advance(45_000)
    pending, was_known = send_watched(harness, beat_request(epoch=2), 1)
    assert not was_known
    assert pending.response().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_topic_of_others_changes_nothing(harness: Harness) -> None:
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="other")]), 9)
    assert is_known(harness, beat_request(epoch=2), 1)


def test_a_topic_of_its_own_does(harness: Harness) -> None:
    grown = CreatePartitionsTopic(name="t", count=6, assignments=None)
    assert harness.call(CreatePartitionsRequest(topics=[grown])).results[0].error_code == 0
    pending, was_known = send_watched(harness, beat_request(epoch=2), 1)
    assert not was_known
    assert assigned(pending.response()) == {0, 1, 2, 3, 4, 5}


def test_another_member_does(harness: Harness) -> None:
    from_scratch(harness, beat_request("n"), 1)
    pending, was_known = send_watched(harness, beat_request(epoch=2), 1)
    assert not was_known
    assert assigned(pending.response()) == {0, 1}


def test_a_target_that_is_not_due_yet_is_waited_for(harness: Harness) -> None:
    from_scratch(harness, beat_request("n"), 1)
    assert assigned(harness.call(beat_request(epoch=2))) == {0, 1}
    from_scratch(harness, beat_request("n", -1), 1)
    for _ in range(32):
        assert assigned(harness.call(beat_request(epoch=2))) is None
    harness.advance(1_000)
    pending, was_known = send_watched(harness, beat_request(epoch=2, topic_partitions=[]), 1)
    assert not was_known
    assert pending.response().member_epoch > 2


def test_what_waits_for_the_disk_does(harness: Harness) -> None:
    joining = harness.send(beat_request("n"))
    assert not joining.is_answered
    repeated = harness.send(beat_request(epoch=2))
    assert not repeated.is_answered
    harness.flush()
    assert repeated.is_answered


def test_a_member_that_was_removed_is_told_so(harness: Harness) -> None:
    removal = LeaveGroupRequest(group_id="g", members=[MemberIdentity(member_id="m")])
    assert from_scratch(harness, removal, 5).error_code == 0
    pending, was_known = send_watched(harness, beat_request(epoch=2), 1)
    assert not was_known
    assert pending.response().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_static_member_that_was_replaced_is_told_so(harness: Harness) -> None:
    harness.call(beat_request("s1", group_id="static", instance_id="s"))
    request = beat_request("s1", 2, group_id="static", instance_id="s")
    for _ in range(16):
        harness.call(request)
    assert is_known(harness, request, 1)
    away = beat_request("s1", -2, group_id="static", instance_id="s")
    assert from_scratch(harness, away, 1).error_code == 0
    assert from_scratch(harness, beat_request("s2", group_id="static", instance_id="s"), 1).error_code == 0
    pending, was_known = send_watched(harness, request, 1)
    assert not was_known
    assert pending.response().error_code == ErrorCode.FENCED_INSTANCE_ID


def test_a_setting_of_the_group_does(harness: Harness) -> None:
    config = AlterableConfig(name="consumer.heartbeat.interval.ms", config_operation=0, value="7000")
    resource = AlterConfigsResource(resource_type=_GROUP_RESOURCE, resource_name="g", configs=[config])
    (changed,) = harness.call(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
    assert changed.error_code == 0
    pending, was_known = send_watched(harness, beat_request(epoch=2), 1)
    assert not was_known
    assert pending.response().heartbeat_interval_ms == 7_000


def test_quotas_do(harness: Harness) -> None:
    set_quota(harness, {"client-id": "someone else"}, request_percentage=50.0)
    assert not is_known(harness, beat_request(epoch=2), 1)
    set_quota(harness, {"client-id": "someone else"}, request_percentage=None)
    for _ in range(64):
        harness.call(beat_request(epoch=2))
    assert is_known(harness, beat_request(epoch=2), 1)


def test_features_do(harness: Harness) -> None:
    assert update(harness, ("group.version", 0, UNSAFE)).error_code == 0
    pending, was_known = send_watched(harness, beat_request(epoch=2), 1)
    assert not was_known
    assert pending.response().error_code == ErrorCode.UNSUPPORTED_VERSION


def test_without_its_coordinator_it_is_not_known(harness: Harness) -> None:
    (partition,) = harness.broker.topics.by_name["__consumer_offsets"].partitions
    partition.log.failed(OSError(5, "gone"))
    pending, was_known = send_watched(harness, beat_request(epoch=2), 1)
    assert not was_known
    assert pending.response().error_code == ErrorCode.NOT_COORDINATOR


def test_commits_that_wait_to_be_written_are_written_before_it(harness: Harness) -> None:
    broker = harness.broker
    handle, broker.handle = broker.handle, broker.handle_gathering  # type: ignore[method-assign]
    commit = commit_request(5, member_id="m", generation_id_or_member_epoch=2)
    harness.send(commit, 9)
    assert broker.gathered.is_pending
    assert is_known(harness, beat_request(epoch=2), 1)
    assert not broker.gathered.is_pending
    broker.handle = handle  # type: ignore[method-assign]
    assert committed(harness) == {"t-0": 5}
