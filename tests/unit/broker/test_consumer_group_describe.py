from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.consumer_group_describe import ConsumerGroupDescribeRequest

from .group_client import stable_member, with_groups
from .harness import Harness
from .test_consumer_group_heartbeat import beat_request


@pytest.mark.parametrize("version", range(2))
def test_every_version(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    harness.call(beat_request(instance_id="i", rack_id="r", subscribed_topic_regex="[t]"))
    request = ConsumerGroupDescribeRequest(group_ids=["g"])
    (group,) = harness.call(request, version).groups
    assert (group.error_code, group.group_state, group.group_epoch, group.assignment_epoch) == (
        0,
        "Stable",
        2,
        2,
    )
    assert group.assignor_name == "uniform"
    assert group.authorized_operations == -(2**31)
    (member,) = group.members
    assert (member.member_id, member.instance_id, member.rack_id, member.member_epoch) == ("m", "i", "r", 2)
    assert (member.client_id, member.client_host) == ("tester", "/127.0.0.1")
    assert (member.subscribed_topic_names, member.subscribed_topic_regex) == (["t"], "[t]")
    assert member.member_type == (1 if version >= 1 else -1)
    (part,) = member.assignment.topic_partitions
    assert (part.topic_name, part.partitions) == ("t", [0])
    assert member.target_assignment.topic_partitions == member.assignment.topic_partitions
    request.include_authorized_operations = True
    assert harness.call(request, version).groups[0].authorized_operations > 0


def test_what_is_no_consumer_group(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    stable_member(harness, "classic")
    request = ConsumerGroupDescribeRequest(group_ids=["classic", "nothing"])
    groups = harness.call(request).groups
    assert [group.error_code for group in groups] == [ErrorCode.GROUP_ID_NOT_FOUND] * 2
    assert groups[0].error_message == "Group classic is not a consumer group."
    assert groups[1].error_message == "Group nothing not found."
