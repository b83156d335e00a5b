"""``odradek group reset``: moves a group to another place in its topics, after a preview."""

import sys
from typing import Any

import click

from odradek.cli import complete
from odradek.cli.errors import CommandError
from odradek.cli.options import bootstrap_option, group_argument, output_option, with_client, yes_option
from odradek.cli.output import Table, confirm, emit, note
from odradek.cli.partitions import chosen_partitions
from odradek.cli.positions import PLACES, Position, PositionType, resolve_positions
from odradek.client.client import Client
from odradek.client.group_offsets import commit_offsets, fetch_offsets
from odradek.client.groups import GroupInfo, describe_group
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition

Json = dict[str, Any]

_WITHOUT_MEMBERS = {"Empty", "Dead"}


@click.command("reset")
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
            await commit_offsets(client, group, new)
        return plan

    plan = with_client(bootstrap, work)
    if not is_asking:
        emit(plan, output, lambda: [_preview(plan)])
    if plan["executed"]:
        note(f"{group}: {len(plan['offsets'])} offsets set")
    else:
        note("Nothing has been changed: this is a preview. Add --execute to do it.")


async def _plan(client: Client, group: str, topics: tuple[str, ...], target: Position) -> list[Json]:
    committed = await fetch_offsets(client, group)
    chosen = (
        [key for text in topics for key in await chosen_partitions(client, text)]
        if topics
        else sorted(committed)
    )
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


async def _require_empty(client: Client, group: str) -> None:
    try:
        info: GroupInfo | None = await describe_group(client, group)
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
