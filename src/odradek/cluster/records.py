"""Change records ↔ bytes. What each means is in ``fold``; the byte layout is in FORMAT.md.

A record's type and version stand before it. Kinds and fields are only ever added, under a new version and a
new metadata level; a reader that meets one it does not know must stop, never skip it.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from odradek.cluster.image import QuotaEntity
from odradek.core.errors import OdradekError
from odradek.core.ids import TopicId

LEVEL = 2
"""The metadata level that this code writes: the set of record types and versions it knows."""


class UnknownRecordError(OdradekError):
    """A newer Odradek wrote this log: reading on without understanding it would corrupt the image."""


class MalformedRecordError(OdradekError):
    """Bytes that passed their checksum and are no record all the same."""


class ClusterCreated(NamedTuple):
    """The first record of all."""

    cluster_id: str


class BrokerRegistered(NamedTuple):
    """A broker started. ``takes_over`` raises the epoch of every leadership it held, as what it had not
    flushed may be gone."""

    broker_id: int
    rack: str | None
    takes_over: bool


class TopicCreated(NamedTuple):
    """A topic without partitions; they follow in the same entry."""

    name: str
    topic_id: TopicId


class PartitionCreated(NamedTuple):
    """The next partition of a topic; ``partition`` must be the count so far."""

    topic_id: TopicId
    partition: int
    leader: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader_epoch: int = 0
    partition_epoch: int = 0


class TopicDeleted(NamedTuple):
    """A topic, its partitions and its configs are gone; its id never comes again."""

    topic_id: TopicId


class ConfigChanged(NamedTuple):
    """One key of one resource; ``value`` ``None`` removes the override."""

    resource_type: int
    resource_name: str
    key: str
    value: str | None


class ProducerIdsAllocated(NamedTuple):
    """Ids below ``next_producer_id`` are given out, whether they were used or not."""

    broker_id: int
    next_producer_id: int


class FeatureChanged(NamedTuple):
    """A finalized feature level; 0 removes the feature."""

    name: str
    level: int


class ClientQuotaChanged(NamedTuple):
    """One limit of one entity (``QuotaEntity``); ``value`` ``None`` removes it."""

    entity: QuotaEntity
    key: str
    value: float | None


Record = (
    ClusterCreated
    | BrokerRegistered
    | TopicCreated
    | PartitionCreated
    | TopicDeleted
    | ConfigChanged
    | ProducerIdsAllocated
    | FeatureChanged
    | ClientQuotaChanged
)

_HEAD = struct.Struct(">BBI")
_DOUBLE = struct.Struct(">d")


def encode_records(records: Iterable[Record]) -> bytes:
    """All records, one behind the other."""
    out = bytearray()
    for record in records:
        kind = _BY_RECORD[type(record)]
        body = bytearray()
        for write, value in zip(kind.writers, record, strict=True):
            write(body, value)
        out += _HEAD.pack(kind.type, kind.version, len(body))
        out += body
    return bytes(out)


def decode_records(data: bytes, count: int) -> list[Record]:
    """``count`` records that fill ``data`` exactly.

    Raises :class:`UnknownRecordError` for a kind of a newer version, :class:`MalformedRecordError` for
    anything that is no record.
    """
    records: list[Record] = []
    position = 0
    try:
        for _ in range(count):
            type_number, version, length = _HEAD.unpack_from(data, position)
            position += _HEAD.size
            end = position + length
            kind = _BY_TYPE.get((type_number, version))
            if kind is None:
                raise UnknownRecordError(
                    f"record type {type_number} version {version} is not known to this version of Odradek"
                )
            if end > len(data):
                raise MalformedRecordError("a record is longer than its entry")
            values = []
            for read in kind.readers:
                value, position = read(data, position)
                values.append(value)
            if position != end:
                raise MalformedRecordError(f"a {kind.record.__name__} does not fill its length")
            records.append(kind.record(*values))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MalformedRecordError(f"a record is cut short or garbled: {error}") from error
    if position != len(data):
        raise MalformedRecordError("bytes are left behind the last record")
    return records


def _write_number(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _read_number(data: bytes, position: int) -> tuple[int, int]:
    value = data[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise MalformedRecordError("a number is longer than nine bytes")


def _write_string(out: bytearray, value: str) -> None:
    text = value.encode()
    _write_number(out, len(text))
    out += text


def _read_string(data: bytes, position: int) -> tuple[str, int]:
    length, position = _read_number(data, position)
    return _read_bytes(data, position, length).decode(), position + length


def _write_nullable_string(out: bytearray, value: str | None) -> None:
    text = b"" if value is None else value.encode()
    _write_number(out, 0 if value is None else len(text) + 1)
    out += text


def _read_nullable_string(data: bytes, position: int) -> tuple[str | None, int]:
    length, position = _read_number(data, position)
    if length == 0:
        return None, position
    return _read_bytes(data, position, length - 1).decode(), position + length - 1


def _write_id(out: bytearray, value: TopicId) -> None:
    out += value


def _read_id(data: bytes, position: int) -> tuple[TopicId, int]:
    return _read_bytes(data, position, 16), position + 16


def _write_boolean(out: bytearray, value: bool) -> None:
    out.append(value)


def _read_boolean(data: bytes, position: int) -> tuple[bool, int]:
    return data[position] != 0, position + 1


def _write_list(out: bytearray, value: tuple[int, ...]) -> None:
    _write_number(out, len(value))
    for element in value:
        _write_number(out, element)


def _read_list(data: bytes, position: int) -> tuple[tuple[int, ...], int]:
    count, position = _read_number(data, position)
    if count > len(data) - position:
        raise MalformedRecordError("a list is longer than its entry")
    elements = []
    for _ in range(count):
        element, position = _read_number(data, position)
        elements.append(element)
    return tuple(elements), position


def _write_entity(out: bytearray, value: QuotaEntity) -> None:
    _write_number(out, len(value))
    for kind, name in value:
        _write_string(out, kind)
        _write_nullable_string(out, name)


def _read_entity(data: bytes, position: int) -> tuple[QuotaEntity, int]:
    count, position = _read_number(data, position)
    if count > len(data) - position:
        raise MalformedRecordError("a list is longer than its entry")
    entity = []
    for _ in range(count):
        kind, position = _read_string(data, position)
        name, position = _read_nullable_string(data, position)
        entity.append((kind, name))
    return tuple(entity), position


def _write_nullable_double(out: bytearray, value: float | None) -> None:
    _write_boolean(out, value is not None)
    if value is not None:
        out += _DOUBLE.pack(value)


def _read_nullable_double(data: bytes, position: int) -> tuple[float | None, int]:
    is_there, position = _read_boolean(data, position)
    if not is_there:
        return None, position
    (value,) = _DOUBLE.unpack_from(data, position)
    return value, position + _DOUBLE.size


def _read_bytes(data: bytes, position: int, length: int) -> bytes:
    if length > len(data) - position:
        raise MalformedRecordError("a field is longer than its entry")
    return data[position : position + length]


Writer = Callable[[bytearray, Any], None]
Reader = Callable[[bytes, int], tuple[Any, int]]

_FIELDS: dict[str, tuple[Writer, Reader]] = {
    "n": (_write_number, _read_number),
    "s": (_write_string, _read_string),
    "o": (_write_nullable_string, _read_nullable_string),
    "i": (_write_id, _read_id),
    "b": (_write_boolean, _read_boolean),
    "l": (_write_list, _read_list),
    "e": (_write_entity, _read_entity),
    "d": (_write_nullable_double, _read_nullable_double),
}
"""n unsigned number, s string, o string or null, i id, b boolean, l list of numbers, e quota entity, d double
or null."""


class _Kind:
    """How one version of one record type is laid out; ``fields`` has a letter for each field."""

    __slots__ = ("readers", "record", "type", "version", "writers")

    def __init__(self, type_number: int, version: int, record: Callable[..., Record], fields: str) -> None:
        self.type = type_number
        self.version = version
        self.record = record
        self.writers = [_FIELDS[letter][0] for letter in fields]
        self.readers = [_FIELDS[letter][1] for letter in fields]


_KINDS = (
    _Kind(1, 0, ClusterCreated, "s"),
    _Kind(2, 0, BrokerRegistered, "nob"),
    _Kind(3, 0, TopicCreated, "si"),
    _Kind(4, 0, PartitionCreated, "innllnn"),
    _Kind(5, 0, TopicDeleted, "i"),
    _Kind(6, 0, ConfigChanged, "nsso"),
    _Kind(7, 0, ProducerIdsAllocated, "nn"),
    _Kind(8, 0, FeatureChanged, "sn"),
    _Kind(9, 0, ClientQuotaChanged, "esd"),
)
_BY_RECORD: dict[Any, _Kind] = {kind.record: kind for kind in _KINDS}
_BY_TYPE = {(kind.type, kind.version): kind for kind in _KINDS}
