"""Records of the internal topics: a 16-bit version in front of a message.

Source: Kafka's ``MessageUtil.toVersionPrefixedBytes``, ``CoordinatorRecordSerde``.
"""

import struct
from typing import TypeVar

from odradek.protocol.primitives import MalformedError, Message

_VERSION = struct.Struct(">h")
M = TypeVar("M", bound=Message)


def encode_versioned(message: Message, version: int) -> bytes:
    """``version`` and the message in it. For keys of coordinator records the version is the record type."""
    parts: list[bytes] = [_VERSION.pack(version)]
    message.encode(parts, version)
    return b"".join(parts)


def encode_record_key(key: Message) -> bytes:
    """A coordinator record's key: its record type stands where a version would, its layout is version 0."""
    parts: list[bytes] = [_VERSION.pack(key.API_KEY)]
    key.encode(parts, key.LOWEST_VERSION)
    return b"".join(parts)


def read_version(raw: bytes | memoryview) -> int:
    """The version (or record type) at the front; raises :class:`MalformedError` when there is none."""
    if len(raw) < _VERSION.size:
        raise MalformedError("a versioned record is shorter than its version")
    version: int = _VERSION.unpack_from(raw, 0)[0]
    return version


def decode_versioned(kind: type[M], raw: bytes | memoryview) -> M:
    """The message behind its version; raises :class:`MalformedError`, also for an unknown version."""
    version = read_version(raw)
    try:
        return kind.decode(memoryview(raw), _VERSION.size, version)[0]
    except ValueError as error:
        raise MalformedError(str(error)) from error


def decode_record_key(kind: type[M], raw: bytes | memoryview) -> M:
    """The key behind its record type."""
    return kind.decode(memoryview(raw), _VERSION.size, kind.LOWEST_VERSION)[0]
