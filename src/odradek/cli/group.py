"""``odradek group``: list, describe with lag, reset with a preview, delete."""

import click

from odradek.cli.group_describe import describe
from odradek.cli.group_reset import reset
from odradek.cli.naming import AliasGroup
from odradek.cli.options import bootstrap_option, group_argument, output_option, with_client, yes_option
from odradek.cli.output import Table, confirm, emit, note
from odradek.client import groups as group_admin
from odradek.client.client import Client
from odradek.client.groups import GroupListing

_STATES = (
    "Empty",
    "Stable",
    "PreparingRebalance",
    "CompletingRebalance",
    "Assigning",
    "Reconciling",
    "Dead",
)
_TYPES = ("classic", "consumer", "share", "streams")


@click.group(cls=AliasGroup)
def command() -> None:
    """List, describe, reset and delete consumer groups."""


command.add_command(describe)
command.add_command(reset)


@command.command("list")
@click.option(
    "-s",
    "--state",
    "states",
    type=click.Choice(_STATES, case_sensitive=False),
    multiple=True,
    help="Only groups in this state; may be repeated.",
)
@click.option(
    "-T", "--type", "types", type=click.Choice(_TYPES), multiple=True, help="Only groups of this type."
)
@output_option
@bootstrap_option
def list_(states: tuple[str, ...], types: tuple[str, ...], output: str, bootstrap: str) -> None:
    """List groups (also: ls)."""

    async def work(client: Client) -> list[GroupListing]:
        return await group_admin.list_groups(client, states, types)

    found = with_client(bootstrap, work)
    emit(
        [listing._asdict() for listing in found],
        output,
        lambda: [Table(("group", "state", "type", "protocol"), found)],
    )
    if not found and output == "table":
        note(
            "No group is like that."
            if states or types
            else "There is no group yet: `odradek consume TOPIC -g GROUP` makes one."
        )


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
