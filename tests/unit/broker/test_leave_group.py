from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.leave_group import LeaveGroupRequest, MemberIdentity

from .group_client import stable_member, with_groups
from .harness import Harness


@pytest.mark.parametrize("version", range(3))
def test_versions_with_one_member(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, _ = stable_member(harness)
    assert harness.call(LeaveGroupRequest(group_id="g", member_id=member_id), version).error_code == 0
    again = harness.call(LeaveGroupRequest(group_id="g", member_id=member_id), version)
    assert again.error_code == ErrorCode.UNKNOWN_MEMBER_ID
    missing = harness.call(LeaveGroupRequest(group_id="missing", member_id=member_id), version)
    assert missing.error_code == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("version", range(3, 6))
def test_versions_with_several_members(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, _ = stable_member(harness, group_instance_id="i")
    request = LeaveGroupRequest(
        group_id="g",
        members=[
            MemberIdentity(member_id="nobody"),
            MemberIdentity(group_instance_id="i", reason="removed"),
            MemberIdentity(member_id=member_id, group_instance_id="i"),
        ],
    )
    response = harness.call(request, version)
    assert response.error_code == 0
    assert [member.error_code for member in response.members] == [
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]


def test_the_empty_group_id(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    for version in (2, 5):
        request = LeaveGroupRequest(
            group_id="", members=[MemberIdentity(member_id="m")] if version > 2 else []
        )
        assert harness.call(request, version).error_code == ErrorCode.INVALID_GROUP_ID


def test_the_last_to_leave_waits_until_that_is_durable(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, _ = stable_member(harness)
    pending = harness.send(LeaveGroupRequest(group_id="g", members=[MemberIdentity(member_id=member_id)]))
    assert not pending.is_answered
    harness.flush()
    assert pending.response().members[0].error_code == 0
