"""Why groups rebalanced is known after a restart, whatever kind of end came before it."""

import json
import logging
import os
from pathlib import Path

import pytest

from odradek.broker.rebalance_history import WRITE_MS, decode_history, encode_history
from odradek.coordinator.rebalances import KEPT, REBALANCES_KEY, Cause, Rebalance
from odradek.protocol.generated.delete_groups import DeleteGroupsRequest
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from odradek.protocol.generated.leave_group import LeaveGroupRequest, MemberIdentity
from odradek.storage.disk import SystemDisk

from .group_client import stable_member, with_groups
from .harness import Harness

LEFT = Rebalance(5, 2, Cause.LEFT, "m-1", "ein Klient", 'ihm war "kalt"\n\u2028')


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return with_groups(Harness(tmp_path / "data", offsets_topic_num_partitions="2"))


def causes(harness: Harness, group_id: str = "g") -> list[str]:
    resource = DescribeConfigsResource(
        resource_type=32, resource_name=group_id, configuration_keys=[REBALANCES_KEY]
    )
    (result,) = harness.call(DescribeConfigsRequest(resources=[resource])).results
    assert result.error_code == 0
    return [entry["cause"] for config in result.configs for entry in json.loads(config.value)]


def leave(harness: Harness, member_id: str, group_id: str = "g") -> None:
    members = [MemberIdentity(member_id=member_id)]
    assert harness.call(LeaveGroupRequest(group_id=group_id, members=members), 5).error_code == 0


def kill(harness: Harness) -> None:
    harness.broker.metadata._store._fd = -1  # type: ignore[attr-defined]
    harness.broker.close(is_clean=False)


def housekeep(harness: Harness) -> int:
    """How many writes it made."""
    chores = harness.broker.groups.chores()
    for chore in chores:
        chore()
    return len(chores)


def test_a_clean_stop_keeps_all(harness: Harness) -> None:
    member_id, _ = stable_member(harness)
    stable_member(harness, "other")
    leave(harness, member_id)
    harness.restart()
    assert causes(harness) == ["joined", "left"]
    stable_member(harness)
    harness.restart()
    assert causes(harness) == ["joined", "left", "joined"]
    assert causes(harness, "other") == ["joined"]


def test_a_crash_takes_the_last_seconds(harness: Harness) -> None:
    member_id, _ = stable_member(harness, session_timeout_ms=300_000)
    assert housekeep(harness) == 0
    harness.advance(WRITE_MS)
    assert housekeep(harness) == 1
    leave(harness, member_id)
    kill(harness)
    harness.start()
    assert causes(harness) == ["joined"]


def test_nothing_is_written_while_nothing_happens(harness: Harness) -> None:
    stable_member(harness, session_timeout_ms=300_000)
    harness.advance(WRITE_MS)
    assert housekeep(harness) == 1
    harness.advance(WRITE_MS)
    assert housekeep(harness) == 0
    harness.restart()
    assert causes(harness) == ["joined"]
    harness.advance(WRITE_MS)
    assert housekeep(harness) == 0


def test_groups_that_are_gone_are_not_kept(harness: Harness) -> None:
    member_id, _ = stable_member(harness)
    stable_member(harness, "other")
    leave(harness, member_id)
    harness.call(DeleteGroupsRequest(groups_names=["g"]))
    harness.restart()
    assert set(decode_history((harness.folder / "odradek-rebalances").read_bytes())) == {"other"}


def test_a_group_without_its_topic_is_gone(harness: Harness) -> None:
    stable_member(harness)
    harness.restart()
    assert causes(harness) == ["joined"]
    topics = [DeleteTopicState(name="__consumer_offsets")]
    (result,) = harness.call(DeleteTopicsRequest(topics=topics)).responses
    assert result.error_code == 0
    with_groups(harness)
    harness.restart()
    assert decode_history((harness.folder / "odradek-rebalances").read_bytes()) == {}


def test_a_partition_that_is_loaded_again_has_it(harness: Harness) -> None:
    stable_member(harness)
    for runner in harness.broker.groups.ready_runners():
        runner.unload()
    assert causes(harness) == ["joined"]


def test_of_partitions_that_are_not_loaded_it_is_written_again(harness: Harness) -> None:
    stable_member(harness)
    harness.restart()
    harness.broker.groups.close()
    harness.restart()
    assert causes(harness) == ["joined"]


@pytest.mark.parametrize("content", [b"", b"0", b"1\n0\n", b"0\n7\n[]", encode_history({"g": [LEFT]})[:-1]])
def test_what_cannot_be_believed_is_dropped_with_one_warning(
    harness: Harness, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stable_member(harness)
    harness.stop()
    (harness.folder / "odradek-rebalances").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        harness.start()
        assert causes(harness) == []
    (line,) = [record.getMessage() for record in caplog.records if record.name == "odradek.groups"]
    assert "odradek-rebalances is of no use" in line
    caplog.clear()
    harness.restart()
    assert causes(harness) == []
    assert "is of no use" not in caplog.text
    stable_member(harness, "new")
    harness.restart()
    assert causes(harness, "new") == ["joined"]


def test_a_disk_that_refuses_it_does_not_keep_the_broker_from_stopping(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stable_member(harness)

    def refuse(source: str, target: str) -> None:
        if target.endswith("odradek-rebalances"):
            raise OSError("no room")
        os.rename(source, target)

    monkeypatch.setattr(SystemDisk, "rename", staticmethod(refuse))
    harness.restart()
    assert "why groups rebalanced is not kept: no room" in caplog.text
    assert harness.broker.store.was_clean
    assert causes(harness) == []


def test_what_is_written_is_what_is_read() -> None:
    kept = {"g": [LEFT] * KEPT, "\udce4\n": [Rebalance(1, 0, cause) for cause in Cause]}
    assert decode_history(encode_history(kept)) == kept
    assert decode_history(encode_history({})) == {}
