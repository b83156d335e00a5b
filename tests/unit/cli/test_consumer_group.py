"""``odradek group`` on groups of the consumer protocol (KIP-848)."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from odradek.client.client import Client
from odradek.coordinator.rebalances import Cause
from odradek.protocol.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from odradek.testing import Broker
from tests.unit.cli.conftest import Run


class Members:
    """Members of one group, made of heartbeats."""

    def __init__(self, broker: Broker, group: str, topic: str) -> None:
        self._broker = broker
        self.group = group
        self.topic = topic

    def join(self, member_id: str, **fields: Any) -> ConsumerGroupHeartbeatResponse:
        return self._beat(
            member_id,
            0,
            rebalance_timeout_ms=60_000,
            subscribed_topic_names=[self.topic],
            topic_partitions=[],
            **fields,
        )

    def leave(self, member_id: str) -> None:
        self._beat(member_id, -1)

    def _beat(self, member_id: str, epoch: int, **fields: Any) -> ConsumerGroupHeartbeatResponse:
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group, member_id=member_id, member_epoch=epoch, **fields
        )

        async def ask() -> ConsumerGroupHeartbeatResponse:
            async with Client(self._broker.bootstrap_servers, client_id="resident") as client:
                connection = await client.coordinator(self.group)
                response = await connection.call(request, ConsumerGroupHeartbeatResponse)
                assert response.error_code == 0, response.error_message
                return response

        return asyncio.run(ask())


@pytest.fixture
def members(odradek_broker: Broker, odradek_topic: str) -> Members:
    return Members(odradek_broker, f"{odradek_topic}-g", odradek_topic)


def test_described_with_epochs_targets_and_causes(run: Run, members: Members, odradek_topic: str) -> None:
    members.join("m", rack_id="r")
    (listed,) = [
        one
        for one in run("group", "list", "-T", "consumer", "-s", "stable", "-o", "json").json
        if one["group"] == members.group
    ]
    assert (listed["state"], listed["protocol_type"]) == ("Stable", "consumer")
    (found,) = run("group", "describe", members.group, "-o", "json").json
    assert (found["type"], found["state"], found["assignor"]) == ("consumer", "Stable", "uniform")
    assert found["epoch"] == found["assignment_epoch"] > 0
    (member,) = found["members"]
    assert (member["protocol"], member["epoch"], member["rack"]) == ("consumer", found["epoch"], "r")
    assert (member["topics"], member["topic_regex"]) == ([odradek_topic], None)
    assert member["assignment"] == member["target"] == [{"topic": odradek_topic, "partition": 0}]
    assert found["offsets"][0]["member_id"] == "m"
    (cause,) = found["rebalances"]
    assert (cause["cause"], cause["member_id"], cause["client_id"]) == ("joined", "m", "resident")
    shown = run("group", "describe", members.group).out
    assert f"(Stable, consumer, epoch {found['epoch']}, uniform, 1 member, lag 0)" in shown
    assert "REBALANCED" in shown


def test_only_without_members_it_is_reset_and_deleted(run: Run, members: Members, odradek_topic: str) -> None:
    run("produce", odradek_topic, stdin=b"1\n2\n3\n")
    members.join("m")
    to_start = ("group", "reset", members.group, "-t", odradek_topic, "--to", "start")
    assert "NON_EMPTY_GROUP" in run(*to_start, "--execute", code=1).err
    assert "NON_EMPTY_GROUP" in run("group", "delete", members.group, "-y", code=1).err
    members.leave("m")
    assert "preview" in run(*to_start).err
    run(*to_start, "--execute")
    (found,) = run("group", "describe", members.group, "-o", "json").json
    assert (found["type"], found["state"], found["lag"]) == ("consumer", "Empty", 3)
    assert [one["cause"] for one in found["rebalances"]] == ["joined", "left"]
    assert "left" in run("group", "describe", members.group).out
    run("group", "delete", members.group, "-y")
    run("group", "describe", members.group, code=3)


def test_settings_of_the_group_reach_its_members(run: Run, members: Members) -> None:
    run("config", "set", "group", members.group, "consumer.heartbeat.interval.ms=7000")
    assert members.join("m").heartbeat_interval_ms == 7_000
    members.leave("m")


def test_the_documented_causes_are_those_that_there_are() -> None:
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    documented = re.search(r"`cause` is one of (.*?), and", page, re.DOTALL)
    assert documented is not None
    assert re.findall(r"`(\w+)`", documented[1]) == [cause.name.lower() for cause in Cause]
