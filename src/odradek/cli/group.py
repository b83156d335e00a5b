"""``odradek group``: list, describe with lag, reset with a preview, delete."""

import asyncio
import sys
from typing import Any

import click

from odradek.cli import complete
from odradek.cli.errors import CommandError
from odradek.cli.naming import AliasGroup
from odradek.cli.options import bootstrap_option, group_argument, output_option, with_client, yes_option
from odradek.cli.output import Table, confirm, emit, note
from odradek.cli.positions import PLACES, Position, PositionType, resolve_positions
from odradek.client import groups as group_admin
from odradek.client.client import Client
from odradek.client.groups import GroupInfo
from odradek.client.offsets import LATEST, list_offsets
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition

Json = dict[str, Any]

_WITHOUT_MEMBERS = {"Empty", "Dead"}


@click.group(cls=AliasGroup)
def command() -> None:
    """List, describe, reset and delete consumer groups."""


@command.command("list")
@output_option
@bootstrap_option
def list_(output: str, bootstrap: str) -> None:
    """List groups (also: ls)."""

    async def work(client: Client) -> list[Json]:
        return [listing._asdict() for listing in await group_admin.list_groups(client)]

    found = with_client(bootstrap, work)
    rows = [
        (listing["group"], listing["state"], listing["type"], listing["protocol_type"]) for listing in found
    ]
    emit(found, output, lambda: [Table(("group", "state", "type", "protocol"), rows)])
    if not found and output == "table":
        note("There is no group yet: `odradek consume TOPIC -g GROUP` makes one.")


@command.command("describe")
@group_argument(many=True)
@output_option
@bootstrap_option
def describe(groups: tuple[str, ...], output: str, bootstrap: str) -> None:
    """Show members, committed offsets and lag."""

    async def work(client: Client) -> list[Json]:
        return [await _describe_one(client, group) for group in groups]

    described = with_client(bootstrap, work)
    emit(described, output, lambda: [table for found in described for table in _tables(found)])


async def _describe_one(client: Client, group: str) -> Json:
    info, committed = await asyncio.gather(
        group_admin.describe_group(client, group), group_admin.fetch_offsets(client, group)
    )
    if info.state == "Dead" and not committed:
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group}")
    owners = {key: member.member_id for member in info.members for key in member.assignment}
    keys = sorted({*committed, *owners})
    ends = await _ends(client, keys)
    offsets = []
    for key in keys:
        found, end = committed.get(key), ends.get(key)
        offsets.append(
            {
                "topic": key.topic,
                "partition": key.partition,
                "committed": found.offset if found else None,
                "end": end,
                "lag": max(0, end - found.offset) if found and end is not None else None,
                "metadata": found.metadata if found else "",
                "member_id": owners.get(key),
            }
        )
    return {
        "group": group,
        "state": info.state,
        "type": info.type,
        "protocol_type": info.protocol_type,
        "assignor": info.assignor,
        "coordinator": info.coordinator,
        "members": [_member(member) for member in info.members],
        "offsets": offsets,
        "lag": sum(offset["lag"] or 0 for offset in offsets),
    }


async def _ends(client: Client, keys: list[TopicPartition]) -> dict[TopicPartition, int]:
    """The end of each partition that is still there: groups outlive the topics that they have read."""
    topics = (await client.cluster(sorted({key.topic for key in keys}))).topics if keys else {}
    there = [
        key
        for key in keys
        if key.topic in topics and any(p.partition == key.partition for p in topics[key.topic].partitions)
    ]
    found = await list_offsets(client, dict.fromkeys(there, LATEST)) if there else {}
    return {key: offset.offset for key, offset in found.items()}


def _member(member: group_admin.GroupMemberInfo) -> Json:
    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "assignment": [key._asdict() for key in member.assignment],
    }


def _tables(found: Json) -> list[Table]:
    hosts = {
        m["member_id"]: f"{m['client_id']} at {m['client_host'].removeprefix('/')}" for m in found["members"]
    }
    title = f"{found['group']}  ({found['state']}, {len(found['members'])} members, lag {found['lag']:,})"
    offsets = Table(
        ("topic", "partition", "committed", "end", "lag", "member"),
        [
            (o["topic"], o["partition"], o["committed"], o["end"], o["lag"], hosts.get(o["member_id"] or ""))
            for o in found["offsets"]
        ],
        title,
    )
    if not found["members"]:
        return [offsets]
    members = [
        (
            m["member_id"],
            m["instance_id"],
            m["client_id"],
            m["client_host"].removeprefix("/"),
            len(m["assignment"]),
        )
        for m in found["members"]
    ]
    return [offsets, Table(("member", "instance", "client", "host", "partitions"), members)]


@command.command("reset")
@group_argument()
@click.option(
    "-t",
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC[:P,P]",
    shell_complete=complete.topics,
    help="Only these (default: whatever the group has committed); may be repeated.",
)
@click.option(
    "--to",
    "target",
    type=PositionType(),
    required=True,
    metavar="PLACE",
    help=f"{PLACES}.",
)
@click.option("--execute", is_flag=True, help="Do it; without this (or --yes) only the preview is shown.")
@yes_option
@output_option
@bootstrap_option
def reset(
    group: str,
    topics: tuple[str, ...],
    target: Position,
    execute: bool,
    yes: bool,
    output: str,
    bootstrap: str,
) -> None:
    """Move a group to another place in its topics; its members must be stopped.

    Shows what would change, and changes it with --execute (or --yes).
    """
    is_asking = not (execute or yes) and output == "table" and sys.stdin.isatty() and sys.stdout.isatty()

    async def work(client: Client) -> Json:
        changes = await _plan(client, group, topics, target)
        plan = {"group": group, "executed": execute or yes, "offsets": changes}
        if not changes:
            raise CommandError(
                f"group {group} has committed nothing yet", "Name what to set with --topic TOPIC."
            )
        if is_asking:
            emit(plan, output, lambda: [_preview(plan)])
            confirm(f"Set these offsets of {group}?", yes)
            plan["executed"] = True
        if plan["executed"]:
            await _require_empty(client, group)
            new = {TopicPartition(change["topic"], change["partition"]): change["new"] for change in changes}
            await group_admin.commit_offsets(client, group, new)
        return plan

    plan = with_client(bootstrap, work)
    if not is_asking:
        emit(plan, output, lambda: [_preview(plan)])
    if plan["executed"]:
        note(f"{group}: {len(plan['offsets'])} offsets set")
    else:
        note("Nothing has been changed: this is a preview. Add --execute to do it.")


async def _plan(client: Client, group: str, topics: tuple[str, ...], target: Position) -> list[Json]:
    committed = await group_admin.fetch_offsets(client, group)
    chosen = [key for text in topics for key in await _chosen(client, text)] if topics else sorted(committed)
    new = await resolve_positions(client, dict.fromkeys(chosen, target))
    return [
        {
            "topic": key.topic,
            "partition": key.partition,
            "current": committed[key].offset if key in committed else None,
            "new": new[key],
        }
        for key in chosen
    ]


async def _chosen(client: Client, text: str) -> list[TopicPartition]:
    """The partitions that ``TOPIC`` or ``TOPIC:0,2`` names."""
    topic, colon, numbers = text.partition(":")
    (found,) = await client.topics([topic])
    if not colon:
        return [TopicPartition(topic, partition.partition) for partition in found.partitions]
    if not all(number.isdecimal() for number in numbers.split(",")):
        raise click.UsageError(f"{text!r} is not TOPIC or TOPIC:PARTITION,PARTITION")
    chosen = [TopicPartition(topic, int(number)) for number in numbers.split(",")]
    for key in chosen:
        await client.leader(key)
    return chosen


async def _require_empty(client: Client, group: str) -> None:
    try:
        info: GroupInfo | None = await group_admin.describe_group(client, group)
    except ApiError as error:
        if error.code is not ErrorCode.GROUP_ID_NOT_FOUND:
            raise
        info = None
    if info and info.state not in _WITHOUT_MEMBERS:
        raise ApiError(
            ErrorCode.NON_EMPTY_GROUP,
            f"group {group} has {len(info.members)} members, which would overwrite it",
        )


def _preview(plan: Json) -> Table:
    rows = []
    for change in plan["offsets"]:
        current, new = change["current"], change["new"]
        moved = None if current is None else new - current
        rows.append(
            (change["topic"], change["partition"], current, new, f"{moved:+d}" if moved is not None else None)
        )
    return Table(("topic", "partition", "current", "new", "change"), rows, plan["group"])


@command.command("delete")
@group_argument(many=True)
@yes_option
@output_option
@bootstrap_option
def delete(groups: tuple[str, ...], yes: bool, output: str, bootstrap: str) -> None:
    """Forget groups without members, and their offsets (also: rm)."""
    what = groups[0] if len(groups) == 1 else f"{len(groups)} groups ({', '.join(groups)})"
    confirm(f"Delete {what} with all committed offsets?", yes)

    async def work(client: Client) -> None:
        for group in groups:
            await group_admin.delete_group(client, group)
            note(f"{group}: deleted")

    with_client(bootstrap, work)
    if output != "table":
        emit([{"group": group, "deleted": True} for group in groups], output, list)
