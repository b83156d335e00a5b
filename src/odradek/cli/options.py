"""Options that many commands share, and how a command gets its client."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from odradek.cli import complete
from odradek.cli.errors import command_error
from odradek.core.errors import OdradekError

if TYPE_CHECKING:
    from odradek.client.client import Client

T = TypeVar("T")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

OUTPUTS = ("table", "json", "yaml")

bootstrap_option: Decorator = click.option(
    "-b",
    "--bootstrap",
    envvar="ODRADEK_BOOTSTRAP",
    default="localhost:9092",
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT",
    help="A broker to start from; several are parted by commas.",
)

output_option: Decorator = click.option(
    "-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True, help="How to print."
)

isolation_option: Decorator = click.option(
    "--isolation",
    type=click.Choice(("read_uncommitted", "read_committed")),
    default="read_uncommitted",
    show_default=True,
    help="Whether open and aborted transactions count.",
)

yes_option: Decorator = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def topic_argument(*, many: bool = False) -> Decorator:
    """The argument TOPIC, or TOPIC… as ``topics``, completed with the names that the broker knows."""
    return click.argument(
        "topics" if many else "topic",
        metavar="TOPIC..." if many else "TOPIC",
        nargs=-1 if many else 1,
        required=True,
        shell_complete=complete.topics,
    )


def group_argument(*, many: bool = False) -> Decorator:
    """The argument GROUP, or GROUP… as ``groups``, completed with the names that the broker knows."""
    return click.argument(
        "groups" if many else "group",
        metavar="GROUP..." if many else "GROUP",
        nargs=-1 if many else 1,
        required=True,
        shell_complete=complete.groups,
    )


def key_values(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Callback of options and arguments of the form KEY=VALUE."""
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", context, parameter)
        found[key.strip()] = value.strip()
    return found


def with_client(bootstrap: str, work: "Callable[[Client], Coroutine[Any, Any, T]]") -> T:
    """Connect, do ``work``, close; what goes wrong is raised as a :class:`CommandError`.

    SIGTERM ends the work as Ctrl-C does, so that a member leaves its group in good order.
    """
    import asyncio
    import signal

    from odradek.cli.patience import Patience
    from odradek.client.client import Client

    async def connected() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with Client(bootstrap) as client:
            client.on_retry = Patience()
            return await work(client)

    try:
        return asyncio.run(connected())
    except OdradekError as error:
        raise command_error(error) from error
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
