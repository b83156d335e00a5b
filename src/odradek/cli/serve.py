"""``odradek serve``: a broker in the foreground until Ctrl-C or SIGTERM."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odradek.cli.errors import USAGE, CommandError
from odradek.cli.options import key_values
from odradek.cli.output import note
from odradek.core.config.broker import BrokerConfig, broker_config
from odradek.core.errors import OdradekError, StartupError

if TYPE_CHECKING:
    from odradek.app import Node

NEVER = str(2**63 - 1)
_ALL_INTERFACES = ("", "0.0.0.0", "::")


@click.command("serve")
@click.argument("file", required=False, metavar="[SERVER.PROPERTIES]", type=click.Path(path_type=Path))
@click.option("-l", "--listen", metavar="HOST:PORT", help="Where to listen.  [default: localhost:9092]")
@click.option("-d", "--data", metavar="DIR", help="The data folder.  [default: ./data]")
@click.option(
    "-c",
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A server.properties, the same as the argument.",
)
@click.option(
    "-s",
    "--set",
    "overrides",
    multiple=True,
    callback=key_values,
    metavar="KEY=VALUE",
    help="Any of Kafka's broker keys; may be repeated. `odradek config keys` lists them.",
)
@click.option("--metrics", metavar="HOST:PORT", help="Answer /metrics, /healthz and /readyz over HTTP there.")
@click.option(
    "--ephemeral",
    is_flag=True,
    help="Keep the data in a temporary folder, unflushed, and remove it at the end.",
)
@click.option(
    "--ready-file",
    metavar="PATH",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one line of JSON there once clients can connect.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing at the start.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def command(
    file: Path | None,
    listen: str | None,
    data: str | None,
    config_file: Path | None,
    overrides: dict[str, str],
    metrics: str | None,
    ephemeral: bool,
    ready_file: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run a broker in the foreground; Ctrl-C or SIGTERM stops it cleanly.

    Settings come from SERVER.PROPERTIES, then the environment (KAFKA_* and ODRADEK_*, as the
    container images of Kafka spell them), then these options; later ones win.
    """
    if file and config_file and file != config_file:
        raise click.UsageError(f"Two configuration files: {file} and {config_file}.")
    if ephemeral and data:
        raise click.UsageError("--ephemeral keeps its data in a temporary folder: leave --data out.")
    with ExitStack() as cleanup:
        if ephemeral:
            folder = cleanup.enter_context(
                tempfile.TemporaryDirectory(prefix="odradek-", ignore_cleanup_errors=True)
            )
            overrides = {"log.flush.interval.messages": NEVER, **overrides, "log.dirs": folder}
        if data:
            overrides["log.dirs"] = data
        if metrics:
            overrides["odradek.metrics.listener"] = metrics
        if listen:
            overrides["listeners"] = f"PLAINTEXT://{listen if ':' in listen else f'{listen}:9092'}"
        _serve(_configuration(file or config_file, overrides), ephemeral, ready_file, quiet, verbose)


def _configuration(file: Path | None, overrides: dict[str, str]) -> BrokerConfig:
    text = None
    if file is not None:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(
                f"cannot read {file}: {getattr(error, 'strerror', None) or error}", exit_code=USAGE
            ) from None
    try:
        return broker_config(overrides, properties_text=text, environment=os.environ, file_name=str(file))
    except StartupError as error:
        raise CommandError(str(error), "`odradek config keys` lists every key.", USAGE) from None


def _serve(
    config: BrokerConfig, ephemeral: bool, ready_file: Path | None, quiet: bool, verbose: bool
) -> None:
    import logging

    from odradek import app
    from odradek.storage.disk import FULL

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for notice in config.notices:
        logging.getLogger("odradek.config").warning(notice)

    def on_ready(node: "Node") -> None:
        if not quiet:
            is_everywhere = config.listeners[0].host in _ALL_INTERFACES
            for line in greeting(
                node.bootstrap_servers, config.log_dir, ephemeral, is_everywhere=is_everywhere
            ):
                note(line)

    try:
        app.run(config, ready_file=ready_file, on_ready=on_ready)
    except OdradekError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise CommandError(
            f"the volume of {config.log_dir} is full: {error.strerror}",
            "Make room there and start the broker again: it checks the logs, nothing acknowledged is lost.",
        ) from error
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def greeting(
    bootstrap_servers: str, folder: str, ephemeral: bool, *, is_everywhere: bool = False
) -> list[str]:
    """What a person should know once the broker is up; ``is_everywhere``: it listens on all interfaces."""
    where = bootstrap_servers
    if is_everywhere:
        where = f"all interfaces, port {bootstrap_servers.rpartition(':')[2]} ({bootstrap_servers} from here)"
    data = (
        f"{Path(folder).resolve()}  (temporary, gone when this ends)"
        if ephemeral
        else str(Path(folder).resolve())
    )
    option = "" if bootstrap_servers in ("localhost:9092", "127.0.0.1:9092") else f" -b {bootstrap_servers}"
    return [
        f"Odradek listens on {where}",
        f"Data is in         {data}",
        "Now type           "
        f"echo hello | odradek produce greetings{option} && odradek consume greetings -e{option}",
        "Stop with          Ctrl-C",
    ]
