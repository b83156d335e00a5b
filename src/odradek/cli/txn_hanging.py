"""``odradek txn find-hanging``: open transactions that no coordinator will ever end."""

import time
from typing import Any

import click

from odradek.cli import complete
from odradek.cli.durations import DurationType, duration_text
from odradek.cli.options import bootstrap_option, output_option, with_client
from odradek.cli.output import Table, emit, note
from odradek.cli.partitions import chosen_partitions
from odradek.client.client import Client
from odradek.client.transactions import HangingTransaction
from odradek.client.transactions import find_hanging as find
from odradek.core.ids import TopicPartition

Json = dict[str, Any]

_OLDEST_MS = 15 * 60_000


@click.command("find-hanging")
@click.option(
    "-t",
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC[:P,P]",
    shell_complete=complete.topics,
    help="Only look here (default: everywhere); may be repeated.",
)
@click.option(
    "--older-than",
    type=DurationType(),
    default=_OLDEST_MS,
    metavar="TIME",
    help="How long nothing was written in it; no less than transaction.max.timeout.ms.  [default: 15m]",
)
@output_option
@bootstrap_option
def find_hanging(topics: tuple[str, ...], older_than: int, output: str, bootstrap: str) -> None:
    """Find transactions that hold up read_committed readers for ever.

    Such a transaction is open in a partition while its coordinator does not know of it (any more).
    """
    now_ms = time.time_ns() // 1_000_000

    async def work(client: Client) -> list[HangingTransaction]:
        if topics:
            partitions = [key for text in topics for key in await chosen_partitions(client, text)]
        else:
            found = (await client.cluster()).topics.values()
            partitions = [TopicPartition(t.name, p.partition) for t in found for p in t.partitions]
        return await find(client, partitions, now_ms - older_than)

    hanging = with_client(bootstrap, work)
    emit([_as_json(one, now_ms) for one in hanging], output, lambda: [_table(hanging, now_ms)])
    if output == "table":
        for (topic, partition), producer, _ in hanging:
            note(f"odradek txn abort --partition {topic}:{partition} --start-offset {producer.start_offset}")
        if not hanging:
            note("No transaction hangs.")


def _as_json(one: HangingTransaction, now_ms: int) -> Json:
    producer = one.producer
    return {
        **one.partition._asdict(),
        "start_offset": producer.start_offset,
        "producer_id": producer.producer_id,
        "producer_epoch": producer.producer_epoch,
        "coordinator_epoch": producer.coordinator_epoch,
        "last_timestamp": producer.last_timestamp,
        "idle_seconds": (now_ms - producer.last_timestamp) / 1000,
        "transactional_id": one.transactional_id,
    }


def _table(hanging: list[HangingTransaction], now_ms: int) -> Table:
    rows = [
        (
            key.topic,
            key.partition,
            producer.start_offset,
            producer.producer_id,
            producer.producer_epoch,
            duration_text(now_ms - producer.last_timestamp),
            transactional_id,
        )
        for key, producer, transactional_id in hanging
    ]
    columns = ("topic", "partition", "start offset", "producer id", "epoch", "idle for", "transactional id")
    return Table(columns, rows)
