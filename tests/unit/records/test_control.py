"""Transaction markers."""

import pytest

from odradek.records.batch import read_header
from odradek.records.control import EndTransactionMarker, build_marker, read_marker
from odradek.records.errors import InvalidRecordsError
from odradek.records.record import Record, read_records


@pytest.mark.parametrize("commit", [True, False])
def test_round_trip(commit: bool) -> None:
    batch = build_marker(5, 2, commit, 9, 1_000)
    header = read_header(batch)
    assert header.is_control
    assert header.is_transactional
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (5, 2, -1)
    assert read_marker(read_records(batch)[0]) == EndTransactionMarker(commit, 9)


def test_other_control_records_are_no_markers() -> None:
    assert read_marker(Record(0, 0, b"\0\0\0\2", b"")) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b""),
        (b"\0\0\0", b""),
        (b"\xff\xff\0\0", b""),
        (b"\0\0\0\0", None),
        (b"\0\0\0\1", b"\xff\xff\0\0\0\0"),
    ],
)
def test_malformed_markers(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(InvalidRecordsError):
        read_marker(Record(0, 0, key, value))
