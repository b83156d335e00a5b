"""Framing, checksums and the hash chain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.cluster.entry import (
    FIRST_HASH,
    HEADER_BYTES,
    EntryError,
    NewerLevelError,
    encode_entry,
    read_entry,
)
from odradek.cluster.records import ClusterCreated, Record
from tests.unit.cluster.support import topic_records

BATCH: list[Record] = [ClusterCreated("c"), *topic_records("a", 1, 100)]


def test_round_trip_and_chain() -> None:
    first, first_hash = encode_entry(1, 0, 0, FIRST_HASH, BATCH)
    second, second_hash = encode_entry(2, 1, 3, first_hash, [])
    log = first + second
    one = read_entry(log, 0)
    two = read_entry(log, one.size)
    assert one.records() == BATCH
    assert (one.number, one.durable_index, one.epoch, one.previous_hash) == (1, 0, 0, FIRST_HASH)
    assert (two.number, two.durable_index, two.epoch, two.records()) == (2, 1, 3, [])
    assert two.previous_hash == one.hash == first_hash
    assert two.hash == second_hash


def test_long_entries_are_deflated() -> None:
    data, _ = encode_entry(1, 0, 0, FIRST_HASH, BATCH)
    assert len(data) < 100 * 10


@given(st.data())
def test_any_flipped_bit_is_seen(data: st.DataObject) -> None:
    entry = bytearray(encode_entry(1, 0, 0, FIRST_HASH, BATCH)[0])
    position = data.draw(st.integers(min_value=0, max_value=len(entry) - 1))
    entry[position] ^= 1 << data.draw(st.integers(min_value=0, max_value=7))
    with pytest.raises(EntryError):
        read_entry(bytes(entry), 0)


@given(st.integers(min_value=0, max_value=400))
def test_cut_short(length: int) -> None:
    entry = encode_entry(1, 0, 0, FIRST_HASH, BATCH)[0]
    with pytest.raises(EntryError):
        read_entry(entry[: min(length, len(entry) - 1)], 0)


@given(st.binary(max_size=300))
def test_garbage(data: bytes) -> None:
    with pytest.raises(EntryError):
        read_entry(b"OdMe" + data, 0)


def test_newer_level(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("odradek.cluster.entry.LEVEL", 3)
        entry, _ = encode_entry(1, 0, 0, FIRST_HASH, [])
    with pytest.raises(NewerLevelError, match="level 3"):
        read_entry(entry, 0)


def test_header_size_is_that_of_the_format() -> None:
    assert HEADER_BYTES == 4 + 4 + 4 + 8 + 8 + 4 + 2 + 2 + 4 + 16
