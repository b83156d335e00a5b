"""``odradek txn``: transactions of the whole cluster, and ending those whose producer is gone."""

import time
from typing import Any

import click

from odradek.cli import complete
from odradek.cli.durations import DurationType, duration_text
from odradek.cli.naming import AliasGroup
from odradek.cli.options import bootstrap_option, output_option, with_client
from odradek.cli.output import Table, emit, note
from odradek.cli.txn_abort import abort
from odradek.cli.txn_hanging import find_hanging
from odradek.client import transactions
from odradek.client.client import Client
from odradek.client.transactions import TransactionInfo, TransactionListing

Json = dict[str, Any]

_STATES = (
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "PrepareEpochFence",
    "Dead",
)


@click.group(cls=AliasGroup)
def command() -> None:
    """List, describe and abort transactions; find hanging ones."""


command.add_command(abort)
command.add_command(find_hanging)


@command.command("list")
@click.option(
    "-s",
    "--state",
    "states",
    type=click.Choice(_STATES, case_sensitive=False),
    multiple=True,
    help="Only transactional ids in this state; may be repeated.",
)
@click.option(
    "--running-for",
    type=DurationType(),
    metavar="TIME",
    help="Only transactions that are open for longer, like 15m (brokers of Kafka 3.8 or later).",
)
@click.option(
    "-r",
    "--regex",
    metavar="PATTERN",
    help="Only transactional ids that match as a whole (RE2; brokers of Kafka 4.1 or later).",
)
@output_option
@bootstrap_option
def list_(
    states: tuple[str, ...], running_for: int | None, regex: str | None, output: str, bootstrap: str
) -> None:
    """List transactional ids (also: ls)."""

    async def work(client: Client) -> list[TransactionListing]:
        duration_ms = -1 if running_for is None else running_for
        return await transactions.list_transactions(
            client, states=states, running_for_ms=duration_ms, pattern=regex
        )

    found = with_client(bootstrap, work)
    emit(
        [listing._asdict() for listing in found],
        output,
        lambda: [Table(("transactional id", "state", "producer id", "coordinator"), found)],
    )
    if not found and output == "table":
        is_filtered = states or regex or running_for is not None
        note("No transaction is like that." if is_filtered else "No transactional producer was here yet.")


@command.command("describe")
@click.argument(
    "transactional_ids",
    metavar="ID...",
    nargs=-1,
    required=True,
    shell_complete=complete.transactional_ids,
)
@output_option
@bootstrap_option
def describe(transactional_ids: tuple[str, ...], output: str, bootstrap: str) -> None:
    """Show the state of transactional ids, and the partitions of what is open."""

    async def work(client: Client) -> list[TransactionInfo]:
        return [await transactions.describe_transaction(client, name) for name in transactional_ids]

    found = with_client(bootstrap, work)
    now_ms = time.time_ns() // 1_000_000
    emit([_described(info, now_ms) for info in found], output, lambda: [_table(found, now_ms)])


def _described(info: TransactionInfo, now_ms: int) -> Json:
    is_open = info.started_ms >= 0
    return {
        "transactional_id": info.transactional_id,
        "state": info.state,
        "producer_id": info.producer_id,
        "producer_epoch": info.producer_epoch,
        "timeout_ms": info.timeout_ms,
        "started": info.started_ms if is_open else None,
        "open_seconds": max(0, now_ms - info.started_ms) / 1000 if is_open else None,
        "coordinator": info.coordinator,
        "partitions": [key._asdict() for key in sorted(info.partitions)],
    }


def _table(found: list[TransactionInfo], now_ms: int) -> Table:
    rows = [
        (
            info.transactional_id,
            info.state,
            info.producer_id,
            info.producer_epoch,
            duration_text(info.timeout_ms),
            duration_text(max(0, now_ms - info.started_ms)) if info.started_ms >= 0 else None,
            " ".join(map(str, sorted(info.partitions))),
        )
        for info in found
    ]
    columns = ("transactional id", "state", "producer id", "epoch", "timeout", "open for", "partitions")
    return Table(columns, rows)


@command.command("producers")
@click.argument("topic", metavar="TOPIC[:P,P]", shell_complete=complete.topics)
@output_option
@bootstrap_option
def producers(topic: str, output: str, bootstrap: str) -> None:
    """Show the active producers of partitions, and where they have a transaction open."""
    from odradek.cli.partitions import chosen_partitions

    async def work(client: Client) -> list[Json]:
        found = await transactions.describe_producers(client, await chosen_partitions(client, topic))
        return [
            {
                **key._asdict(),
                "producer_id": producer.producer_id,
                "producer_epoch": producer.producer_epoch,
                "last_sequence": producer.last_sequence,
                "last_timestamp": producer.last_timestamp,
                "coordinator_epoch": producer.coordinator_epoch,
                "start_offset": producer.start_offset if producer.start_offset >= 0 else None,
            }
            for key, its in sorted(found.items())
            for producer in sorted(its)
        ]

    active = with_client(bootstrap, work)
    columns = (
        "partition",
        "producer_id",
        "producer_epoch",
        "last_sequence",
        "last_timestamp",
        "coordinator_epoch",
        "start_offset",
    )
    titles = [column.replace("_", " ") for column in columns]
    emit(active, output, lambda: [Table(titles, [[one[name] for name in columns] for one in active], topic)])
    if not active and output == "table":
        note("No producer with an id wrote here lately.")
