"""Reading records back, and refusing what does not add up."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.records.batch import HEADER_SIZE, read_header
from odradek.records.builder import build_batch
from odradek.records.errors import CorruptBatchError, InvalidRecordsError
from odradek.records.record import Record, read_records, read_varint, write_varint

BYTES = st.none() | st.binary(max_size=200)
HEADERS = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=12)), max_size=4).map(tuple)
RECORDS = st.lists(
    st.builds(Record, st.just(0), st.integers(-1, 1 << 44), BYTES, BYTES, HEADERS), min_size=1, max_size=12
)


@given(records=RECORDS, base_offset=st.integers(0, 1 << 60), codec=st.integers(0, 4))
@settings(max_examples=80, deadline=None)
def test_round_trip_for_every_codec(records: list[Record], base_offset: int, codec: int) -> None:
    batch = build_batch(records, base_offset, compression=codec)
    assert read_records(batch) == [
        record._replace(offset=base_offset + number) for number, record in enumerate(records)
    ]
    header = read_header(batch)
    assert header.compression == codec
    assert header.max_timestamp == max(record.timestamp for record in records)


def test_header_names_survive_when_they_are_not_utf8() -> None:
    batch = build_batch([Record(0, 1, None, None, ((b"\xff\xfe".decode("utf-8", "surrogateescape"), b"v"),))])
    assert build_batch(read_records(batch)) == batch


def test_log_append_time_counts_for_every_record() -> None:
    batch = build_batch(
        [Record(0, 5, None, b"a"), Record(0, 9, None, b"b")], timestamp_type=1, log_append_time=77
    )
    assert [record.timestamp for record in read_records(batch)] == [77, 77]


def test_offsets_are_kept_for_compaction() -> None:
    records = [Record(12, 5, b"a", b"a"), Record(17, 6, b"b", b"b")]
    batch = build_batch(records, 12, keep_offsets=True, delete_horizon_ms=1000)
    header = read_header(batch)
    assert (header.last_offset, header.record_count, header.delete_horizon_ms) == (17, 2, 1000)
    assert read_records(batch) == records


@given(number=st.integers(-(1 << 63), (1 << 63) - 1))
def test_varints(number: int) -> None:
    out = bytearray()
    write_varint(out, number)
    assert read_varint(out, 0) == (number, len(out))


def test_a_varint_that_never_ends() -> None:
    with pytest.raises(InvalidRecordsError):
        read_varint(b"\xff" * 20, 0)


@pytest.mark.parametrize("count", [-1, 0, 1, 3, 1 << 30])
def test_a_wrong_record_count(count: int) -> None:
    batch = build_batch([Record(0, 1, b"k", b"v"), Record(0, 1, b"k", b"v")])
    batch[57:61] = count.to_bytes(4, "big", signed=True)
    with pytest.raises(InvalidRecordsError):
        read_records(batch)


@given(position=st.integers(HEADER_SIZE, HEADER_SIZE + 60), value=st.integers(0, 255))
@settings(max_examples=300)
def test_a_changed_byte_is_noticed_or_changes_only_content(position: int, value: int) -> None:
    records = [Record(0, 1, b"key", b"value", (("h", b"x"),)), Record(0, 1, None, b"value" * 5)]
    batch = build_batch(records)
    if position < len(batch):
        batch[position] = value
    with contextlib.suppress(InvalidRecordsError):
        assert len(read_records(batch)) == 2


def test_a_cut_batch() -> None:
    batch = build_batch([Record(0, 1, b"k", b"v")])
    for end in range(len(batch)):
        with pytest.raises(CorruptBatchError):
            read_records(batch[:end])
