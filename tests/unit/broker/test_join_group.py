from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_groups import DescribeGroupsRequest

from .group_client import join_request, start_join, with_groups
from .harness import Harness


@pytest.mark.parametrize("version", range(10))
def test_every_version_joins(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    pending = start_join(harness, version=version)
    harness.flush()
    assert not pending.is_answered
    harness.advance(0)
    joined = pending.response()
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (0, 1, "range")
    assert joined.leader == joined.member_id
    assert joined.member_id.startswith("tester-")
    assert joined.protocol_type == ("consumer" if version >= 7 else None)
    (described,) = harness.call(DescribeGroupsRequest(groups=["g"])).groups
    assert described.members[0].client_host == "/127.0.0.1"


@pytest.mark.parametrize("version", range(10))
def test_every_version_is_refused(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    refused = harness.call(join_request(member_id="nobody"), version)
    assert (refused.error_code, refused.member_id) == (ErrorCode.UNKNOWN_MEMBER_ID, "nobody")
    assert (refused.generation_id, refused.leader, refused.members) == (-1, "", [])
    assert refused.protocol_name == (None if version >= 7 else "")
    assert harness.call(join_request(""), version).error_code == ErrorCode.INVALID_GROUP_ID


def test_without_a_rebalance_timeout_the_session_timeout_counts(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    start_join(harness, version=0)
    harness.flush()
    (runner,) = harness.broker.groups.runners()
    (member,) = runner.shard.groups["g"].members.values()
    assert member.rebalance_timeout_ms == 10_000


def test_before_the_topic_is_there_nobody_coordinates(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    assert harness.call(join_request()).error_code == ErrorCode.NOT_COORDINATOR


def test_limits_come_from_the_configuration(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path,
        offsets_topic_num_partitions="1",
        group_min_session_timeout_ms="1",
        group_max_session_timeout_ms="10",
        group_initial_rebalance_delay_ms="70",
    )
    with_groups(harness)
    assert harness.call(join_request(session_timeout_ms=11)).error_code == ErrorCode.INVALID_SESSION_TIMEOUT
    pending = start_join(harness, session_timeout_ms=5)
    harness.flush()
    harness.advance(69)
    assert not pending.is_answered
    harness.advance(1)
    assert pending.response().error_code == 0
