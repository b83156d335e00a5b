from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.delete_groups import DeleteGroupsRequest
from odradek.protocol.generated.list_groups import ListGroupsRequest

from .group_client import commit_request, committed, stable_member, with_groups
from .harness import Harness


@pytest.mark.parametrize("version", range(3))
def test_every_version(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="3"))
    for group_id in ("a", "b", "c"):
        harness.call(commit_request(5, group_id=group_id), 8)
    stable_member(harness)
    pending = harness.send(DeleteGroupsRequest(groups_names=["a", "b", "g", "missing", "a"]), version)
    assert not pending.is_answered
    harness.flush()
    results = [(result.group_id, result.error_code) for result in pending.response().results]
    assert sorted(results) == [
        ("a", 0),
        ("b", 0),
        ("g", ErrorCode.NON_EMPTY_GROUP),
        ("missing", ErrorCode.GROUP_ID_NOT_FOUND),
    ]
    assert committed(harness, "a") == {}
    assert committed(harness, "c") == {"t-0": 5}
    harness.restart()
    assert {group.group_id for group in harness.call(ListGroupsRequest()).groups} == {"c", "g"}
    harness.stop()


def test_without_a_coordinator(tmp_path: Path) -> None:
    (result,) = Harness(tmp_path).call(DeleteGroupsRequest(groups_names=["g"])).results
    assert result.error_code == ErrorCode.NOT_COORDINATOR
    assert Harness(tmp_path / "other").call(DeleteGroupsRequest(groups_names=[])).results == []
