from pathlib import Path

import pytest

from odradek.broker import authorized_operations
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_groups import DescribeGroupsRequest

from .group_client import SUBSCRIPTION_T, stable_member, with_groups
from .harness import Harness


@pytest.mark.parametrize("version", range(7))
def test_every_version(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="3"))
    member_id, _ = stable_member(harness, group_instance_id="i")
    request = DescribeGroupsRequest(groups=["g", "missing"], include_authorized_operations=version >= 3)
    group, missing = harness.call(request, version).groups
    assert (group.group_state, group.protocol_type, group.protocol_data) == ("Stable", "consumer", "range")
    (member,) = group.members
    assert (member.member_id, member.client_id, member.client_host) == (member_id, "tester", "/127.0.0.1")
    assert (member.member_metadata, member.member_assignment) == (SUBSCRIPTION_T, b"work")
    assert member.group_instance_id == ("i" if version >= 4 else None)
    if version >= 3:
        assert group.authorized_operations == authorized_operations.GROUP
    assert missing.group_state == "Dead"
    assert missing.error_code == (ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else 0)
    assert bool(missing.error_message) == (version >= 6)


def test_without_a_coordinator(tmp_path: Path) -> None:
    (group,) = Harness(tmp_path).call(DescribeGroupsRequest(groups=["g"])).groups
    assert (group.error_code, group.group_id) == (ErrorCode.NOT_COORDINATOR, "g")
