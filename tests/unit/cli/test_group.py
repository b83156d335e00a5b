import asyncio
import threading
import time

import pytest

from odradek.client.client import Client
from odradek.client.member import GroupMember
from odradek.testing import Broker
from tests.unit.cli.conftest import Run


@pytest.fixture
def group(run: Run, odradek_topic: str) -> str:
    """A group that has read three of the five records of the topic it is named after."""
    run("produce", odradek_topic, stdin=b"1\n2\n3\n4\n5\n")
    run("consume", odradek_topic, "-g", f"{odradek_topic}-g", "-n", 3)
    return f"{odradek_topic}-g"


def test_list_and_describe(run: Run, odradek_topic: str, group: str) -> None:
    listed = {found["group"]: found for found in run("group", "ls", "-o", "json").json}
    assert listed[group] == {"group": group, "state": "Empty", "type": "classic", "protocol_type": "consumer"}
    (described,) = run("group", "describe", group, "-o", "json").json
    assert (described["state"], described["lag"], described["members"]) == ("Empty", 2, [])
    (offset,) = described["offsets"]
    written_ms, seconds = offset.pop("next_timestamp"), offset.pop("lag_seconds")
    assert 0 <= seconds == described["lag_seconds"] < 60
    assert abs(written_ms / 1000 + seconds - time.time()) < 60
    assert offset == {
        "topic": odradek_topic,
        "partition": 0,
        "committed": 3,
        "end": 5,
        "last_stable": 5,
        "lag": 2,
        "metadata": "",
        "member_id": None,
    }
    assert "lag 2" in run("group", "describe", group).out


def test_a_group_that_has_read_everything_has_no_lag(run: Run, odradek_topic: str, group: str) -> None:
    run("group", "reset", group, "--to", "end", "-y")
    (described,) = run("group", "describe", group, "-o", "json").json
    assert (described["lag"], described["lag_seconds"]) == (0, 0)
    assert described["offsets"][0]["next_timestamp"] is None
    assert "behind" not in run("group", "describe", group).out.splitlines()[0]


def test_the_age_of_what_was_deleted_is_that_of_the_oldest_left(
    run: Run, odradek_topic: str, group: str
) -> None:
    line = '{"value": "old", "timestamp": 1000}\n'
    run("produce", odradek_topic, "-i", "jsonl", stdin=line.encode())
    run("group", "reset", group, "--to", "5", "-y")
    (described,) = run("group", "describe", group, "-o", "json").json
    assert (described["lag"], described["offsets"][0]["next_timestamp"]) == (1, 1000)
    assert "w" in run("group", "describe", group).out


def test_listing_narrows_down(run: Run, group: str) -> None:
    def names(*options: str) -> set[str]:
        return {found["group"] for found in run("group", "list", *options, "-o", "json").json}

    assert group in names("--state", "empty") & names("--type", "classic")
    assert group not in names("--state", "Stable") | names("--type", "consumer")
    assert "No group is like that" in run("group", "list", "--state", "PreparingRebalance").err
    run("group", "list", "--state", "Asleep", code=2)


def test_a_reset_shows_before_it_does(run: Run, group: str) -> None:
    preview = run("group", "reset", group, "--to", "start")
    assert "preview" in preview.err
    assert preview.out.split()[-3:] == ["3", "0", "-3"]
    done = run("group", "reset", group, "--to", "-1", "--execute", "-o", "json").json
    assert done["executed"]
    assert [(change["current"], change["new"]) for change in done["offsets"]] == [(3, 4)]
    (described,) = run("group", "describe", group, "-o", "json").json
    assert described["lag"] == 1


def test_a_reset_can_make_a_group(run: Run, odradek_topic: str, group: str) -> None:
    new = f"{group}-new"
    assert "committed nothing" in run("group", "reset", new, "--to", "end", code=1).err
    run("group", "reset", new, "-t", f"{odradek_topic}:0", "--to", "end", "-y")
    assert run("consume", odradek_topic, "-g", new, "-e").out == ""
    assert "no partition 7" in run("group", "reset", new, "-t", f"{odradek_topic}:7", "--to", "1", code=3).err
    run("group", "reset", new, "-t", f"{odradek_topic}:x", "--to", "1", code=2)


def test_deleted_groups_are_gone(run: Run, group: str) -> None:
    run("group", "rm", group, "--yes")
    assert "odradek group list" in run("group", "describe", group, code=3).err
    run("group", "delete", group, "--yes", code=3)


def test_a_group_with_members_is_described_and_left_alone(
    run: Run, odradek_broker: Broker, odradek_topic: str, group: str
) -> None:
    joined, leave = threading.Event(), threading.Event()

    async def stay() -> None:
        async with (
            Client(odradek_broker.bootstrap_servers, client_id="resident") as client,
            GroupMember(client, group, [odradek_topic]) as member,
        ):
            await member.join()
            joined.set()
            await asyncio.get_running_loop().run_in_executor(None, leave.wait)

    member = threading.Thread(target=lambda: asyncio.run(stay()))
    member.start()
    try:
        assert joined.wait(10)
        (described,) = run("group", "describe", group, "-o", "json").json
        assert (described["state"], described["assignor"]) == ("Stable", "range")
        (resident,) = described["members"]
        assert resident["client_id"] == "resident"
        assert resident["assignment"] == [{"topic": odradek_topic, "partition": 0}]
        assert described["offsets"][0]["member_id"] == resident["member_id"]
        last = described["rebalances"][-1]
        assert (last["cause"], last["member_id"]) == ("joined", resident["member_id"])
        assert (resident["protocol"], resident["topics"]) == ("classic", [odradek_topic])
        assert "resident at 127.0.0.1" in run("group", "describe", group).out
        assert "Stop its members" in run("group", "reset", group, "--to", "end", "-y", code=1).err
        assert "NON_EMPTY_GROUP" in run("group", "delete", group, "-y", code=1).err
    finally:
        leave.set()
        member.join()


def test_deleting_says_what_it_did_as_data(run: Run, group: str) -> None:
    deleted = run("group", "delete", group, "-y", "-o", "json").json
    assert deleted == [{"group": group, "deleted": True}]
