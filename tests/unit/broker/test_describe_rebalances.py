from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_rebalances import DescribeRebalancesRequest

from .group_client import stable_member, with_groups
from .harness import Harness
from .test_consumer_group_heartbeat import beat_request

OWN_KEY = 10_000


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))


def test_who_came_and_went_and_when(harness: Harness) -> None:
    harness.call(beat_request())
    joined_ms = harness.clock.now_ms()
    harness.advance(2_000)
    harness.call(beat_request("n"))
    harness.call(beat_request("n", epoch=-1))
    (group,) = harness.call(DescribeRebalancesRequest(group_ids=["g"]), 0).groups
    assert (group.group_id, group.error_code, group.error_message) == ("g", 0, None)
    seen = [
        (one.timestamp_ms - joined_ms, one.cause, one.member_id, one.client_id) for one in group.rebalances
    ]
    assert seen == [
        (0, "joined", "m", "tester"),
        (2_000, "joined", "n", "tester"),
        (2_000, "left", "n", "tester"),
    ]
    assert [one.epoch for one in group.rebalances] == sorted(one.epoch for one in group.rebalances)


def test_each_group_is_answered_by_itself(harness: Harness) -> None:
    stable_member(harness, "classic")
    harness.call(beat_request())
    groups = harness.call(DescribeRebalancesRequest(group_ids=["nothing", "g", "classic"]), 0).groups
    assert [(group.group_id, group.error_code) for group in groups] == [
        ("nothing", ErrorCode.GROUP_ID_NOT_FOUND),
        ("g", 0),
        ("classic", 0),
    ]
    assert groups[0].error_message == "Group nothing not found."


def test_its_key_is_beyond_kafkas(harness: Harness) -> None:
    assert [key for key in harness.broker.apis if key > 1_000] == [OWN_KEY]
