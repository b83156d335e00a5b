"""Retention by time and size, and deletion of whole segments."""

import errno
import os

from odradek.core.ids import TopicPartition
from odradek.storage.log import Log
from odradek.storage.retention import retention_plan
from odradek.storage.store import LogStore

from .conftest import NOW_MS, SMALL, FaultyDisk, Opener, append, make_log, values_of

DAY_MS = 86_400_000


def filled(store: LogStore, **changes: object) -> Log:
    log = make_log(store, SMALL.with_changes(**changes))
    for number in range(100):
        append(log, b"v" * 100, timestamp=NOW_MS + number * 1000, now_ms=NOW_MS + number * 1000)
    store.flush(NOW_MS)
    assert len(log.segments) == 5
    return log


def test_by_time(store: LogStore) -> None:
    log = filled(store, retention_ms=DAY_MS)
    second = log.segments[1].base_offset
    assert retention_plan(log, NOW_MS) is None
    assert store.apply_retention(NOW_MS + DAY_MS + (second - 1) * 1000) == 0
    assert store.apply_retention(NOW_MS + DAY_MS + (second - 1) * 1000 + 1) > 0
    assert log.log_start_offset == log.segments[0].base_offset == second
    assert len(values_of(log)) == 100 - second


def test_everything_old_goes_also_the_active_segment(store: LogStore) -> None:
    log = filled(store, retention_ms=DAY_MS)
    store.apply_retention(NOW_MS + 3 * DAY_MS)
    assert (log.log_start_offset, log.log_end_offset, log.size) == (100, 100, 0)
    assert store.apply_retention(NOW_MS + 9 * DAY_MS) == 0, "an empty segment stays"
    assert store.collect_garbage(0) is None
    remove = store.collect_garbage(60_000)
    assert remove is not None
    remove()
    assert sorted(name for name in os.listdir(log.folder) if name.endswith(".log")) == [f"{100:020d}.log"]
    assert append(log, b"next").base_offset == 100


def test_by_size(store: LogStore) -> None:
    log = filled(store, retention_bytes=10_000)
    before = log.size
    gone = store.apply_retention(NOW_MS)
    assert log.size == before - gone
    assert 10_000 <= log.size < 10_000 + SMALL.segment_bytes


def test_nothing_that_is_not_committed_goes(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(retention_ms=1))
    for number in range(60):
        append(log, b"v" * 100)
        if number == 10:
            store.flush(NOW_MS)
    store.apply_retention(NOW_MS + DAY_MS)
    assert log.log_start_offset == 0


def test_compacted_and_endless_topics_keep_everything(store: LogStore) -> None:
    log = filled(store, cleanup_policy=("compact",), retention_ms=1, retention_bytes=1)
    assert retention_plan(log, NOW_MS + DAY_MS) is None
    log.config = SMALL.with_changes(retention_ms=-1)
    assert retention_plan(log, NOW_MS + 1000 * DAY_MS) is None


def test_records_without_timestamps_go_by_the_files_age(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(retention_ms=DAY_MS))
    for _ in range(60):
        append(log, b"v" * 100, timestamp=-1)
    store.flush(NOW_MS)
    modified_ms = store.disk.modified_ms(log.segments[0].path())
    assert retention_plan(log, modified_ms + DAY_MS) is None
    assert retention_plan(log, modified_ms + 2 * DAY_MS) is not None


def test_deleting_below_an_offset(store: LogStore) -> None:
    log = filled(store)
    third = log.segments[2].base_offset
    assert log.delete_segments_before(third - 1) > 0
    assert log.log_start_offset == log.segments[0].base_offset < third
    assert log.delete_segments_before(10**9) > 0
    assert len(log.segments) == 1


def test_one_log_that_cannot_be_looked_at_does_not_stop_the_others(opener: Opener) -> None:
    disk = FaultyDisk()
    store = opener(disk)
    broken = filled(store, retention_ms=DAY_MS)
    full = make_log(store, SMALL.with_changes(retention_ms=DAY_MS), TopicPartition("u", 0))
    append(full, b"v")
    store.flush(NOW_MS)
    for segment in broken.segments[:-1]:
        segment.close()
        segment.max_timestamp = -2
        os.unlink(segment.path(".timeindex"))
    disk.faults = [("open", errno.EIO), ("open", errno.ENOSPC)]
    store.apply_retention(NOW_MS + 9 * DAY_MS)
    assert broken.offline is not None
    assert full.offline is None
    assert store.apply_retention(NOW_MS + 9 * DAY_MS) > 0
    assert full.log_start_offset == 1
