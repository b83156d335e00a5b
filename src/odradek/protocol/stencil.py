"""Where numbers lie in the bytes of a message, found by encoding it twice.

A client in a loop sends the same bytes again and again, with one or two numbers changed, and gets answers
that differ as little. Who knows where those numbers lie can read and write such messages with one ``struct``
call. Nothing here knows the layout of any message: the generated encoder is asked.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from odradek.protocol.primitives import COPY_BELOW, Message, Value

HEAD_BYTES = 8
"""API key, version and correlation id: what every request begins with."""
_CODES = {2: "h", 4: "i", 8: "q"}
CORRELATED_BYTES = 8
"""Size and correlation id: what every answer begins with."""
Field = tuple[Value, str]
"""The struct that holds a fixed-width integer, and the integer's name."""


class Stencil(NamedTuple):
    """Bytes in which some numbers vary: a ``struct`` layout, byte order left out, and what never changes.

    ``fixed`` are the constant runs of bytes, for the ``s`` codes of ``layout`` in their order.
    """

    layout: str
    fixed: tuple[bytes, ...]


def encoded(message: Message, version: int) -> bytes:
    """All bytes of ``message``."""
    parts: list[Any] = []
    message.encode(parts, version)
    return b"".join(parts)


def around_records(message: Message, version: int, holder: Value) -> tuple[bytes, bytes]:
    """The bytes before and after the records of ``holder`` and their length, which are left out."""
    records, holder.records = holder.records, bytes(COPY_BELOW)  # type: ignore[attr-defined]
    try:
        parts: list[Any] = []
        message.encode(parts, version)
    finally:
        holder.records = records  # type: ignore[attr-defined]
    before, _, after = parts  # records of that size are never copied into the message
    length_bytes = 2 if version >= message.FIRST_FLEXIBLE_VERSION else 4
    return bytes(before[:-length_bytes]), bytes(after)


def request_stencil(frame: memoryview, request: Message, version: int, *fields: Field) -> Stencil | None:
    """The stencil of ``frame``, from HEAD_BYTES on, whose body is ``request``; also None when it is
    well-formed but not as our encoder writes it."""
    body = encoded(request, version)
    header = bytes(frame[HEAD_BYTES : len(frame) - len(body)])
    if header + body != frame[HEAD_BYTES:]:
        return None
    return stencil(lambda: header + encoded(request, version), *fields)


def stencil(encode: Callable[[], bytes], *fields: Field) -> Stencil | None:
    """The stencil of what ``encode`` returns, with ``fields`` as its numbers, in the order of the bytes.

    None when one of them is not in those bytes (a version may lack it).
    """
    content = encode()
    layout, fixed, position = "", [], 0
    for holder, name in fields:
        value = getattr(holder, name)
        setattr(holder, name, ~value)  # every bit changes, so every byte does
        try:
            other = encode()
        finally:
            setattr(holder, name, value)
        changed = [index for index in range(len(content)) if content[index] != other[index]]
        if not changed:
            return None
        start, end = changed[0], changed[-1] + 1
        if start > position:
            layout += f"{start - position}s"
            fixed.append(content[position:start])
        layout += _CODES[end - start]
        position = end
    if position < len(content):
        layout += f"{len(content) - position}s"
        fixed.append(content[position:])
    return Stencil(layout, tuple(fixed))
