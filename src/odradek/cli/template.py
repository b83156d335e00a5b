"""Format strings of ``consume -f``, compiled once and filled per record.

``%t`` topic, ``%p`` partition, ``%o`` offset, ``%k`` key, ``%v`` value, ``%h`` headers
(``name=value,…``), ``%T`` timestamp in milliseconds, ``%%`` a percent sign; ``\\n``, ``\\t``,
``\\r``, ``\\\\``, ``\\xHH`` as in C. A null key or value gives nothing. Nothing is added: end the
format with ``\\n`` to get lines.
"""

import re
from collections.abc import Callable

from odradek.core.ids import TopicPartition
from odradek.records.record import Record

Template = Callable[[TopicPartition, Record], bytes]

_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "\\": b"\\", "0": b"\0"}
_FIELDS: dict[str, Template] = {
    "t": lambda partition, record: partition.topic.encode(),
    "p": lambda partition, record: b"%d" % partition.partition,
    "o": lambda partition, record: b"%d" % record.offset,
    "k": lambda partition, record: record.key or b"",
    "v": lambda partition, record: record.value or b"",
    "h": lambda partition, record: b",".join(
        name.encode("utf-8", "surrogateescape") + b"=" + (value or b"") for name, value in record.headers
    ),
    "T": lambda partition, record: b"%d" % record.timestamp,
}
_TOKEN = re.compile(
    r"%(?P<field>.?)|\\x(?P<hex>[0-9A-Fa-f]{2})|\\(?P<escape>.?)|(?P<text>[^%\\]+)", re.DOTALL
)


def compile_template(text: str) -> Template:
    """A function of (partition, record) that gives the bytes to print; raises ``ValueError``."""
    pieces: list[bytes | Template] = []
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        found = token[kind] if kind else ""
        if kind == "text":
            pieces.append(found.encode())
        elif kind == "hex":
            pieces.append(bytes.fromhex(found))
        elif kind == "escape":
            if found not in _ESCAPES:
                raise ValueError(f"\\{found} is no escape: there are \\n \\t \\r \\0 \\\\ and \\xHH")
            pieces.append(_ESCAPES[found])
        elif found == "%":
            pieces.append(b"%")
        elif found in _FIELDS:
            pieces.append(_FIELDS[found])
        else:
            raise ValueError(
                f"%{found} is no field: there are {' '.join(f'%{name}' for name in _FIELDS)} and %%"
            )

    def fill(partition: TopicPartition, record: Record) -> bytes:
        return b"".join(piece if isinstance(piece, bytes) else piece(partition, record) for piece in pieces)

    return fill
