"""``odradek topic``: create, list, describe, alter, delete."""

import re
from typing import Any

import click

from odradek.cli.errors import USAGE, CommandError
from odradek.cli.naming import AliasGroup
from odradek.cli.options import (
    bootstrap_option,
    key_values,
    output_option,
    topic_argument,
    with_client,
    yes_option,
)
from odradek.cli.output import Table, confirm, emit, note, warn
from odradek.client import admin
from odradek.client.client import Client, TopicInfo
from odradek.client.offsets import EARLIEST, LATEST, list_offsets
from odradek.core.ids import TopicPartition, id_text

MANY_PARTITIONS = 32
"""More than this per broker is warned about."""

Json = dict[str, Any]


@click.group(cls=AliasGroup)
def command() -> None:
    """Create, list, describe, alter and delete topics."""


@command.command("create")
@topic_argument(many=True)
@click.option(
    "-p", "--partitions", type=click.IntRange(1), help="How many (default: the broker's num.partitions)."
)
@click.option(
    "-r", "--replication-factor", type=click.IntRange(1), help="Copies of each (default: the broker's)."
)
@click.option(
    "-c",
    "--config",
    "configs",
    multiple=True,
    callback=key_values,
    metavar="KEY=VALUE",
    help="May be repeated.",
)
@click.option("--if-not-exists", is_flag=True, help="Be content when it is there already.")
@click.option("--dry-run", is_flag=True, help="Only check whether it could be created.")
@output_option
@bootstrap_option
def create(
    topics: tuple[str, ...],
    partitions: int | None,
    replication_factor: int | None,
    configs: dict[str, str],
    if_not_exists: bool,
    dry_run: bool,
    output: str,
    bootstrap: str,
) -> None:
    """Create topics."""

    async def work(client: Client) -> list[Json]:
        brokers = len((await client.cluster([])).brokers)
        if partitions and partitions > MANY_PARTITIONS * brokers:
            warn(partition_cost(partitions, brokers))
        existing = (await client.cluster()).topics if if_not_exists else {}
        return [await _create_one(client, name, existing) for name in topics]

    async def _create_one(client: Client, name: str, existing: dict[str, TopicInfo]) -> Json:
        if name in existing:
            return _created(existing[name].name, existing[name].topic_id, existing[name].partitions, False)
        made = await admin.create_topic(
            client,
            name,
            partitions=partitions or -1,
            replication_factor=replication_factor or -1,
            configs=configs,
            validate_only=dry_run,
        )
        return {
            "name": name,
            "id": id_text(made.topic_id),
            "partitions": made.partition_count,
            "replication_factor": made.replication_factor,
            "created": not dry_run,
        }

    created = with_client(bootstrap, work)
    emit(created, output, lambda: [_created_table(created)])


def partition_cost(partitions: int, brokers: int) -> str:
    """Why ``partitions`` are too many for a topic on so many brokers."""
    where = "one broker" if brokers == 1 else f"{brokers} brokers"
    return (
        f"{partitions} partitions on {where}: a partition is the unit of parallel reading, so having "
        "more of them than consumers in one group serves no purpose, and it does not make a broker faster. "
        "Each costs an open file, a share of every flush that acks=all waits for, time at a start after a "
        f"crash, and smaller batches from every producer. Up to {MANY_PARTITIONS} per broker "
        "is plenty; partitions can be added later, but never taken away."
    )


def _created(name: str, topic_id: bytes, partitions: list[Any], created: bool) -> Json:
    return {
        "name": name,
        "id": id_text(topic_id),
        "partitions": len(partitions),
        "replication_factor": max((len(partition.replicas) for partition in partitions), default=0),
        "created": created,
    }


def _created_table(created: list[Json]) -> Table:
    rows = [
        (t["name"], t["partitions"], t["replication_factor"], "yes" if t["created"] else "no")
        for t in created
    ]
    return Table(("topic", "partitions", "replicas", "created"), rows)


@command.command("list")
@click.option("-r", "--regex", metavar="REGEX", help="Only topics whose whole name matches.")
@click.option("--internal", is_flag=True, help="Internal topics too.")
@output_option
@bootstrap_option
def list_(regex: str | None, internal: bool, output: str, bootstrap: str) -> None:
    """List topics (also: ls)."""
    try:
        wanted = re.compile(regex or "")
    except re.error as error:
        raise CommandError(f"{regex!r} is no regular expression: {error}", exit_code=USAGE) from None

    async def work(client: Client) -> list[Json]:
        topics = (await client.cluster()).topics.values()
        return [
            {
                "name": topic.name,
                "id": id_text(topic.topic_id),
                "partitions": len(topic.partitions),
                "replication_factor": max((len(p.replicas) for p in topic.partitions), default=0),
                "internal": topic.is_internal,
            }
            for topic in sorted(topics)
            if (internal or not topic.is_internal) and (regex is None or wanted.fullmatch(topic.name))
        ]

    topics = with_client(bootstrap, work)
    rows = [(topic["name"], topic["partitions"], topic["replication_factor"]) for topic in topics]
    emit(topics, output, lambda: [Table(("topic", "partitions", "replicas"), rows)])
    if not topics and output == "table":
        note("There is no topic yet: `odradek topic create NAME` makes one.")


@command.command("describe")
@topic_argument(many=True)
@output_option
@bootstrap_option
def describe(topics: tuple[str, ...], output: str, bootstrap: str) -> None:
    """Show partitions, offsets and configs that differ from the defaults."""

    async def work(client: Client) -> list[Json]:
        return [await _describe_one(client, topic) for topic in await client.topics(topics)]

    described = with_client(bootstrap, work)
    emit(described, output, lambda: [table for topic in described for table in _describe_tables(topic)])


async def _describe_one(client: Client, topic: TopicInfo) -> Json:
    keys = [TopicPartition(topic.name, partition.partition) for partition in topic.partitions]
    online = [key for key, partition in zip(keys, topic.partitions, strict=True) if partition.leader >= 0]
    starts = await list_offsets(client, dict.fromkeys(online, EARLIEST))
    ends = await list_offsets(client, dict.fromkeys(online, LATEST))
    configs = await admin.describe_configs(client, admin.ResourceType.TOPIC, topic.name)
    return {
        "name": topic.name,
        "id": id_text(topic.topic_id),
        "internal": topic.is_internal,
        "partitions": [
            {
                "partition": partition.partition,
                "leader": partition.leader,
                "leader_epoch": partition.leader_epoch,
                "replicas": partition.replicas,
                "in_sync": partition.in_sync,
                "start": starts[key].offset if key in starts else None,
                "end": ends[key].offset if key in ends else None,
            }
            for key, partition in zip(keys, topic.partitions, strict=True)
        ],
        "configs": {
            entry.name: {"value": entry.value, "source": entry.source}
            for entry in configs
            if entry.source != "default"
        },
    }


def _describe_tables(topic: Json) -> list[Table]:
    internal = ", internal" if topic["internal"] else ""
    partitions = Table(
        ("partition", "leader", "epoch", "replicas", "in sync", "start", "end", "records"),
        [
            (
                p["partition"],
                p["leader"],
                p["leader_epoch"],
                ",".join(map(str, p["replicas"])),
                ",".join(map(str, p["in_sync"])),
                p["start"],
                p["end"],
                None if p["end"] is None else p["end"] - p["start"],
            )
            for p in topic["partitions"]
        ],
        f"{topic['name']}  ({topic['id']}{internal})",
    )
    configs = [(key, config["value"], config["source"]) for key, config in topic["configs"].items()]
    return [partitions, Table(("config", "value", "source"), configs)] if configs else [partitions]


@command.command("alter")
@topic_argument()
@click.option("-p", "--partitions", type=click.IntRange(1), help="Raise the number of partitions to this.")
@click.option(
    "-s", "--set", "configs", multiple=True, callback=key_values, metavar="KEY=VALUE", help="May be repeated."
)
@click.option("-u", "--unset", multiple=True, metavar="KEY", help="Back to the default; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Only check whether it could be done.")
@output_option
@bootstrap_option
def alter(
    topic: str,
    partitions: int | None,
    configs: dict[str, str],
    unset: tuple[str, ...],
    dry_run: bool,
    output: str,
    bootstrap: str,
) -> None:
    """Add partitions, change configs."""
    changes: dict[str, str | None] = {**configs, **dict.fromkeys(unset)}
    if not changes and partitions is None:
        raise click.UsageError("Nothing to change: give --partitions, --set or --unset.")

    async def work(client: Client) -> None:
        if partitions is not None:
            found = await client.cluster([topic])
            if partitions > MANY_PARTITIONS * len(found.brokers):
                warn(partition_cost(partitions, len(found.brokers)))
            await admin.create_partitions(client, topic, partitions, validate_only=dry_run)
        if changes:
            await admin.alter_configs(client, admin.ResourceType.TOPIC, topic, changes, validate_only=dry_run)

    with_client(bootstrap, work)
    if output == "table":
        note(f"{topic}: {'could be changed' if dry_run else 'changed'}")
    else:
        done = {"name": topic, "partitions": partitions, "configs": changes, "changed": not dry_run}
        emit(done, output, list)


@command.command("delete")
@topic_argument(many=True)
@yes_option
@output_option
@bootstrap_option
def delete(topics: tuple[str, ...], yes: bool, output: str, bootstrap: str) -> None:
    """Delete topics and all their records (also: rm)."""
    what = topics[0] if len(topics) == 1 else f"{len(topics)} topics ({', '.join(topics)})"
    confirm(f"Delete {what} and every record in it?", yes)

    async def work(client: Client) -> None:
        for name in topics:
            await admin.delete_topic(client, name)
            note(f"{name}: deleted")

    with_client(bootstrap, work)
    if output != "table":
        emit([{"name": name, "deleted": True} for name in topics], output, list)
