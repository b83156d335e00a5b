"""``odradek quota``: how much users, client ids and addresses may use."""

from collections.abc import Callable
from typing import Any

import click

from odradek.cli.naming import AliasGroup
from odradek.cli.options import Decorator, bootstrap_option, output_option, with_client
from odradek.cli.output import Table, emit, note
from odradek.client.client import Client
from odradek.client.quotas import Quota, alter_quotas, describe_quotas

DEFAULT = "default"
_KINDS = ("user", "client-id", "ip")


@click.group(cls=AliasGroup)
def command() -> None:
    """Limit what users, client ids and addresses use.

    \b
    producer_byte_rate        bytes per second that come in
    consumer_byte_rate        bytes per second that go out
    request_percentage        time of the broker's thread, percent
    controller_mutation_rate  partitions made or deleted per second
    connection_creation_rate  new connections per second (of an --ip)
    """


def _entity_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


_OPTIONS: tuple[Decorator, ...] = (
    click.option("-u", "--user", metavar="NAME", help="A user; `default` for those without a quota."),
    click.option("-c", "--client-id", metavar="ID", help="A client id, or `default`; also with --user."),
    click.option("--ip", metavar="ADDRESS", help="An address, or `default`."),
)


@command.command("list")
@_entity_options
@output_option
@bootstrap_option
def list_(user: str | None, client_id: str | None, ip: str | None, output: str, bootstrap: str) -> None:
    """Show the quotas that are set, all or those of an entity."""
    entity = _entity(user, client_id, ip)

    async def work(client: Client) -> list[Quota]:
        return await describe_quotas(client, entity)

    found = with_client(bootstrap, work)
    value = [{"entity": quota.entity, "limits": quota.limits} for quota in found]
    rows = [
        (_text(quota.entity), key, f"{limit:g}" if limit % 1 else str(int(limit)))
        for quota in found
        for key, limit in quota.limits.items()
    ]
    emit(value, output, lambda: [Table(("entity", "quota", "limit"), rows)])
    if not found and output == "table":
        note("No quota is set.")


@command.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE|KEY-...")
@_entity_options
@click.option("--dry-run", is_flag=True, help="Only check whether it could be done.")
@output_option
@bootstrap_option
def set_(
    assignments: tuple[str, ...],
    user: str | None,
    client_id: str | None,
    ip: str | None,
    dry_run: bool,
    output: str,
    bootstrap: str,
) -> None:
    """Set limits of a user, a client id, both together, or an address; KEY- removes one."""
    entity = _entity(user, client_id, ip)
    if not entity:
        raise click.UsageError("Say for whom: --user, --client-id or --ip.")
    changes: dict[str, float | None] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if equals and key:
            changes[key] = _number(text, value)
        elif not equals and text.endswith("-"):
            changes[text[:-1]] = None
        else:
            raise click.UsageError(f"{text!r} is neither KEY=VALUE nor KEY- (no limit)")

    async def work(client: Client) -> None:
        await alter_quotas(client, entity, changes, validate_only=dry_run)

    with_client(bootstrap, work)
    if output == "table":
        note(f"{_text(entity)}: {'could be changed' if dry_run else 'changed'}")
    else:
        emit({"entity": entity, "limits": changes, "changed": not dry_run}, output, list)


def _number(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise click.UsageError(f"{text!r}: {value!r} is no number") from None


def _entity(user: str | None, client_id: str | None, ip: str | None) -> dict[str, str | None]:
    given = zip(_KINDS, (user, client_id, ip), strict=True)
    return {kind: None if name == DEFAULT else name for kind, name in given if name is not None}


def _text(entity: dict[str, str | None]) -> str:
    return " ".join(f"{kind}={DEFAULT if name is None else name}" for kind, name in entity.items())
