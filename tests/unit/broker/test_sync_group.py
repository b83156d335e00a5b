from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

from .group_client import stable_member, start_join, with_groups
from .harness import Harness


def test_nobody_learns_an_assignment_that_is_not_durable(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    pending = start_join(harness)
    harness.flush()
    harness.advance(0)
    joined = pending.response()
    sync = harness.send(
        SyncGroupRequest(
            group_id="g",
            generation_id=1,
            member_id=joined.member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"work")],
        )
    )
    assert not sync.is_answered
    harness.flush()
    response = sync.response()
    assert (response.error_code, response.assignment) == (0, b"work")
    assert (response.protocol_type, response.protocol_name) == ("consumer", "range")


@pytest.mark.parametrize("version", range(6))
def test_every_version(tmp_path: Path, version: int) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, generation = stable_member(harness)
    request = SyncGroupRequest(
        group_id="g",
        generation_id=generation,
        member_id=member_id,
        protocol_type="consumer",
        protocol_name="range",
    )
    assert harness.call(request, version).assignment == b"work"
    request.member_id = "nobody"
    refused = harness.call(request, version)
    assert (refused.error_code, refused.assignment) == (ErrorCode.UNKNOWN_MEMBER_ID, b"")
    request.group_id = ""
    assert harness.call(request, version).error_code == ErrorCode.INVALID_GROUP_ID


def test_version_5_must_name_the_protocol(tmp_path: Path) -> None:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    member_id, generation = stable_member(harness)
    request = SyncGroupRequest(group_id="g", generation_id=generation, member_id=member_id)
    assert harness.call(request, 5).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert harness.call(request, 4).error_code == 0
