"""Control records: the markers that end a transaction.

Source: KIP-98, ``ControlRecordType`` and ``EndTransactionMarker``.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from odradek.records.batch import CONTROL_FLAG, HEADER_SIZE, TRANSACTIONAL_FLAG, BatchHeader
from odradek.records.builder import around_body, build_batch
from odradek.records.errors import InvalidRecordsError
from odradek.records.record import Record, parse_records, read_records

ABORT = 0
COMMIT = 1

_KEY = struct.Struct(">hh")
_VALUE = struct.Struct(">hi")
LARGEST_MARKER_BYTES = 128
"""No batch with one marker is larger."""
_ATTRIBUTES = TRANSACTIONAL_FLAG | CONTROL_FLAG
_BODIES_KEPT = 64


class EndTransactionMarker(NamedTuple):
    """What a marker says; ``coordinator_epoch`` fences markers of deposed transaction coordinators."""

    commit: bool
    coordinator_epoch: int


def build_marker(
    producer_id: int, producer_epoch: int, commit: bool, coordinator_epoch: int, timestamp_ms: int
) -> bytearray:
    """A control batch with one marker, ready to be appended by the transaction coordinator."""
    body = _marker_body(commit, coordinator_epoch)
    return around_body(body, 1, _ATTRIBUTES, timestamp_ms, producer_id, producer_epoch)


@lru_cache(maxsize=_BODIES_KEPT)
def _marker_body(commit: bool, coordinator_epoch: int) -> bytes:
    """The one record, whose bytes are the same for all producers."""
    key = _KEY.pack(0, COMMIT if commit else ABORT)
    record = Record(0, 0, key, _VALUE.pack(0, coordinator_epoch))
    return bytes(build_batch([record], transactional=True, control=True)[HEADER_SIZE:])


def first_marker(batch: memoryview, header: BatchHeader) -> EndTransactionMarker | None:
    """The marker in the control batch that fills ``batch``; None as :func:`read_marker`.

    Raises as :func:`read_marker` and :func:`read_records` do, IndexError when there is no record.
    """
    if header.record_count == 1 and header.attributes == _ATTRIBUTES:
        return _marker_in(bytes(batch[HEADER_SIZE:]))
    return read_marker(read_records(batch)[0])


@lru_cache(maxsize=_BODIES_KEPT)
def _marker_in(body: bytes) -> EndTransactionMarker | None:
    header = BatchHeader(0, 0, -1, 2, 0, _ATTRIBUTES, 0, 0, 0, -1, -1, -1, 1)
    return read_marker(parse_records(header, body)[0])


def read_marker(record: Record) -> EndTransactionMarker | None:
    """The marker in a control record; None for other control records (of the metadata quorum).

    Raises :class:`InvalidRecordsError` when key or value are too short or of a version below 0.
    """
    if record.key is None or len(record.key) < _KEY.size:
        raise InvalidRecordsError("control record key is too short")
    version, kind = _KEY.unpack_from(record.key)
    if version < 0:
        raise InvalidRecordsError(f"control record key version {version}")
    if kind not in (ABORT, COMMIT):
        return None
    if record.value is None or len(record.value) < _VALUE.size:
        raise InvalidRecordsError("end-of-transaction marker is too short")
    version, coordinator_epoch = _VALUE.unpack_from(record.value)
    if version < 0:
        raise InvalidRecordsError(f"end-of-transaction marker version {version}")
    return EndTransactionMarker(kind == COMMIT, coordinator_epoch)
