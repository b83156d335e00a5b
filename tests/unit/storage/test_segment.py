"""Segments: cutting under a reader, indexes that do not fit, walking."""

import pytest

from odradek.core.errors import DamageError
from odradek.storage.disk import SystemDisk
from odradek.storage.log import Log
from odradek.storage.segment import Segment
from odradek.storage.store import LogStore

from .conftest import NOW_MS, SMALL, append, make_log, values_of


def test_a_view_outlives_the_truncation_of_its_file(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(segment_bytes=1 << 20))
    for _ in range(50):
        append(log, b"v" * 4000)
    store.flush(NOW_MS)
    view = log.read(0, 1 << 20, 50).records
    assert isinstance(view, memoryview)
    before = bytes(view)
    log.truncate_to(2)
    assert bytes(view) == before
    assert log.size < len(before)
    assert append(log, b"w").base_offset == 2
    store.flush(NOW_MS)
    assert values_of(log) == [b"v" * 4000] * 2 + [b"w"]


def test_truncating_into_an_earlier_segment(log: Log, store: LogStore) -> None:
    for number in range(100):
        append(
            log,
            b"%d" % number * 40,
            producer_id=1,
            producer_epoch=0,
            base_sequence=number,
            leader_epoch=number // 30,
        )
    assert len(log.segments) > 3
    store.flush(NOW_MS)
    log.truncate_to(33)
    assert (log.log_end_offset, log.high_watermark, log.flushed_offset) == (33, 33, 33)
    assert log.epochs.entries == [(0, 0), (1, 30)]
    assert (
        append(log, b"v", producer_id=1, producer_epoch=0, base_sequence=33, leader_epoch=7).base_offset == 33
    )
    store.flush(NOW_MS)
    assert len(values_of(log)) == 34
    log.truncate_to(99)
    assert log.log_end_offset == 34
    log.advance_log_start(20)
    with pytest.raises(ValueError, match="below the log's start"):
        log.truncate_to(5)


def test_an_index_entry_that_does_not_fit_has_the_index_rebuilt(log: Log, store: LogStore) -> None:
    for number in range(60):
        append(log, b"%d" % number * 40)
    store.flush(NOW_MS)
    first = log.segments[0]
    wrong = bytes.fromhex("0000000500000021") * len(first.offset_index)
    first.offset_index.entries = wrong
    for offset in range(29):
        place = first.locate(offset)
        assert place is not None
        assert place.base_offset == offset
    assert first.offset_index.entries != wrong


def test_a_file_shorter_than_it_was(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(segment_bytes=1 << 20))
    for _ in range(20):
        append(log, b"v" * 4000)
    segment = log.active
    store.disk.truncate(segment.fd, 50_000)
    with pytest.raises(DamageError, match="the file ends here"):
        segment.view(0, segment.size)
    with pytest.raises(DamageError, match="the file ends here"):
        segment.read(49_000, 2000)


def test_walking_an_empty_segment(tmp_path: object) -> None:
    segment = Segment(SystemDisk(), str(tmp_path), 5, 0, NOW_MS, is_active=True)
    segment.create()
    assert list(segment.walk(0, 0)) == []
    assert segment.next_offset() == segment.end_by_walking() == 5
    assert segment.locate(5) is None
    segment.load_times()
    assert (segment.first_timestamp, segment.max_timestamp) == (-1, -1)
    segment.close()
