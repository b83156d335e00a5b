from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_groups import DescribeGroupsRequest
from odradek.protocol.generated.heartbeat import HeartbeatRequest

from .group_client import stable_member, with_groups
from .harness import Harness


@pytest.mark.parametrize("version", range(5))
def test_every_version(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, generation = stable_member(harness)
    request = HeartbeatRequest(group_id="g", generation_id=generation, member_id=member_id)
    assert harness.call(request, version).error_code == 0
    request.generation_id += 1
    assert harness.call(request, version).error_code == ErrorCode.ILLEGAL_GENERATION
    request.member_id = "nobody"
    assert harness.call(request, version).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    request.group_id = ""
    assert harness.call(request, version).error_code == ErrorCode.INVALID_GROUP_ID


def test_a_member_lives_as_long_as_it_beats(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, generation = stable_member(harness)
    request = HeartbeatRequest(group_id="g", generation_id=generation, member_id=member_id)
    for _ in range(5):
        harness.advance(9_000)
        assert harness.call(request).error_code == 0
    harness.advance(10_000)
    assert harness.call(request).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    (described,) = harness.call(DescribeGroupsRequest(groups=["g"])).groups
    assert (described.group_state, described.members) == ("Empty", [])


def test_while_the_group_is_loaded_every_heartbeat_is_good(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    (runner,) = harness.broker.groups.runners()
    runner.is_ready = False
    assert harness.call(HeartbeatRequest(group_id="g", member_id="m")).error_code == 0
