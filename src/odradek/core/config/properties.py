"""Java ``.properties`` text, the form of Kafka's ``server.properties``, → names and values.

Source: ``java.util.Properties.load``: ``#`` and ``!`` start comments, ``=``, ``:`` or white space separate,
``\\`` at a line's end continues it, and escapes work in names and values.
"""

from typing import NamedTuple

from odradek.core.config.values import ConfigError

_SPACE = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Property(NamedTuple):
    """One line that says something; ``line`` counts from 1."""

    name: str
    value: str
    line: int


def read_properties(text: str) -> list[Property]:
    """All properties in order, repeated names included. Raises :class:`ConfigError` on a bad ``\\u``."""
    found = []
    for number, line in _logical_lines(text):
        name, value = _split(line)
        found.append(Property(_unescape(name, number), _unescape(value, number), number))
    return found


def _logical_lines(text: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    pending, started = "", 0
    for number, natural in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        stripped = natural.lstrip(_SPACE)
        if not pending and (not stripped or stripped[0] in "#!"):
            continue
        started = started if pending else number
        if _ends_with_continuation(stripped):
            pending += stripped[:-1] or " "
            continue
        lines.append((started, (pending + stripped).lstrip(_SPACE)))
        pending = ""
    if pending.strip(_SPACE):
        lines.append((started, pending.lstrip(_SPACE)))
    return [(number, line) for number, line in lines if line]


def _ends_with_continuation(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _split(line: str) -> tuple[str, str]:
    """Name and value, still escaped."""
    position = 0
    while position < len(line) and line[position] not in "=:" + _SPACE:
        position += 2 if line[position] == "\\" else 1
    name = line[:position]
    rest = line[position:].lstrip(_SPACE)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_SPACE)
    return name, rest


def _unescape(text: str, line: int) -> str:
    if "\\" not in text:
        return text
    pieces = []
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character != "\\" or position == len(text):
            pieces.append(character if character != "\\" else "")
            continue
        escaped = text[position]
        position += 1
        if escaped != "u":
            pieces.append(_ESCAPES.get(escaped, escaped))
            continue
        try:
            pieces.append(chr(int(text[position : position + 4].ljust(4, "x"), 16)))
        except ValueError:
            raise ConfigError(f"line {line}: \\u must be followed by four hexadecimal digits") from None
        position += 4
    return "".join(pieces)
