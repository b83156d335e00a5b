"""The header view and walking over batches."""

import pytest

from odradek.records.batch import (
    HEADER_SIZE,
    check_crc,
    iterate_batches,
    next_sequence,
    previous_sequence,
    read_header,
)
from odradek.records.builder import build_batch
from odradek.records.errors import CorruptBatchError
from odradek.records.record import Record

ONE = [Record(0, 1_000, b"k", b"v")]


def test_header_fields() -> None:
    batch = build_batch(
        [*ONE, Record(0, 3_000, None, None)],
        base_offset=7,
        producer_id=8,
        producer_epoch=9,
        base_sequence=10,
        transactional=True,
        partition_leader_epoch=3,
    )
    header = read_header(batch)
    assert header.size == len(batch)
    assert (header.base_offset, header.last_offset, header.next_offset) == (7, 8, 9)
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence) == (
        8,
        9,
        10,
        11,
    )
    assert (header.base_timestamp, header.max_timestamp, header.timestamp_type) == (1_000, 3_000, 0)
    assert (header.partition_leader_epoch, header.record_count, header.compression) == (3, 2, 0)
    assert header.is_transactional
    assert not header.is_control
    assert header.delete_horizon_ms is None
    check_crc(batch, 0, header)


def test_no_sequence_has_no_last_sequence() -> None:
    assert read_header(build_batch(ONE)).last_sequence == -1


def test_sequences_wrap_at_int32() -> None:
    assert next_sequence(2**31 - 1, 1) == 0
    assert next_sequence(2**31 - 2, 3) == 1
    assert previous_sequence(1, 3) == 2**31 - 2


def test_every_flipped_bit_behind_the_crc_is_noticed() -> None:
    batch = build_batch(ONE)
    for position in range(17, len(batch)):
        damaged = bytearray(batch)
        damaged[position] ^= 1
        with pytest.raises(CorruptBatchError):
            check_crc(damaged, 0, read_header(damaged))


def test_walking_leaves_out_an_incomplete_batch() -> None:
    one, two = build_batch(ONE), build_batch(ONE * 2, 1)
    whole = bytes(one + two)
    for end in range(len(whole) + 1):
        found = [position for position, _ in iterate_batches(whole[:end])]
        expected = [0, len(one)] if end == len(whole) else [0] if end >= len(one) else []
        assert found == expected


@pytest.mark.parametrize(("position", "value"), [(16, 1), (16, 3), (8, 0x80), (11, 3)])
def test_walking_stops_at_what_is_no_batch(position: int, value: int) -> None:
    batch = build_batch(ONE)
    batch[position] = value
    with pytest.raises(CorruptBatchError):
        list(iterate_batches(batch + bytes(HEADER_SIZE)))
