"""``odradek config``: values in force on a running broker, and the list of all broker keys."""

import re
from typing import Any

import click

from odradek.cli import complete
from odradek.cli.errors import NOT_FOUND, USAGE, CommandError
from odradek.cli.naming import AliasGroup
from odradek.cli.options import bootstrap_option, output_option, with_client
from odradek.cli.output import Table, emit, note

Json = dict[str, Any]

KINDS = ("topic", "broker", "group", "logger")
STATUSES = ("implemented", "accepted", "refused")


@click.group(cls=AliasGroup)
def command() -> None:
    """Read and change configurations; list the keys."""


@command.command("get")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", shell_complete=complete.by_kind)
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("-a", "--all", "show_all", is_flag=True, help="Defaults too.")
@output_option
@bootstrap_option
def get(kind: str, name: str, keys: tuple[str, ...], show_all: bool, output: str, bootstrap: str) -> None:
    """Show what is set for a topic, a broker (by its id) or a group, or the log levels of a broker.

    Without KEYs only values that differ from the default are shown. The broker named `default`
    stands for what was set for all brokers.
    """
    from odradek.client import admin
    from odradek.client.client import Client

    async def work(client: Client) -> list[admin.ConfigEntry]:
        resource_type, resource = _resource(kind, name)
        if resource_type is admin.ResourceType.TOPIC:
            await client.topics([resource])
        found = await admin.describe_configs(client, resource_type, resource, keys or None)
        missing = sorted(set(keys) - {entry.name for entry in found})
        if missing:
            known = await admin.describe_configs(client, resource_type, resource)
            raise _no_such_config(kind, missing, [entry.name for entry in known])
        return found

    entries = with_client(bootstrap, work)
    shown = [entry for entry in entries if keys or show_all or entry.source != "default"]
    value = [
        {
            "name": entry.name,
            "value": entry.value,
            "source": entry.source,
            "read_only": entry.is_read_only,
            "sensitive": entry.is_sensitive,
        }
        for entry in shown
    ]
    rows = [(entry.name, "(hidden)" if entry.is_sensitive else entry.value, entry.source) for entry in shown]
    emit(value, output, lambda: [Table(("config", "value", "source"), rows)])
    if not shown and output == "table":
        note("Everything is at its default; --all shows the values.")


def _no_such_config(kind: str, missing: list[str], known: list[str]) -> CommandError:
    from odradek.core.config.keys import nearest

    near = list(dict.fromkeys(close for key in missing if (close := nearest(key, known))))
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    return CommandError(
        f"there is no {kind} config {', '.join(missing)}",
        f"{hint}`odradek config get` with --all shows every one.",
        NOT_FOUND,
    )


@command.command("set")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", shell_complete=complete.by_kind)
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE|KEY-...")
@click.option("--dry-run", is_flag=True, help="Only check whether it could be done.")
@output_option
@bootstrap_option
def set_(
    kind: str, name: str, assignments: tuple[str, ...], dry_run: bool, output: str, bootstrap: str
) -> None:
    """Change configs of a topic, a broker (by its id) or a group, or its log levels, while it runs.

    KEY=VALUE sets, KEY- goes back to the default. The broker named `default` stands for all brokers.
    """
    from odradek.client import admin
    from odradek.client.client import Client

    changes: dict[str, str | None] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if equals and key:
            changes[key.strip()] = value.strip()
        elif not equals and text.endswith("-"):
            changes[text[:-1]] = None
        else:
            raise click.UsageError(f"{text!r} is neither KEY=VALUE nor KEY- (back to the default)")

    async def work(client: Client) -> None:
        resource_type, resource = _resource(kind, name)
        await admin.alter_configs(client, resource_type, resource, changes, validate_only=dry_run)

    with_client(bootstrap, work)
    if output == "table":
        note(f"{kind} {name}: {'could be changed' if dry_run else 'changed'}")
    else:
        emit({"kind": kind, "name": name, "configs": changes, "changed": not dry_run}, output, list)


def _resource(kind: str, name: str) -> tuple[Any, str]:
    from odradek.client.admin import ResourceType

    if kind == "logger":
        if not name.isdecimal():
            raise CommandError(f"{name!r} is no broker id", "Log levels are those of one broker.", USAGE)
        return ResourceType.BROKER_LOGGER, name
    if kind != "broker":
        return ResourceType[kind.upper()], name
    if name != "default" and not name.isdecimal():
        raise CommandError(f"{name!r} is no broker id", "Say a number, or `default` for all brokers.", USAGE)
    return ResourceType.BROKER, "" if name == "default" else name


@command.command("keys")
@click.argument("pattern", required=False)
@click.option("-s", "--status", type=click.Choice(STATUSES), help="Only keys that are so.")
@output_option
def keys(pattern: str | None, status: str | None, output: str) -> None:
    """List every broker key of Kafka: implemented, accepted without effect, or refused, and why.

    PATTERN is a regular expression that is looked for in the names. No broker is needed.
    """
    from odradek.core.config.broker_status import broker_key_status
    from odradek.core.config.defaults import broker_defaults
    from odradek.core.config.keys import broker_keys

    try:
        wanted = re.compile(pattern or "")
    except re.error as error:
        raise CommandError(f"{pattern!r} is no regular expression: {error}", exit_code=USAGE) from None
    statuses, defaults = broker_key_status(), broker_defaults()
    found: list[Json] = [
        {
            "name": name,
            "type": key.type.lower(),
            "default": defaults.get(name),
            "kafka_default": key.default,
            "valid": key.valid,
            "status": statuses[name].status,
            "text": statuses[name].text,
        }
        for name, key in sorted(broker_keys().items())
        if wanted.search(name) and status in (None, statuses[name].status)
    ]
    if not found:
        raise CommandError(
            f"no key matches {pattern!r}" if pattern else f"no key is {status}", exit_code=NOT_FOUND
        )
    rows = [(key["name"], key["default"], key["status"], key["text"]) for key in found]
    emit(found, output, lambda: [Table(("key", "default", "status", "what it does, or why not"), rows)])
    if output == "table":
        counts = [f"{sum(key['status'] == name for key in found)} {name}" for name in STATUSES]
        note(f"{len(found)} keys: {', '.join(counts)}")
