"""``odradek consume``: the records of a topic to standard output, alone or as a member of a group."""

import sys
import time

import click

from odradek.cli import complete
from odradek.cli.errors import NOT_FOUND, CommandError
from odradek.cli.options import bootstrap_option, isolation_option, topic_argument, with_client
from odradek.cli.positions import END, PLACES, START, Anchor, Position, PositionType, resolve_positions
from odradek.cli.record_output import STREAM_OUTPUTS, RecordWriter, make_writer
from odradek.cli.template import compile_template
from odradek.client.client import Client
from odradek.client.fetcher import Fetched, Fetcher
from odradek.client.group_consumer import GroupConsumer
from odradek.client.offsets import EARLIEST, LATEST, Isolation
from odradek.core.ids import TopicPartition

_WAIT_MS = 500
_COMMIT_EVERY_S = 1.0
_END_OF_TIME = 2**63 - 1


@click.command("consume")
@topic_argument()
@click.option(
    "-s",
    "--from",
    "start",
    type=PositionType(),
    metavar="PLACE",
    help=f"{PLACES}.  [default: start]",
)
@click.option("-u", "--until", type=PositionType(), metavar="PLACE", help="Stop there, in the same words.")
@click.option("-e", "--until-end", is_flag=True, help="Stop at what is the end now; short for --until end.")
@click.option("-n", "--max-records", type=click.IntRange(1), metavar="N", help="Stop after N records.")
@click.option(
    "-g",
    "--group",
    metavar="GROUP",
    shell_complete=complete.groups,
    help="Read as a member of this group, from its committed offsets on, and commit.",
)
@click.option("-p", "--partition", "partitions", type=click.IntRange(0), multiple=True, help="Only these.")
@click.option(
    "-f",
    "--format",
    "format_",
    metavar="FORMAT",
    help=r"Like '%o %k=%v\n': %t topic, %p partition, %o offset, %k key, %v value, %h headers, %T ms.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(STREAM_OUTPUTS),
    default="value",
    show_default=True,
    help="How to print; jsonl can be given back to produce -i jsonl.",
)
@isolation_option
@bootstrap_option
def command(
    topic: str,
    start: Position | None,
    until: Position | None,
    until_end: bool,
    max_records: int | None,
    group: str | None,
    partitions: tuple[int, ...],
    format_: str | None,
    output: str,
    isolation: str,
    bootstrap: str,
) -> None:
    """Print the records of TOPIC; goes on as they come unless -e, -u or -n says where to stop."""
    if until_end:
        until = END
    if group is not None:
        if partitions:
            raise click.UsageError("-g shares the partitions out by itself; leave -p out.")
        if start is not None and start not in (START, END):
            raise click.UsageError(
                "With -g reading begins at the committed offsets, which `odradek group reset` moves; "
                "--from start or end says where when there are none."
            )
    try:
        template = compile_template(format_) if format_ is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="-f") from None
    writer = make_writer(sys.stdout.buffer, output, template)
    seen = Isolation[isolation.upper()]

    async def work(client: Client) -> None:
        try:
            if group is None:
                await _read_alone(client, topic, partitions, start or START, until, max_records, seen, writer)
            else:
                await _read_in_group(client, group, topic, start or START, until, max_records, seen, writer)
        finally:
            writer.close()

    with_client(bootstrap, work)


async def _partitions(client: Client, topic: str, wanted: tuple[int, ...]) -> list[TopicPartition]:
    (found,) = await client.topics([topic])
    for partition in wanted:
        if partition >= len(found.partitions):
            raise CommandError(
                f"topic {topic} has {len(found.partitions)} partitions, there is no {partition}",
                exit_code=NOT_FOUND,
            )
    return [
        TopicPartition(topic, partition.partition)
        for partition in found.partitions
        if not wanted or partition.partition in wanted
    ]


async def _read_alone(
    client: Client,
    topic: str,
    wanted: tuple[int, ...],
    start: Position,
    until: Position | None,
    max_records: int | None,
    isolation: Isolation,
    writer: RecordWriter,
) -> None:
    partitions = await _partitions(client, topic, wanted)
    positions = await resolve_positions(client, dict.fromkeys(partitions, start), isolation)
    ends = dict.fromkeys(partitions, _END_OF_TIME)
    if until is not None:
        ends = await _resolve_ends(client, partitions, until, isolation)
    wanted_positions = {key: offset for key, offset in positions.items() if offset < ends[key]}
    fetcher = Fetcher(client, wanted_positions, isolation=isolation)
    left = max_records if max_records is not None else _END_OF_TIME
    try:
        while fetcher.positions and left:
            for fetched in await fetcher.poll(_WAIT_MS):
                left -= _write(fetched, ends[fetched.partition], left, writer)
            fetcher.drop([key for key, offset in fetcher.positions.items() if offset >= ends[key]])
            writer.flush()
    finally:
        fetcher.close()


async def _resolve_ends(
    client: Client, partitions: list[TopicPartition], until: Position, isolation: Isolation
) -> dict[TopicPartition, int]:
    """Where to stop in each partition; an offset that is still to come is waited for."""
    if until.anchor is Anchor.OFFSET:
        return dict.fromkeys(partitions, until.amount)
    return await resolve_positions(client, dict.fromkeys(partitions, until), isolation)


async def _read_in_group(
    client: Client,
    group: str,
    topic: str,
    start: Position,
    until: Position | None,
    max_records: int | None,
    isolation: Isolation,
    writer: RecordWriter,
) -> None:
    partitions = await _partitions(client, topic, ())
    ends = await _resolve_ends(client, partitions, until, isolation) if until is not None else {}
    left = max_records if max_records is not None else _END_OF_TIME
    reset = LATEST if start == END else EARLIEST
    next_commit = time.monotonic() + _COMMIT_EVERY_S
    async with GroupConsumer(client, group, [topic], reset=reset, isolation=isolation) as consumer:
        while left:
            await consumer.join()
            if ends and all(offset >= ends[key] for key, offset in consumer.positions.items()):
                return
            for fetched in await consumer.poll(_WAIT_MS):
                end = ends.get(fetched.partition, _END_OF_TIME)
                count = _write(fetched, end, left, writer)
                left -= count
                if count == len(fetched.records):
                    consumer.mark(fetched.partition, fetched.next_offset)
                elif count:
                    consumer.mark(fetched.partition, fetched.records[count - 1].offset + 1)
            writer.flush()
            if time.monotonic() >= next_commit:
                await consumer.commit()
                next_commit = time.monotonic() + _COMMIT_EVERY_S


def _write(fetched: Fetched, end: int, left: int, writer: RecordWriter) -> int:
    """Print the records before ``end``, at most ``left``; returns how many."""
    count = 0
    for record in fetched.records:
        if record.offset >= end or count >= left:
            break
        writer.write(fetched.partition, record)
        count += 1
    return count
