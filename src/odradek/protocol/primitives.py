"""What generated messages are built on: the one error kind, varints, tagged fields, and the base classes.

Source of the encodings: the Kafka protocol guide and KIP-482 (flexible versions).
"""

import struct
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from odradek.core.errors import PeerError

Buffer = bytes | bytearray | memoryview
Records = Any
"""Record batches: a memoryview of the frame when decoded; any buffer, or a list of them, when encoded."""

ZERO_UUID = bytes(16)
FRESH: Any = object()
"""Stands for a default that each value makes anew (a list, a nested struct)."""
BYTE = [bytes([value]) for value in range(256)]


class MalformedError(PeerError):
    """The bytes are no such message; the only error that decoding raises."""


class Value:
    """A struct of a message: fields in ``__slots__``, equal when all fields are."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


class Message(Value):
    """A whole message; ``_decoders`` and ``_encoders`` hold one function per version."""

    __slots__ = ()
    NAME: ClassVar[str]
    API_KEY: ClassVar[int]
    LOWEST_VERSION: ClassVar[int]
    HIGHEST_VERSION: ClassVar[int]
    FIRST_FLEXIBLE_VERSION: ClassVar[int]
    _decoders: ClassVar[dict[int, Any]]
    _encoders: ClassVar[dict[int, Any]]

    @classmethod
    def decode(cls, view: memoryview, position: int, version: int) -> tuple[Self, int]:
        """The message that begins at ``position``, and where it ends.

        Raises :class:`MalformedError` when the bytes are no such message, ``ValueError`` for a version that
        does not exist.
        """
        decoder = cls._decoders.get(version)
        if decoder is None:
            raise ValueError(f"{cls.NAME} has no version {version}")
        try:
            result: tuple[Self, int] = decoder(view, position)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise MalformedError(f"{cls.NAME} v{version}: {error}") from error
        if result[1] > len(view):
            raise MalformedError(f"{cls.NAME} v{version} is longer than its frame")
        return result

    def encode(self, parts: list[Any], version: int) -> None:
        """Appends the message's bytes in pieces; records are appended as they are, uncopied.

        Raises ``ValueError`` for a version that does not exist or that cannot carry a null.
        """
        encoder = self._encoders.get(version)
        if encoder is None:
            raise ValueError(f"{self.NAME} has no version {version}")
        encoder(self, parts)


def codec(layout: struct.Struct) -> tuple[Any, Any]:
    """The two functions of a fixed layout, bound once: looking them up anew costs as much as a field."""
    return layout.pack, layout.unpack_from


def uvarint(buf: memoryview, pos: int) -> tuple[int, int]:
    """An unsigned varint and the position behind it."""
    byte = buf[pos]
    return (byte, pos + 1) if byte < 128 else uvarint_rest(buf, pos + 1, byte)


def uvarint_rest(buf: memoryview, pos: int, first: int) -> tuple[int, int]:
    """The rest of a varint whose first byte (≥ 128) has been read already."""
    value = first & 0x7F
    for shift in (7, 14, 21, 28):
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            if value > 0xFFFFFFFF:
                break
            return value, pos
    raise MalformedError("a varint is longer than 32 bits")


def uvarint_bytes(value: int) -> bytes:
    """``value`` (not negative) as an unsigned varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def skip_tags(buf: memoryview, pos: int) -> int:
    """Behind a section of tagged fields of which none is known."""
    count, pos = uvarint(buf, pos)
    for _ in range(count):
        _, pos = uvarint(buf, pos)
        size, pos = uvarint(buf, pos)
        pos += size
        if pos > len(buf):
            raise MalformedError("a tagged field is longer than its frame")
    return pos


def add_tags(parts: list[Any], tags: Sequence[tuple[int, list[Any]]]) -> None:
    """Appends a section of tagged fields, given in ascending order of their tags."""
    parts.append(uvarint_bytes(len(tags)))
    for tag, content in tags:
        parts.append(uvarint_bytes(tag) + uvarint_bytes(sum(map(len, content))))
        parts.extend(content)
