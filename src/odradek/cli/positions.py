"""The little language for places in a log: ``--from``, ``--until`` and ``group reset --to``.

====================  =============================================================
``start``, ``end``    the first record, or the one that will be written next
``47``                offset 47
``+10``               10 records after the start
``-10``               10 records before the end
``@1h``               the first record of the last hour (``ms s m h d w``)
``@2026-01-31T09:30`` the first record since then; local time unless it names a zone
``@1767225600000``    the same in milliseconds since 1970 (13 digits) or seconds (10)
====================  =============================================================
"""

import re
import time
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import click

from odradek.cli.durations import UNIT_MS
from odradek.client.client import Client
from odradek.client.offsets import EARLIEST, LATEST, Isolation, list_offsets
from odradek.core.ids import TopicPartition


class Anchor(Enum):
    """What a position is counted from."""

    START = "start"
    END = "end"
    OFFSET = "offset"
    TIME = "time"


class Position(NamedTuple):
    """A place in a partition; ``amount`` is an offset, a distance, or milliseconds since the epoch."""

    anchor: Anchor
    amount: int = 0


PLACES = "start, end, 47, +10 (after the start), -10 (before the end), @1h, @2026-01-31T09:30"
"""What a position can look like, for help texts."""

START = Position(Anchor.START)
END = Position(Anchor.END)


def parse_position(text: str, now_ms: int) -> Position:
    """Read one place; raises ``ValueError`` with what is allowed."""
    if text in ("start", "earliest", "beginning"):
        return START
    if text in ("end", "latest"):
        return END
    if text.startswith("@"):
        return Position(Anchor.TIME, parse_time(text[1:], now_ms))
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        if text[0] == "+":
            return Position(Anchor.START, int(text))
        if text[0] == "-":
            return Position(Anchor.END, int(text))
        return Position(Anchor.OFFSET, int(text))
    raise ValueError(
        f"{text!r} is no place in a log: say start, end, an offset like 47, +10 (after the start), "
        "-10 (before the end), or a time like @1h or @2026-01-31T09:30"
    )


def parse_time(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch for ``1h`` (that long ago), 10 or 13 digits, or an ISO date and time."""
    ago = re.fullmatch(r"-?(\d{1,12})(ms|s|m|h|d|w)", text)
    if ago:
        return max(0, now_ms - int(ago[1]) * UNIT_MS[ago[2]])
    if re.fullmatch(r"\d{13}", text):
        return int(text)
    if re.fullmatch(r"\d{10}", text):
        return int(text) * 1000
    from datetime import datetime

    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: say how long ago (90s, 15m, 1h, 7d), a date and time "
            "(2026-01-31, 2026-01-31T09:30, 2026-01-31T09:30+01:00) or milliseconds since 1970 (13 digits)"
        ) from None


class PositionType(click.ParamType[Position]):
    """A command line option that takes a position."""

    name = "place"

    def convert(
        self, value: str | Position, param: click.Parameter | None, ctx: click.Context | None
    ) -> Position:
        if isinstance(value, Position):
            return value
        try:
            return parse_position(value, time.time_ns() // 1_000_000)
        except ValueError as error:
            self.fail(str(error), param, ctx)


async def resolve_positions(
    client: Client,
    positions: Mapping[TopicPartition, Position],
    isolation: Isolation = Isolation.READ_UNCOMMITTED,
) -> dict[TopicPartition, int]:
    """The offset of each position, kept between the first offset and the end of its partition.

    A time after the last record is the end; for READ_COMMITTED the end is the last stable offset.
    """
    partitions = list(positions)
    starts = await list_offsets(client, dict.fromkeys(partitions, EARLIEST))
    ends = await list_offsets(client, dict.fromkeys(partitions, LATEST), isolation)
    times = {
        partition: position.amount
        for partition, position in positions.items()
        if position.anchor is Anchor.TIME
    }
    found = await list_offsets(client, times, isolation) if times else {}
    resolved = {}
    for partition, (anchor, amount) in positions.items():
        start, end = starts[partition].offset, ends[partition].offset
        if anchor is Anchor.TIME:
            offset = found[partition].offset
            resolved[partition] = end if offset < 0 else offset
            continue
        base = {Anchor.START: start, Anchor.END: end, Anchor.OFFSET: 0}[anchor]
        resolved[partition] = min(max(base + amount, start), end)
    return resolved
