"""What generated messages are built on: the one error kind and the base classes.

Source of the encodings: the Kafka protocol guide and KIP-482 (flexible versions).
"""

import struct
from typing import Any, ClassVar, Self, TypeVar

from odradek.core.errors import PeerError

Buffer = bytes | bytearray | memoryview
Records = Any
"""Record batches: a memoryview of the frame when decoded; any buffer, or a list of them, when encoded."""

ZERO_UUID = bytes(16)
FRESH: Any = object()
"""Stands for a default that each value makes anew (a list)."""
COPY_BELOW = 1_024
"""Records of fewer bytes are copied into the message: cheaper than one piece more to send."""

new = object.__new__
V = TypeVar("V", bound="Value")


class MalformedError(PeerError):
    """The bytes are no such message; the only error that decoding raises."""


class Value:
    """A struct of a message: fields in ``__slots__``, equal when all fields are."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)) and not isinstance(self, type(other)):
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
        """The message that begins at ``position``, and where it ends; ``view`` is the frame, of bytes.

        Raises :class:`MalformedError` when the bytes are no such message, ``ValueError`` for a version that
        does not exist.
        """
        try:
            decoder = cls._decoders[version]
        except KeyError:
            raise ValueError(f"{cls.NAME} has no version {version}") from None
        try:
            return decoder(view, position, len(view))  # type: ignore[no-any-return]
        except (MalformedError, struct.error, IndexError, UnicodeDecodeError) as error:
            raise MalformedError(f"{cls.NAME} v{version}: {error}") from error

    def encode(self, parts: list[Any], version: int) -> None:
        """Appends the message's bytes in pieces; large records are appended as they are, uncopied.

        Raises ``ValueError`` for a version that does not exist, and when a value does not fit the version: a
        null that it cannot carry, a number out of range, or (not in responses) a field that it lacks and
        that Kafka's definition does not let be ignored. Other fields that the version lacks are left out.
        ``parts`` then holds the beginning of the message.
        """
        try:
            encoder = self._encoders[version]
        except KeyError:
            raise ValueError(f"{self.NAME} has no version {version}") from None
        out = bytearray()
        parts.append(out)
        try:
            encoder(self, out, parts)
        except (struct.error, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{self.NAME} v{version}: {error}") from error


def _refuse_change(self: Value, name: str, value: Any) -> None:
    raise AttributeError(f"this {type(self).__name__} is the default of many; assign a new one instead")


def default(kind: type[V]) -> V:
    """The one instance that stands for a struct that nobody set; read-only, as all its holders share it."""
    one = kind()
    read_only = type(kind.__name__, (kind,), {"__slots__": (), "__setattr__": _refuse_change})
    read_only.__slots__ = kind.__slots__  # type: ignore[attr-defined]
    one.__class__ = read_only
    return one


def codec(layout: struct.Struct) -> tuple[Any, Any]:
    """The two functions of a fixed layout, bound once: looking them up anew costs as much as a field."""
    return layout.pack, layout.unpack_from
