"""Lengths of time on the command line: ``90s``, ``15m``, ``1h``, ``7d``."""

import re

import click

UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}

_SHOWN = tuple(((large, UNIT_MS[large]), (small, UNIT_MS[small])) for large, small in ("dh", "hm", "ms"))


def parse_duration(text: str) -> int:
    """Milliseconds; raises ``ValueError`` with what is allowed."""
    found = re.fullmatch(r"(\d{1,12})(ms|s|m|h|d|w)", text)
    if found is None:
        raise ValueError(f"{text!r} is no length of time: say a number and a unit, like 90s, 15m, 1h or 7d")
    return int(found[1]) * UNIT_MS[found[2]]


def duration_text(length_ms: float) -> str:
    """At most two units, like ``2d 3h``, ``4m 10s`` or ``250ms``."""
    whole_ms = round(length_ms)
    for (unit, unit_ms), (smaller, smaller_ms) in _SHOWN:
        if whole_ms >= unit_ms:
            count, rest = divmod(whole_ms, unit_ms)
            more = rest // smaller_ms
            return f"{count}{unit} {more}{smaller}" if more else f"{count}{unit}"
    return f"{whole_ms // 1000}s" if whole_ms >= 1000 else f"{whole_ms}ms"


class DurationType(click.ParamType[int]):
    """A command line option that takes a length of time, in milliseconds."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
