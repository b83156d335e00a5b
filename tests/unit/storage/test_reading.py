"""Reading: from the middle of a batch, size limits, upper offsets, offsets outside."""

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.storage.log import Log
from odradek.storage.store import LogStore

from .conftest import NOW_MS, SMALL, append, make_log


@pytest.fixture
def filled(log: Log, store: LogStore) -> Log:
    """Ten batches of three records in several segments, all committed."""
    for number in range(10):
        append(log, *(b"%d-%d" % (number, record) * 60 for record in range(3)))
    store.flush(NOW_MS)
    assert len(log.segments) > 1
    return log


def test_an_offset_inside_a_batch_gives_that_batch(filled: Log) -> None:
    for offset in range(30):
        result = filled.read(offset, 1, filled.high_watermark)
        assert result.first_offset == offset // 3 * 3
        assert result.next_offset == result.first_offset + 3


def test_the_first_batch_comes_whole_unless_that_is_not_wanted(filled: Log) -> None:
    one = filled.read(0, 1, filled.high_watermark)
    assert len(one.records) > 500
    assert filled.read(0, 1, filled.high_watermark, minimum_one=False) == (b"", 0, 0)
    assert filled.read(0, len(one.records), filled.high_watermark, minimum_one=False) == one


def test_no_batch_is_cut(filled: Log) -> None:
    size = len(filled.read(0, 1, 30).records)
    for limit in range(size, 4 * size, 97):
        assert len(filled.read(0, limit, 30).records) % size == 0
        assert len(filled.read(0, limit, 30).records) <= limit


def test_nothing_at_or_above_the_upper_offset(filled: Log) -> None:
    for upper_offset in range(31):
        offset = 0
        while (result := filled.read(offset, 1 << 20, upper_offset)).records:
            offset = result.next_offset
        assert offset == upper_offset // 3 * 3


def test_outside_the_log(filled: Log) -> None:
    assert filled.read(30, 1000, 30) == (b"", 30, 30)
    filled.advance_log_start(7)
    for offset in (-1, 6, 31):
        with pytest.raises(ApiError) as caught:
            filled.read(offset, 1000, 30)
        assert caught.value.code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert filled.read(7, 1, 30).first_offset == 6


def test_a_waiting_reader_goes_on_across_a_roll(log: Log, store: LogStore) -> None:
    offset = 0
    for number in range(100):
        assert not log.read(offset, 1 << 20, log.high_watermark).records
        append(log, b"%d" % number * 40)
        store.flush(NOW_MS)
        result = log.read(offset, 1 << 20, log.high_watermark)
        assert (result.first_offset, result.next_offset) == (offset, offset + 1)
        offset = result.next_offset
    assert len(log.segments) > 1


def test_places_are_remembered_for_few_readers_only(filled: Log) -> None:
    for _ in range(10):
        for offset in range(31):
            filled.read(offset, 1, 30)
    assert len(filled._places) <= 16


def test_views_stay_valid_when_their_segment_goes(filled: Log) -> None:
    result = filled.read(0, 1 << 20, 30)
    before = bytes(result.records)
    filled.advance_log_start(30)
    filled.roll(NOW_MS)
    filled.delete_segments_before(30)
    assert len(filled.segments) == 1
    assert bytes(result.records) == before


def test_large_reads_of_a_growing_segment(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(segment_bytes=1 << 20))
    values = [bytes([number]) * 20_000 for number in range(20)]
    views = []
    for value in values:
        append(log, value)
        store.flush(NOW_MS)
        views.append(log.read(0, 1 << 20, log.high_watermark).records)
    assert all(isinstance(view, memoryview) for view in views[2:])
    for number, view in enumerate(views):
        assert bytes(view).count(values[number]) == 1
