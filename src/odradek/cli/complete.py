"""Completion of names that only the broker knows; it is silent when there is no broker, and never
waits long.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from odradek.client.client import Client

_TIMEOUT_MS = 500


def topics(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Topics that begin with ``incomplete``; internal ones only once their underscores are typed."""

    async def ask(client: "Client") -> list[str]:
        return sorted((await client.cluster()).topics)

    names = _ask(context, ask)
    return [name for name in names if name.startswith(incomplete) and (incomplete or name[:2] != "__")]


def groups(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Groups that begin with ``incomplete``."""

    async def ask(client: "Client") -> list[str]:
        from odradek.client.groups import list_groups

        return [listing.group for listing in await list_groups(client)]

    return [name for name in _ask(context, ask) if name.startswith(incomplete)]


def transactional_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Transactional ids that begin with ``incomplete``."""

    async def ask(client: "Client") -> list[str]:
        from odradek.client.transactions import list_transactions

        return [listing.transactional_id for listing in await list_transactions(client)]

    return [name for name in _ask(context, ask) if name.startswith(incomplete)]


def by_kind(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of whatever the argument ``kind`` before says."""
    kind = context.params.get("kind")
    if kind == "broker":
        return [name for name in ("default",) if name.startswith(incomplete)]
    return (groups if kind == "group" else topics)(context, parameter, incomplete)


def _ask(context: click.Context, question: "Callable[[Client], Coroutine[Any, Any, list[str]]]") -> list[str]:
    import asyncio
    import os

    from odradek.client.client import Client
    from odradek.core.errors import OdradekError

    bootstrap = context.params.get("bootstrap") or os.environ.get("ODRADEK_BOOTSTRAP") or "localhost:9092"

    async def connected() -> list[str]:
        async with Client(bootstrap, timeout_ms=_TIMEOUT_MS) as client:
            return await question(client)

    try:
        return asyncio.run(asyncio.wait_for(connected(), _TIMEOUT_MS / 1000))
    except (OdradekError, OSError, TimeoutError):
        return []
