"""``odradek doctor``: asks a broker, and the machine that it runs on, for what is wrong or soon will be."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import click

from odradek.cli import diagnosis, machine
from odradek.cli.diagnosis import Finding, TopicUse
from odradek.cli.errors import UNHEALTHY
from odradek.cli.options import bootstrap_option, output_option, with_client
from odradek.cli.output import Table, emit
from odradek.client import admin, groups
from odradek.client.client import Client, parse_address
from odradek.client.cluster import ClusterHealth, cluster_health
from odradek.client.errors import ConnectError
from odradek.client.offsets import LATEST, MAX_TIMESTAMP, list_offsets
from odradek.core.errors import ApiError
from odradek.core.ids import TopicPartition

_SETTINGS = (
    "auto.create.topics.enable",
    "listeners",
    "log.dir",
    "log.dirs",
    "log.flush.interval.messages",
    "message.max.bytes",
    "socket.request.max.bytes",
)


@click.command("doctor")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    help="How long to watch the disk for its forecast.",
)
@output_option
@bootstrap_option
def command(seconds: float, output: str, bootstrap: str) -> int:
    """Look for what is wrong or will be; 3 when there is a problem.

    What the broker says of itself is checked from anywhere: addresses, room, retention,
    partitions, settings. Flush times, open files and the clock only on the broker's own machine.
    """
    findings = with_client(bootstrap, lambda client: _examine(client, bootstrap, seconds))
    value = [finding._asdict() for finding in findings]
    emit(value, output, lambda: [_table(findings)])
    return UNHEALTHY if any(finding.level == diagnosis.PROBLEM for finding in findings) else 0


def _table(findings: list[Finding]) -> Table:
    rows = [(finding.level, finding.check, finding.text, finding.fix) for finding in findings]
    return Table(("level", "check", "found", "what to do"), rows)


async def _examine(client: Client, bootstrap: str, seconds: float) -> list[Finding]:
    before = await cluster_health(client)
    findings = await _addresses(client, before, bootstrap)
    findings += _unusable(before)
    await asyncio.sleep(seconds)
    after = await cluster_health(client)
    findings += _disks(before, after, seconds)
    findings += await _topics(client, after)
    for node in after.cluster.brokers:
        entries = await admin.describe_configs(client, admin.ResourceType.BROKER, str(node), _SETTINGS)
        findings += diagnosis.settings({entry.name: entry.value for entry in entries})
    findings += await asyncio.to_thread(_machine, after)
    return findings


async def _addresses(client: Client, health: ClusterHealth, bootstrap: str) -> list[Finding]:
    told = {node: f"{broker.host}:{broker.port}" for node, broker in health.cluster.brokers.items()}
    is_reachable = {}
    for node in told:
        try:
            await client.broker(node)
            is_reachable[node] = True
        except ConnectError:
            is_reachable[node] = False
    asked, _ = parse_address(bootstrap.split(",")[0])
    return diagnosis.address(asked, told, is_reachable)


def _unusable(health: ClusterHealth) -> list[Finding]:
    found = [
        Finding("brokers", diagnosis.PROBLEM, f"broker {broker.broker.node_id}: {broker.error}")
        for broker in health.brokers
        if broker.error
    ]
    if health.offline:
        names = ", ".join(map(str, health.offline[:5]))
        text = f"{len(health.offline)} partitions are offline: {names}"
        fix = "The broker's log names file and position; `odradek log verify` looks closer."
        found.append(Finding("brokers", diagnosis.PROBLEM, text, fix))
    return found or [Finding("brokers", diagnosis.OK, f"{len(health.brokers)} answer, all partitions led")]


def _disks(before: ClusterHealth, after: ClusterHealth, seconds: float) -> list[Finding]:
    sizes = {
        (broker.broker.node_id, folder.path): sum(folder.partitions.values())
        for broker in before.brokers
        for folder in broker.log_dirs
    }
    return [
        diagnosis.disk(
            folder.path,
            folder.total,
            folder.usable,
            folder.headroom,
            sum(folder.partitions.values()) - sizes.get((broker.broker.node_id, folder.path), 0),
            seconds,
        )
        for broker in after.brokers
        for folder in broker.log_dirs
    ]


async def _topics(client: Client, health: ClusterHealth) -> list[Finding]:
    led = [
        TopicPartition(topic.name, partition.partition)
        for topic in health.cluster.topics.values()
        for partition in topic.partitions
        if partition.leader >= 0
    ]
    ends = await list_offsets(client, dict.fromkeys(led, LATEST))
    newest = await list_offsets(client, dict.fromkeys(led, MAX_TIMESTAMP))
    newest_ms: dict[str, int] = {}
    for (topic, _), offset in newest.items():
        newest_ms[topic] = max(newest_ms.get(topic, -1), offset.timestamp)
    readers = await _readers(client)
    uses = [
        TopicUse(
            topic.name,
            len(topic.partitions),
            sum(ends[key].offset == 0 for key in led if key.topic == topic.name),
            readers[topic.name],
            topic.is_internal,
        )
        for topic in health.cluster.topics.values()
    ]
    findings = diagnosis.partitions(uses, len(health.cluster.brokers))
    findings += await _retention(client, health)
    synchronized = machine.is_clock_synchronized() if _local_folders(health) else None
    return findings + diagnosis.clock(synchronized, newest_ms, int(time.time() * 1000))


async def _readers(client: Client) -> Counter[str]:
    """For each topic the most members that one group has reading it."""
    most: Counter[str] = Counter()
    for listed in await groups.list_groups(client):
        try:
            group = await groups.describe_group(client, listed.group)
        except ApiError:
            continue  # gone meanwhile, or of a kind that is described elsewhere
        now: Counter[str] = Counter()
        for member in group.members:
            now.update({partition.topic for partition in member.assignment})
        most |= now
    return most


async def _retention(client: Client, health: ClusterHealth) -> list[Finding]:
    bounded, unbounded = 0, []
    for topic in health.cluster.topics.values():
        if topic.is_internal:
            continue
        keys = ("cleanup.policy", "retention.bytes", "retention.ms")
        entries = await admin.describe_configs(client, admin.ResourceType.TOPIC, topic.name, keys)
        values = {entry.name: entry.value or "" for entry in entries}
        if "delete" not in values.get("cleanup.policy", "delete"):
            continue
        largest = int(values.get("retention.bytes") or -1)
        if largest >= 0:
            bounded += largest * len(topic.partitions)
        elif int(values.get("retention.ms") or -1) < 0:
            unbounded.append(topic.name)
    total = sum(folder.total for broker in health.brokers for folder in broker.log_dirs)
    return diagnosis.retention(total, bounded, unbounded)


def _local_folders(health: ClusterHealth) -> list[tuple[Path, int]]:
    """Data folders of brokers that run on this machine, and their processes."""
    return [
        (Path(folder.path), pid)
        for broker in health.brokers
        for folder in broker.log_dirs
        if (pid := machine.broker_pid(Path(folder.path))) is not None
    ]


def _machine(health: ClusterHealth) -> list[Finding]:
    found = []
    for folder, pid in _local_folders(health):
        times = machine.flush_times(folder)
        if times is not None:
            found.append(diagnosis.flushes(str(folder), times))
        files = machine.open_files(pid)
        if files is not None:
            found.append(diagnosis.files(files, health.partitions))
    return found
