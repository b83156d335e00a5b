"""``odradek produce``: standard input to a topic, one record per line."""

import asyncio
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import click

from odradek.cli.durations import DurationType
from odradek.cli.errors import NOT_FOUND, CommandError
from odradek.cli.jsonl import from_json
from odradek.cli.lines import read_lines
from odradek.cli.options import bootstrap_option, topic_argument, with_client
from odradek.cli.output import emit, note
from odradek.cli.progress import ProgressBar
from odradek.client.client import Client
from odradek.client.producer import Producer
from odradek.core.errors import ApiError, ErrorCode, OdradekError
from odradek.records.record import Headers, Record

if TYPE_CHECKING:
    from odradek.client.transaction import Transaction

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
_ACKS = {"0": 0, "1": 1, "all": -1}
_FROM_RECORD = -1


class Parsed(NamedTuple):
    """A record and the partition it wants (None: by its key)."""

    partition: int | None
    record: Record


Parser = Callable[[bytes], Parsed | None]


class PartitionType(click.ParamType[int]):
    """A partition number, or ``keep`` for the one that a JSON line names."""

    name = "partition"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "keep":
            return _FROM_RECORD
        if not value.isdecimal():
            self.fail(f"{value!r} is neither a partition number nor 'keep'", param, ctx)
        return int(value)


def _parse_headers(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> Headers:
    headers = []
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name:
            raise click.BadParameter(f"{text!r} is not NAME:VALUE", context, parameter)
        headers.append((name, value.encode()))
    return tuple(headers)


@click.command("produce")
@topic_argument()
@click.option(
    "-i", "--input", "input_", type=click.Choice(("lines", "jsonl")), default="lines", show_default=True
)
@click.option("-k", "--key-separator", metavar="TEXT", help="What parts key and value of a line.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    callback=_parse_headers,
    metavar="NAME:VALUE",
    help="Added to every record; may be repeated.",
)
@click.option("-z", "--compression", type=click.Choice(CODECS), default="none", show_default=True)
@click.option(
    "-p",
    "--partition",
    type=PartitionType(),
    metavar="N|keep",
    help="All to one partition, or each to the one its JSON line names.  [default: by key, as Java does]",
)
@click.option("-a", "--acks", type=click.Choice(tuple(_ACKS)), default="all", show_default=True)
@click.option(
    "--transactional-id",
    metavar="ID",
    help="Send everything in one transaction of this id: all of it, or nothing when it fails.",
)
@click.option(
    "--transaction-timeout",
    type=DurationType(),
    default=60_000,
    metavar="TIME",
    help="How long the transaction may take.  [default: 60s]",
)
@click.option("-Z", "--tombstones", is_flag=True, help="Send an empty value as null.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(("table", "json", "yaml")),
    default="table",
    help="How to print the summary.",
)
@bootstrap_option
def command(
    topic: str,
    input_: str,
    key_separator: str | None,
    headers: Headers,
    compression: str,
    partition: int | None,
    acks: str,
    transactional_id: str | None,
    transaction_timeout: int,
    tombstones: bool,
    output: str,
    bootstrap: str,
) -> None:
    """Send standard input to TOPIC, one record per line.

    With -i jsonl each line is an object with key, value, headers, timestamp and partition, all
    optional; that is what `odradek consume -o jsonl` writes.
    """
    if input_ == "jsonl":
        if key_separator is not None:
            raise click.UsageError("-k is for lines; a JSON line has its key beside its value.")
        parse: Parser = _json_parser(partition, headers)
    else:
        if partition == _FROM_RECORD:
            raise click.UsageError("-p keep needs -i jsonl: plain lines name no partition.")
        parse = _line_parser(key_separator, partition, headers)
    if transactional_id is not None and acks != "all":
        raise click.UsageError("--transactional-id needs --acks all.")
    if sys.stdin.isatty():
        note(f"Type records for {topic}, one per line; Ctrl-D ends.")
    started = time.monotonic()

    async def work(client: Client) -> int:
        transaction = None
        if transactional_id is not None:
            from odradek.client.transaction import Transaction

            transaction = Transaction(client, transactional_id, transaction_timeout)
        producer = Producer(
            client,
            topic,
            acks=_ACKS[acks],
            compression=CODECS.index(compression),
            transaction=transaction,
        )
        try:
            await producer.start()
        except ApiError as error:
            if error.code is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise
            raise CommandError(
                f"there is no topic {topic}, and the broker does not make topics by itself "
                "(auto.create.topics.enable)",
                f"`odradek topic create {topic}` makes it.",
                NOT_FOUND,
            ) from error
        sending = _send_all(producer, read_lines(sys.stdin.fileno()), parse, tombstones)
        await (sending if transaction is None else _in_transaction(transaction, sending))
        return producer.acknowledged

    count = with_client(bootstrap, work)
    seconds = time.monotonic() - started
    summary = {"topic": topic, "records": count, "seconds": round(seconds, 3)}
    if output != "table":
        emit(summary, output, list)
    elif sys.stderr.isatty():
        note(f"{count:,} records to {topic} in {seconds:.1f} s")


async def _in_transaction(transaction: "Transaction", sending: Awaitable[None]) -> None:
    """Commits what was sent, or aborts when anything fails or the user interrupts."""
    try:
        await sending
    except BaseException as error:
        with suppress(OdradekError):
            await transaction.end(commit=False)
        if isinstance(error, CommandError):
            error.fix = "Nothing was written: the transaction is aborted."
        raise
    await transaction.end(commit=True)


async def _send_all(
    producer: Producer,
    lines: AsyncIterator[list[bytes]],
    parse: Parser,
    tombstones: bool,
) -> None:
    bar = ProgressBar("sending", _input_bytes())
    read = number = 0
    try:
        async for chunk in lines:
            for line in chunk:
                number += 1
                read += len(line) + 1
                try:
                    parsed = parse(line)
                except ValueError as error:
                    await producer.flush()
                    raise CommandError(
                        f"line {number}: {error}",
                        f"The {producer.acknowledged:,} records before it were sent.",
                    ) from None
                if parsed is None:
                    continue
                partition, record = parsed
                value = None if tombstones and not record.value else record.value
                timestamp = record.timestamp if record.timestamp >= 0 else None
                await producer.send(value, record.key, record.headers, timestamp, partition)
            bar.update(read, f"{producer.acknowledged:,} records")
            await asyncio.sleep(0)
        await producer.flush()
    finally:
        bar.close()


def _line_parser(separator: str | None, partition: int | None, headers: Headers) -> Parser:
    if separator is None:
        return lambda line: Parsed(partition, Record(0, -1, None, line, headers))
    mark = (
        separator.encode().decode("unicode_escape").encode("latin-1")
        if "\\" in separator
        else separator.encode()
    )

    def parse(line: bytes) -> Parsed:
        key, found, value = line.partition(mark)
        if not found:
            raise ValueError(f"no key separator {separator!r} in it")
        return Parsed(partition, Record(0, -1, key, value, headers))

    return parse


def _json_parser(partition: int | None, headers: Headers) -> Parser:
    def parse(line: bytes) -> Parsed | None:
        if not line.strip():
            return None
        named, record = from_json(line)
        chosen = named if partition == _FROM_RECORD else partition
        return Parsed(chosen, record._replace(headers=record.headers + headers))

    return parse


def _input_bytes() -> int | None:
    """The size of standard input when it is a file."""
    status = os.fstat(sys.stdin.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None
