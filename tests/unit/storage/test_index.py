"""The sparse indexes against a plain list."""

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from odradek.storage.index import OffsetIndex, TimeIndex

STEPS = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=40)


@given(steps=STEPS, target=st.integers(0, 2000))
def test_offset_lookups(steps: list[tuple[int, int]], target: int) -> None:
    index = OffsetIndex(1000, bytearray())
    entries, offset, position = [], 1000, 0
    for up, on in steps:
        offset, position = offset + up, position + on
        index.append(offset, position)
        entries.append((offset, position))
    for found, key in ((index.lookup(target), 0), (index.lookup_position(target), 1)):
        number = bisect_right(entries, target, key=lambda entry, key=key: entry[key])
        assert found == (entries[number - 1] if number else None)
    assert index.last() == (entries[-1] if entries else None)
    assert len(index) == len(entries)
    assert index.is_plausible(position + 1)
    again = OffsetIndex(1000, bytes(index.entries))
    assert again.lookup(target) == index.lookup(target)


@given(times=st.lists(st.integers(-1, 500), max_size=40), target=st.integers(-5, 510))
def test_time_lookups(times: list[int], target: int) -> None:
    index = TimeIndex(7, bytearray())
    entries: list[tuple[int, int]] = []
    for number, timestamp in enumerate(times):
        index.append(timestamp, 7 + number)
        if timestamp > (entries[-1][0] if entries else -1):
            entries.append((timestamp, 7 + number))
    number = bisect_right(entries, target, key=lambda entry: entry[0])
    assert index.lookup(target) == (entries[number - 1] if number else None)
    assert len(index) == len(entries)
    assert index.is_plausible()
    assert TimeIndex(7, bytes(index.entries)).last_timestamp == index.last_timestamp


def test_implausible_bytes() -> None:
    assert not OffsetIndex(0, bytes(9)).is_plausible(100)
    assert not OffsetIndex(0, bytes.fromhex("00000005 00000010 00000004 00000020")).is_plausible(100)
    assert not OffsetIndex(0, bytes.fromhex("00000005 00000010")).is_plausible(16)
    assert not TimeIndex(0, bytes(13)).is_plausible()
    assert not TimeIndex(0, (9 << 32).to_bytes(12, "big") + bytes(12)).is_plausible()
