"""Control records: the markers that end a transaction.

Source: KIP-98, ``ControlRecordType`` and ``EndTransactionMarker``.
"""

import struct
from typing import NamedTuple

from odradek.records.builder import build_batch
from odradek.records.errors import InvalidRecordsError
from odradek.records.record import Record

ABORT = 0
COMMIT = 1

_KEY = struct.Struct(">hh")
_VALUE = struct.Struct(">hi")


class EndTransactionMarker(NamedTuple):
    """What a marker says; ``coordinator_epoch`` fences markers of deposed transaction coordinators."""

    commit: bool
    coordinator_epoch: int


def build_marker(
    producer_id: int, producer_epoch: int, commit: bool, coordinator_epoch: int, timestamp_ms: int
) -> bytearray:
    """A control batch with one marker, ready to be appended by the transaction coordinator."""
    key = _KEY.pack(0, COMMIT if commit else ABORT)
    record = Record(0, timestamp_ms, key, _VALUE.pack(0, coordinator_epoch))
    return build_batch([record], 0, producer_id, producer_epoch, transactional=True, control=True)


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
