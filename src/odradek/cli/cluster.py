"""``odradek cluster``: which brokers there are, and whether all is well."""

import asyncio
from datetime import datetime
from typing import Any

import click

from odradek.cli.errors import UNHEALTHY, CommandError
from odradek.cli.naming import AliasGroup
from odradek.cli.options import bootstrap_option, output_option, with_client
from odradek.cli.output import Table, emit, note
from odradek.client.client import Client
from odradek.client.cluster import BrokerHealth, ClusterHealth, LogDir, cluster_health
from odradek.client.errors import ConnectError
from odradek.core.ids import TopicPartition

Json = dict[str, Any]

NEAR_HEADROOMS = 2
"""A disk is nearly full, and its broker slows producers, from when so many headrooms are left of it."""
NAMED = 5
"""So many partitions of a kind are named in a problem; JSON has them all."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@click.group(cls=AliasGroup)
def command() -> None:
    """Show brokers and their health."""


@command.command("info")
@output_option
@bootstrap_option
def info(output: str, bootstrap: str) -> None:
    """Show the cluster's id, its brokers, and what they hold."""
    health = with_client(bootstrap, cluster_health)
    value = _json(health)
    for name in ("healthy", "problems", "offline", "recovering", "under_replicated"):
        del value[name]
    emit(value, output, lambda: [_summary(health), _brokers(health)])


@command.command("health")
@click.option("-w", "--watch", is_flag=True, help="Look again every second, until interrupted.")
@click.option("--exit-when-healthy", is_flag=True, help="Watch until all is well, then end.")
@click.option("--timeout", type=click.FloatRange(0), help="With --exit-when-healthy: give up after SECONDS.")
@output_option
@bootstrap_option
def health(watch: bool, exit_when_healthy: bool, timeout: float | None, output: str, bootstrap: str) -> int:
    """Say whether all is well: 0 it is, 3 it is not.

    Partitions must have leaders and enough replicas, every broker must answer, and disks must have
    room. While watching, a broker that cannot be reached is waited for.
    """
    if not watch and not exit_when_healthy:
        found = with_client(bootstrap, cluster_health)
        _show(found, output)
        return UNHEALTHY if problems(found) else 0
    try:
        return asyncio.run(_watch(bootstrap, output, exit_when_healthy, timeout))
    except TimeoutError:
        raise CommandError(f"not healthy after {timeout:g} s", exit_code=UNHEALTHY) from None


async def _watch(bootstrap: str, output: str, exit_when_healthy: bool, timeout_s: float | None) -> int:
    shown: str | None = None
    async with asyncio.timeout(timeout_s if exit_when_healthy else None):
        while True:
            state, found = await _look(bootstrap)
            if state != shown and found is not None:
                _show(found, output)
            elif state != shown:
                note(state)
            shown = state
            if exit_when_healthy and found is not None and not problems(found):
                return 0
            await asyncio.sleep(1.0)


async def _look(bootstrap: str) -> tuple[str, ClusterHealth | None]:
    """What is to be shown when it changes, and the health itself when the cluster could be asked."""
    try:
        async with Client(bootstrap, timeout_ms=5_000) as client:
            found = await cluster_health(client)
    except (ConnectError, OSError) as error:
        return str(error), None
    return "\n".join(problems(found)), found


def problems(health: ClusterHealth) -> list[str]:
    """What is not well, one line each."""
    found = [f"broker {broker.broker.node_id}: {broker.error}" for broker in health.brokers if broker.error]
    if health.cluster.controller < 0:
        found.append("there is no controller: nothing can be changed")
    for broker in health.brokers:
        for folder in broker.log_dirs:
            where = f"broker {broker.broker.node_id}: {folder.path}"
            if folder.error:
                found.append(f"{where} cannot be used: {folder.error}")
            elif 0 <= folder.usable < folder.headroom * NEAR_HEADROOMS:
                left = f"{size(folder.usable)} of {size(folder.total)} left, producers do not get the last"
                state = "full" if folder.usable <= folder.headroom else "nearly full"
                found.append(f"{where} is {state}: {left} {size(folder.headroom)}")
        uncleanable = (broker.background or {}).get("cleaner", {}).get("uncleanable", {})
        found += [f"{partition} is compacted no more: {why}" for partition, why in uncleanable.items()]
    for partitions, what in (
        (health.offline, "offline (the broker's log says why)"),
        (health.recovering, "being recovered"),
        (health.under_replicated, "short of replicas"),
    ):
        if partitions:
            found.append(f"{len(partitions)} of {health.partitions} partitions {what}: {_named(partitions)}")
    return found


def _named(partitions: list[TopicPartition]) -> str:
    named = ", ".join(str(partition) for partition in partitions[:NAMED])
    return named if len(partitions) <= NAMED else f"{named} and {len(partitions) - NAMED} more"


def size(count: int) -> str:
    """Bytes in a unit that people read."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _show(health: ClusterHealth, output: str) -> None:
    found = problems(health)
    emit(_json(health), output, lambda: [_summary(health), _brokers(health)])
    if output == "table":
        note("All is well." if not found else "\n".join(f"not well: {problem}" for problem in found))


def _summary(health: ClusterHealth) -> Table:
    cluster = health.cluster
    rows = [
        ("cluster", cluster.cluster_id),
        ("controller", cluster.controller),
        ("topics", len(cluster.topics)),
        ("partitions", health.partitions),
        ("offline", len(health.offline)),
        ("recovering", len(health.recovering)),
        ("under-replicated", len(health.under_replicated)),
    ]
    for broker in health.brokers:
        rows += _background(broker)
    return Table(("what", "value"), rows)


def _background(broker: BrokerHealth) -> list[tuple[str, str]]:
    """How scrub and compaction of a broker do, if it tells."""
    if broker.background is None:
        return []
    scrub, cleaner = broker.background["scrub"], broker.background["cleaner"]
    state = f"{size(scrub['done'])} of {size(scrub['total'])} checked" if scrub["total"] else "waits"
    running = ", ".join(cleaner["running"]) or "nothing under way"
    return [
        (
            f"scrub of broker {broker.broker.node_id}",
            f"{state}; last pass ended {_when(scrub['finished_ms'])}",
        ),
        (
            f"compaction of broker {broker.broker.node_id}",
            f"{running}; at most {100 * cleaner['max_dirty_ratio']:.0f} % dirty,"
            f" {len(cleaner['uncleanable'])} uncleanable; last pass ended {_when(cleaner['last_run_ms'])}",
        ),
    ]


def _when(timestamp_ms: int) -> str:
    if timestamp_ms < 0:
        return "never"
    return datetime.fromtimestamp(timestamp_ms / 1000).isoformat(sep=" ", timespec="seconds")


def _brokers(health: ClusterHealth) -> Table:
    rows = [
        (
            broker.broker.node_id,
            f"{broker.broker.host}:{broker.broker.port}",
            broker.broker.rack,
            folder.path if folder else None,
            size(sum(folder.partitions.values())) if folder else None,
            size(folder.usable) if folder and folder.usable >= 0 else None,
            (folder.error if folder else broker.error) or "ok",
        )
        for broker in health.brokers
        for folder in _folders(broker)
    ]
    return Table(("broker", "address", "rack", "data", "size", "room", "state"), rows)


def _folders(broker: BrokerHealth) -> list[LogDir | None]:
    """A broker that could not be asked has a row all the same."""
    return [*broker.log_dirs] or [None]


def _json(health: ClusterHealth) -> Json:
    cluster = health.cluster
    found = problems(health)
    return {
        "healthy": not found,
        "problems": found,
        "cluster_id": cluster.cluster_id,
        "controller": cluster.controller,
        "topics": len(cluster.topics),
        "partitions": health.partitions,
        "offline": [partition._asdict() for partition in health.offline],
        "recovering": [partition._asdict() for partition in health.recovering],
        "under_replicated": [partition._asdict() for partition in health.under_replicated],
        "brokers": [_broker_json(broker) for broker in health.brokers],
    }


def _broker_json(broker: BrokerHealth) -> Json:
    return {
        "id": broker.broker.node_id,
        "host": broker.broker.host,
        "port": broker.broker.port,
        "rack": broker.broker.rack,
        "error": broker.error,
        "log_dirs": [
            {
                "path": folder.path,
                "size": sum(folder.partitions.values()),
                "total": folder.total,
                "usable": folder.usable,
                "headroom": folder.headroom,
                "error": folder.error,
            }
            for folder in broker.log_dirs
        ],
        "background": broker.background,
    }
