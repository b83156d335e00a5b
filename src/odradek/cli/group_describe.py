"""``odradek group describe``: members, assignment, committed offsets, and lag in records and in time."""

import asyncio
import time
from typing import Any

import click

from odradek.cli.durations import duration_text
from odradek.cli.options import (
    bootstrap_option,
    group_argument,
    isolation_option,
    output_option,
    with_client,
)
from odradek.cli.output import Cell, Table, emit
from odradek.client.client import Client
from odradek.client.group_offsets import CommittedOffset, fetch_offsets
from odradek.client.groups import GroupInfo, GroupMemberInfo, describe_group
from odradek.client.offsets import LATEST, Isolation, list_offsets
from odradek.client.rebalances import RebalanceInfo, describe_rebalances
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition

Json = dict[str, Any]

_REBALANCES_SHOWN = 5
"""In the table; JSON has all that the broker keeps."""


@click.command("describe")
@group_argument(many=True)
@isolation_option
@output_option
@bootstrap_option
def describe(groups: tuple[str, ...], isolation: str, output: str, bootstrap: str) -> None:
    """Show members, committed offsets, lag, and why the group rebalanced lately.

    Lag is counted up to the end of each partition; with --isolation read_committed, up to the first
    transaction that is still open. Time behind is the age of the next record that the group will read.
    """
    counted = Isolation[isolation.upper()]

    async def work(client: Client) -> list[Json]:
        return [await _describe_one(client, group, counted) for group in groups]

    described = with_client(bootstrap, work)
    emit(described, output, lambda: [table for found in described for table in _tables(found)])


async def _describe_one(client: Client, group: str, isolation: Isolation) -> Json:
    info, committed = await asyncio.gather(describe_group(client, group), fetch_offsets(client, group))
    if info.state == "Dead" and not committed:
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group}")
    offsets, rebalances = await asyncio.gather(
        _offsets(client, info, committed, isolation), describe_rebalances(client, group)
    )
    return {
        "group": group,
        "state": info.state,
        "type": info.type,
        "protocol_type": info.protocol_type,
        "assignor": info.assignor,
        "coordinator": info.coordinator,
        "epoch": info.epoch,
        "assignment_epoch": info.assignment_epoch,
        "lag": sum(offset["lag"] or 0 for offset in offsets),
        "lag_seconds": max((offset["lag_seconds"] or 0.0 for offset in offsets), default=0.0),
        "members": [_member(member) for member in info.members],
        "offsets": offsets,
        "rebalances": None if rebalances is None else [_rebalance(one) for one in rebalances],
    }


async def _offsets(
    client: Client, info: GroupInfo, committed: dict[TopicPartition, CommittedOffset], isolation: Isolation
) -> list[Json]:
    owners = {key: member.member_id for member in info.members for key in member.assignment}
    keys = sorted({*committed, *owners})
    there = await _existing(client, keys)
    ends, stable = await asyncio.gather(
        list_offsets(client, dict.fromkeys(there, LATEST)),
        list_offsets(client, dict.fromkeys(there, LATEST), Isolation.READ_COMMITTED),
    )
    counted = stable if isolation is Isolation.READ_COMMITTED else ends
    lags = {key: max(0, counted[key].offset - committed[key].offset) for key in there if key in committed}
    times = await _times(client, {key: committed[key].offset for key, lag in lags.items() if lag})
    now_ms = time.time_ns() // 1_000_000
    offsets = []
    for key in keys:
        found, next_ms = committed.get(key), times.get(key)
        offsets.append(
            {
                "topic": key.topic,
                "partition": key.partition,
                "committed": found.offset if found else None,
                "end": ends[key].offset if key in ends else None,
                "last_stable": stable[key].offset if key in stable else None,
                "lag": lags.get(key),
                "lag_seconds": _seconds_behind(lags.get(key), next_ms, now_ms),
                "next_timestamp": next_ms,
                "metadata": found.metadata if found else "",
                "member_id": owners.get(key),
            }
        )
    return offsets


async def _times(client: Client, positions: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    if not positions:
        return {}
    from odradek.client.record_times import record_times

    return await record_times(client, positions)


def _seconds_behind(lag: int | None, next_ms: int | None, now_ms: int) -> float | None:
    if not lag:
        return None if lag is None else 0.0
    return None if next_ms is None or next_ms < 0 else max(0, now_ms - next_ms) / 1000


async def _existing(client: Client, keys: list[TopicPartition]) -> list[TopicPartition]:
    """Those that are still there: groups outlive the topics that they have read."""
    topics = (await client.cluster(sorted({key.topic for key in keys}))).topics if keys else {}
    there = {
        TopicPartition(topic.name, partition.partition)
        for topic in topics.values()
        for partition in topic.partitions
    }
    return [key for key in keys if key in there]


def _member(member: GroupMemberInfo) -> Json:
    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "rack": member.rack,
        "protocol": member.protocol,
        "epoch": member.epoch,
        "topics": member.topics,
        "topic_regex": member.topic_regex,
        "assignment": [key._asdict() for key in member.assignment],
        "target": None if member.target is None else [key._asdict() for key in member.target],
    }


def _rebalance(one: RebalanceInfo) -> Json:
    return {
        "timestamp": one.time_ms,
        "epoch": one.epoch,
        "cause": _cause_name(one.cause),
        "text": one.cause,
        "member_id": one.member_id or None,
        "client_id": one.client_id or None,
        "detail": one.detail or None,
    }


def _tables(found: Json) -> list[Table]:
    tables = [_offset_table(found)]
    if found["members"]:
        tables.append(_member_table(found))
    if found["rebalances"]:
        tables.append(_rebalance_table(found["rebalances"][-_REBALANCES_SHOWN:]))
    return tables


def _title(found: Json) -> str:
    count = len(found["members"])
    about = [
        found["state"],
        found["type"],
        *([f"epoch {found['epoch']}"] if found["epoch"] is not None else []),
        *([found["assignor"]] if found["assignor"] else []),
        f"{count} member{'' if count == 1 else 's'}",
        f"lag {found['lag']:,}",
        *([f"{duration_text(found['lag_seconds'] * 1000)} behind"] if found["lag_seconds"] else []),
    ]
    return f"{found['group']}  ({', '.join(about)})"


def _offset_table(found: Json) -> Table:
    hosts = {
        m["member_id"]: f"{m['client_id']} at {m['client_host'].removeprefix('/')}" for m in found["members"]
    }
    has_open = any(o["last_stable"] != o["end"] for o in found["offsets"])
    columns = ["topic", "partition", "committed", *(["stable"] if has_open else []), "end", "lag", "behind"]
    rows: list[list[Cell]] = []
    for o in found["offsets"]:
        behind = duration_text(o["lag_seconds"] * 1000) if o["lag_seconds"] else None
        stable = [o["last_stable"]] if has_open else []
        member = hosts.get(o["member_id"] or "")
        rows.append([o["topic"], o["partition"], o["committed"], *stable, o["end"], o["lag"], behind, member])
    return Table((*columns, "member"), rows, _title(found))


def _member_table(found: Json) -> Table:
    """Members of consumer groups have epochs and targets; a group that migrates has both kinds of members."""
    members = found["members"]
    is_consumer = found["type"] == "consumer"
    rows: list[list[Cell]] = []
    for m in members:
        more = [m["epoch"], m["protocol"], len(m["target"] or ())] if is_consumer else []
        host = m["client_host"].removeprefix("/")
        rows.append([m["member_id"], m["instance_id"], m["client_id"], host, len(m["assignment"]), *more])
    more_columns = ("epoch", "protocol", "target") if is_consumer else ()
    return Table(("member", "instance", "client", "host", "partitions", *more_columns), rows)


def _rebalance_table(rebalances: list[Json]) -> Table:
    rows: list[list[Cell]] = []
    for one in rebalances:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["timestamp"] / 1000))
        detail = f" ({one['detail']})" if one["detail"] else ""
        rows.append([when, one["epoch"], one["text"] + detail, one["client_id"], one["member_id"]])
    return Table(("rebalanced", "epoch", "because", "client", "member"), rows)


def _cause_name(text: str) -> str:
    """The short name of a cause, for programs; that of one that only a newer broker knows is its text."""
    from odradek.coordinator.rebalances import Cause

    return next((cause.name.lower() for cause in Cause if cause.value == text), text)
