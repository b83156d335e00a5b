"""``odradek txn abort``: by transactional id through its coordinator, or in one partition past it."""

from typing import Any

import click

from odradek.cli import complete
from odradek.cli.errors import NOT_FOUND, CommandError
from odradek.cli.options import bootstrap_option, output_option, with_client, yes_option
from odradek.cli.output import confirm, emit, note
from odradek.cli.partitions import chosen_partitions
from odradek.client import transactions
from odradek.client.client import Client
from odradek.client.transactions import ProducerInfo
from odradek.core.ids import TopicPartition

Json = dict[str, Any]


@click.command("abort")
@click.argument("transactional_id", metavar="[ID]", required=False, shell_complete=complete.transactional_ids)
@click.option(
    "-p",
    "--partition",
    metavar="TOPIC:P",
    help="A hanging transaction in this partition, which `odradek txn find-hanging` shows.",
)
@click.option("--start-offset", type=click.IntRange(0), metavar="N", help="Where it begins there.")
@yes_option
@output_option
@bootstrap_option
def abort(
    transactional_id: str | None,
    partition: str | None,
    start_offset: int | None,
    yes: bool,
    output: str,
    bootstrap: str,
) -> None:
    """Abort the open transaction of a transactional id, or a hanging one in a partition.

    With ID the producer is shut out, too: whatever it sends from then on is refused. With --partition and
    --start-offset an abort marker is written to that partition alone, without asking the coordinator.
    """
    if (transactional_id is None) == (partition is None) or (partition is None) != (start_offset is None):
        raise click.UsageError("Say the transactional ID, or --partition TOPIC:P with --start-offset N.")

    async def work(client: Client) -> Json:
        if transactional_id is not None:
            return await _abort_id(client, transactional_id, yes)
        assert partition is not None
        assert start_offset is not None
        return await _abort_hanging(client, partition, start_offset, yes)

    done = with_client(bootstrap, work)
    if output != "table":
        emit(done, output, list)


async def _abort_id(client: Client, transactional_id: str, yes: bool) -> Json:
    info = await transactions.describe_transaction(client, transactional_id)
    if info.state != "Ongoing":
        raise CommandError(
            f"{transactional_id} has no open transaction: it is {info.state}",
            "`odradek txn find-hanging` finds what is open in a partition all the same.",
        )
    confirm(f"Abort the transaction of {transactional_id} and shut its producer out?", yes)
    producer_id, epoch = await transactions.init_producer(client, transactional_id, info.timeout_ms)
    note(f"{transactional_id}: aborted, producer epoch is {epoch} now")
    return {
        "transactional_id": transactional_id,
        "producer_id": producer_id,
        "producer_epoch": epoch,
        "aborted": True,
    }


async def _abort_hanging(client: Client, text: str, start_offset: int, yes: bool) -> Json:
    chosen = await chosen_partitions(client, text)
    if len(chosen) != 1:
        raise click.UsageError(f"{text!r} names {len(chosen)} partitions; one is aborted at a time")
    (key,) = chosen
    producer = await _producer_at(client, key, start_offset)
    confirm(f"Abort the transaction of producer id {producer.producer_id} in {key}?", yes)
    await transactions.abort_at_partition(client, key, producer)
    note(f"{key}: the transaction of producer id {producer.producer_id} is aborted")
    return {
        **key._asdict(),
        "start_offset": start_offset,
        "producer_id": producer.producer_id,
        "producer_epoch": producer.producer_epoch,
        "aborted": True,
    }


async def _producer_at(client: Client, key: TopicPartition, start_offset: int) -> ProducerInfo:
    producers = (await transactions.describe_producers(client, [key]))[key]
    for producer in producers:
        if producer.start_offset == start_offset:
            return producer
    begins = ", ".join(str(producer.start_offset) for producer in producers if producer.start_offset >= 0)
    raise CommandError(
        f"no open transaction begins at offset {start_offset} of {key}",
        f"Open ones begin at: {begins}." if begins else "None is open there (any more).",
        NOT_FOUND,
    )
