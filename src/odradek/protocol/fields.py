"""The variable parts of messages: varints, texts, bytes, arrays of fixed-width elements, tagged fields.

What generated code does not do in place. ``read_…(buf, pos, limit)`` returns the value and the position
behind it and raises :class:`MalformedError`; ``struct.error``, ``IndexError`` and ``UnicodeDecodeError`` pass
to the caller, which knows the message. ``put_…(out, value)`` appends. Lengths are compared with the bytes
that are there before anything is made of them.

Source: the Kafka protocol guide's primitive types, KIP-482.
"""

from struct import Struct, pack, unpack_from
from typing import Any

from odradek.protocol.primitives import MalformedError

LONGEST_TEXT_BYTES = 32_767
"""Kafka's ``readString`` refuses longer ones also where the wire could carry them."""
_INT16 = Struct(">h")
_INT32 = Struct(">i")
_int16_at = _INT16.unpack_from
_int32_at = _INT32.unpack_from
_NULL_TEXT = b"\xff\xff"
_NULL_BYTES = b"\xff\xff\xff\xff"


def too_long(what: str) -> MalformedError:
    return MalformedError(f"{what} is longer than its frame")


def too_many(what: str) -> MalformedError:
    return MalformedError(f"{what} has more entries than its frame has room for")


def null(what: str) -> MalformedError:
    return MalformedError(f"{what} must not be null")


def not_in_version(what: str) -> ValueError:
    return ValueError(f"{what} is set, which this version cannot say")


def uvarint(buf: memoryview, pos: int) -> tuple[int, int]:
    """An unsigned varint and the position behind it."""
    byte = buf[pos]
    return (byte, pos + 1) if byte < 128 else uvarint_rest(buf, pos + 1, byte)


def uvarint_rest(buf: memoryview, pos: int, first: int) -> tuple[int, int]:
    """The rest of a varint whose first byte (≥ 128) has been read already."""
    byte = buf[pos]
    if byte < 128:
        return first - 128 | byte << 7, pos + 1
    value = first - 128 | (byte - 128) << 7
    byte = buf[pos + 1]
    if byte < 128:
        return value | byte << 14, pos + 2
    value |= (byte - 128) << 14
    byte = buf[pos + 2]
    if byte < 128:
        return value | byte << 21, pos + 3
    value |= (byte - 128) << 21
    byte = buf[pos + 3]
    if byte < 16:
        return value | byte << 28, pos + 4
    raise MalformedError("a varint is longer than 32 bits")


def text_length_rest(buf: memoryview, pos: int, first: int) -> tuple[int, int]:
    """As :func:`uvarint_rest`, of a length + 1 that no text may exceed."""
    value, pos = uvarint_rest(buf, pos, first)
    if value > LONGEST_TEXT_BYTES + 1:
        raise MalformedError(f"a text of {value - 1} bytes, the longest has {LONGEST_TEXT_BYTES}")
    return value, pos


def uvarint_bytes(value: int) -> bytes:
    """``value`` (not negative) as an unsigned varint."""
    if value < 128:
        return bytes((value,))
    if value < 16_384:
        return bytes((value & 127 | 128, value >> 7))
    if value < 2_097_152:
        return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def text_length_bytes(value: int) -> bytes:
    """A text's length + 1 as a varint; raises ``ValueError`` when it is too long."""
    if value > LONGEST_TEXT_BYTES + 1:
        raise ValueError(f"a text of {value - 1} bytes, the longest has {LONGEST_TEXT_BYTES}")
    return uvarint_bytes(value)


def skip_tags(buf: memoryview, pos: int, count: int) -> int:
    """Behind a section of ``count`` tagged fields (its first byte as read) of which none is known."""
    if count > 127:
        count, pos = uvarint_rest(buf, pos, count)
    for _ in range(count):
        _, pos = uvarint(buf, pos)
        size, pos = uvarint(buf, pos)
        pos += size
        if pos > len(buf):
            raise too_long("a tagged field")
    return pos


def put_tags(out: bytearray, tags: list[tuple[int, bytearray]]) -> None:
    """Appends a section of tagged fields, given in ascending order of their tags."""
    out += uvarint_bytes(len(tags))
    for tag, content in tags:
        out += uvarint_bytes(tag)
        out += uvarint_bytes(len(content))
        out += content


def read_fixed(code: str, size: int, buf: memoryview, pos: int, limit: int, n: int) -> tuple[list[Any], int]:
    """``n`` elements of the struct character ``code``, ``size`` bytes each."""
    end = pos + n * size
    if end > limit:
        raise too_many("an array")
    return list(unpack_from(f">{n}{code}", buf, pos)), end


def put_fixed(out: bytearray, code: str, values: list[Any]) -> None:
    """Appends elements of the struct character ``code``."""
    if values:
        out += pack(f">{len(values)}{code}", *values)


def read_uuids(buf: memoryview, pos: int, limit: int, n: int) -> tuple[list[bytes], int]:
    """``n`` ids of 16 bytes."""
    end = pos + n * 16
    if end > limit:
        raise too_many("an array")
    return [bytes(buf[at : at + 16]) for at in range(pos, end, 16)], end


def read_string(buf: memoryview, pos: int, limit: int) -> tuple[str, int]:
    (n,) = _int16_at(buf, pos)
    pos += 2
    if n < 0:
        raise null("a text")
    end = pos + n
    if end > limit:
        raise too_long("a text")
    return str(buf[pos:end], "utf-8"), end


def read_nullable_string(buf: memoryview, pos: int, limit: int) -> tuple[str | None, int]:
    (n,) = _int16_at(buf, pos)
    return (None, pos + 2) if n < 0 else read_string(buf, pos, limit)


def read_compact_string(buf: memoryview, pos: int, limit: int) -> tuple[str, int]:
    n = buf[pos]
    pos += 1
    if n > 127:
        n, pos = text_length_rest(buf, pos, n)
    if not n:
        raise null("a text")
    end = pos + n - 1
    if end > limit:
        raise too_long("a text")
    return str(buf[pos:end], "utf-8"), end


def read_compact_nullable_string(buf: memoryview, pos: int, limit: int) -> tuple[str | None, int]:
    return read_compact_string(buf, pos, limit) if buf[pos] else (None, pos + 1)


def read_bytes(buf: memoryview, pos: int, limit: int) -> tuple[bytes, int]:
    (n,) = _int32_at(buf, pos)
    pos += 4
    if n < 0:
        raise null("a field of bytes")
    end = pos + n
    if end > limit:
        raise too_long("a field of bytes")
    return bytes(buf[pos:end]), end


def read_nullable_bytes(buf: memoryview, pos: int, limit: int) -> tuple[bytes | None, int]:
    (n,) = _int32_at(buf, pos)
    return (None, pos + 4) if n < 0 else read_bytes(buf, pos, limit)


def read_compact_bytes(buf: memoryview, pos: int, limit: int) -> tuple[bytes, int]:
    n, pos = uvarint(buf, pos)
    if not n:
        raise null("a field of bytes")
    end = pos + n - 1
    if end > limit:
        raise too_long("a field of bytes")
    return bytes(buf[pos:end]), end


def read_compact_nullable_bytes(buf: memoryview, pos: int, limit: int) -> tuple[bytes | None, int]:
    return read_compact_bytes(buf, pos, limit) if buf[pos] else (None, pos + 1)


def put_string(out: bytearray, value: str) -> None:
    raw = value.encode()
    out += _INT16.pack(len(raw))
    out += raw


def put_nullable_string(out: bytearray, value: str | None) -> None:
    if value is None:
        out += _NULL_TEXT
    else:
        put_string(out, value)


def put_compact_string(out: bytearray, value: str) -> None:
    raw = value.encode()
    n = len(raw) + 1
    if n < 128:
        out.append(n)
    else:
        out += text_length_bytes(n)
    out += raw


def put_compact_nullable_string(out: bytearray, value: str | None) -> None:
    if value is None:
        out.append(0)
    else:
        put_compact_string(out, value)


def put_bytes(out: bytearray, value: bytes) -> None:
    out += _INT32.pack(len(value))
    out += value


def put_nullable_bytes(out: bytearray, value: bytes | None) -> None:
    if value is None:
        out += _NULL_BYTES
    else:
        put_bytes(out, value)


def put_compact_bytes(out: bytearray, value: bytes) -> None:
    out += uvarint_bytes(len(value) + 1)
    out += value


def put_compact_nullable_bytes(out: bytearray, value: bytes | None) -> None:
    if value is None:
        out.append(0)
    else:
        put_compact_bytes(out, value)
