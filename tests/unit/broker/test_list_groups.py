from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.list_groups import ListGroupsRequest

from .group_client import commit_request, stable_member, with_groups
from .harness import Harness


@pytest.mark.parametrize("version", range(6))
def test_every_version(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="3"))
    harness.call(commit_request(5, group_id="simple"), 8)
    stable_member(harness)
    groups = {group.group_id: group for group in harness.call(ListGroupsRequest(), version).groups}
    assert {name: group.protocol_type for name, group in groups.items()} == {"g": "consumer", "simple": ""}
    assert groups["g"].group_state == ("Stable" if version >= 4 else "")
    assert groups["g"].group_type == ("classic" if version >= 5 else "")


def test_filters(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="3"))
    harness.call(commit_request(5, group_id="simple"), 8)
    stable_member(harness)

    def ids(**filters: list[str]) -> list[str]:
        return [group.group_id for group in harness.call(ListGroupsRequest(**filters)).groups]

    assert ids(states_filter=["stable"]) == ["g"]
    assert ids(states_filter=["Empty", "Dead"]) == ["simple"]
    assert ids(types_filter=["consumer"]) == []
    assert sorted(ids(types_filter=["Classic"])) == ["g", "simple"]


def test_without_the_topic_there_are_none(tmp_path: Path) -> None:
    response = Harness(tmp_path).call(ListGroupsRequest())
    assert (response.error_code, response.groups) == (0, [])


def test_an_incomplete_list_is_none(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    (runner,) = harness.broker.groups.runners()
    runner.is_ready = False
    assert harness.call(ListGroupsRequest()).error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
