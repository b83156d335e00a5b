"""The entry point, and the table of commands; a command's module is imported when it is called."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from odradek import __version__
from odradek.cli.errors import FAILED, CommandError, color_choice

COMMANDS = {
    "serve": "Run a broker.",
    "topic": "Create, list, describe, alter and delete topics.",
    "produce": "Send lines or JSON lines to a topic.",
    "consume": "Print the records of a topic.",
    "group": "List, describe, reset and delete consumer groups.",
    "txn": "List, describe and abort transactions; find hanging ones.",
    "config": "Read and change configurations; list the keys.",
    "quota": "Limit what clients use.",
    "log": "Look into log files.",
    "cluster": "Show brokers and their health.",
    "doctor": "Look for what is wrong or will be.",
    "completion": "Print the completion script of a shell.",
}
"""Each is the attribute ``command`` of the module of its name in this package."""


class LazyGroup(click.Group):
    """A group whose commands are imported one by one, so that each pays only for itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"odradek.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="odradek")
def odradek() -> None:
    """An event broker that speaks Kafka's wire protocol, and its tools."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 not understood, 3 not found, 130 interrupted."""
    try:
        result: Any = odradek.main(
            arguments, prog_name="odradek", standalone_mode=False, color=color_choice()
        )
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output has gone; Python must not complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        CommandError(f"{error.filename}: {error.strerror}" if error.filename else str(error)).show()
        sys.exit(FAILED)
    sys.exit(result if isinstance(result, int) else 0)
