"""Transaction markers."""

import pytest

from odradek.records.batch import read_header
from odradek.records.builder import build_batch
from odradek.records.control import EndTransactionMarker, build_marker, first_marker, read_marker
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


def test_a_marker_is_what_the_general_way_builds() -> None:
    for commit, coordinator_epoch in ((True, 0), (False, 1 << 30), (True, 0)):
        key = b"\0\0\0\1" if commit else b"\0\0\0\0"
        record = Record(0, 1_000, key, b"\0\0" + coordinator_epoch.to_bytes(4, "big"))
        expected = build_batch([record], 0, 5, 2, transactional=True, control=True)
        assert build_marker(5, 2, commit, coordinator_epoch, 1_000) == expected


def test_the_marker_of_a_batch() -> None:
    for commit in (True, False, True):
        batch = memoryview(build_marker(5, 2, commit, 9, 1_000))
        assert first_marker(batch, read_header(batch)) == EndTransactionMarker(commit, 9)
    two = [Record(0, 7, b"\0\0\0\1", bytes(6)), Record(0, 8, b"\0\0\0\0", bytes(6))]
    batch = memoryview(build_batch(two, 0, 5, 2, transactional=True, control=True))
    assert first_marker(batch, read_header(batch)) == EndTransactionMarker(True, 0)


def test_a_batch_that_is_no_marker() -> None:
    batch = memoryview(build_batch([], 0, 5, 2, transactional=True, control=True))
    with pytest.raises(IndexError):
        first_marker(batch, read_header(batch))
    batch = memoryview(build_marker(5, 2, True, 9, 1_000) + b"\0")
    with pytest.raises(InvalidRecordsError):
        first_marker(batch, read_header(batch))
