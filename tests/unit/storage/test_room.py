"""Room set aside ahead of the writes of a busy log: when, how much, and that it is given back."""

import errno
import os

import pytest

from odradek.storage.config import LogConfig
from odradek.storage.log import Log
from odradek.storage.store import LogStore

from .conftest import NOW_MS, T0, FaultyDisk, Opener, append, batch, crash, make_log

MIB = 1 << 20
CONFIG = LogConfig(segment_bytes=16 * MIB)
PART = bytes(500_000)


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def store(opener: Opener, disk: FaultyDisk) -> LogStore:
    return opener(disk, config=CONFIG)


@pytest.fixture
def log(store: LogStore) -> Log:
    return make_log(store, CONFIG)


def fill(log: Log, batches: int) -> None:
    for _ in range(batches):
        append(log, PART)


def allocated(log: Log) -> int:
    return os.stat(log.active.path()).st_blocks * 512


def test_a_small_log_takes_no_more_than_it_holds(log: Log, disk: FaultyDisk) -> None:
    fill(log, 2)
    assert "reserve" not in disk.calls


def test_a_busy_log_has_room_ahead_and_a_clean_stop_gives_it_back(
    log: Log, store: LogStore, disk: FaultyDisk
) -> None:
    fill(log, 20)
    assert 2 <= disk.calls.count("reserve") < 15
    assert log.active.size == os.stat(log.active.path()).st_size
    store.flush(NOW_MS)
    store.close(NOW_MS)
    store._lock = -1
    assert allocated(log) < log.active.size + 64 * 1024


def test_gathered_batches_have_it_too(log: Log, disk: FaultyDisk) -> None:
    fill(log, 2)
    log.gather(batch(PART), NOW_MS, 0)
    log.write_gathered(NOW_MS)
    assert disk.calls.count("reserve") == 1


def test_room_never_goes_beyond_the_segment(log: Log, disk: FaultyDisk) -> None:
    fill(log, 40)
    assert len(log.segments) == 2
    sealed = log.segments[0]
    assert os.stat(sealed.path()).st_blocks * 512 <= CONFIG.segment_bytes + 64 * 1024
    assert os.stat(sealed.path()).st_size == sealed.size


def test_a_segment_rolled_early_gives_it_back(log: Log) -> None:
    fill(log, 20)
    log.roll(NOW_MS)
    sealed = log.segments[0]
    assert os.stat(sealed.path()).st_blocks * 512 < sealed.size + MIB + 64 * 1024


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EOPNOTSUPP])
def test_without_room_writes_go_on(log: Log, store: LogStore, disk: FaultyDisk, number: int) -> None:
    disk.faults = [("reserve", number)]
    fill(log, 20)
    assert disk.calls.count("reserve") == 1, "not asked for again in this segment"
    assert log.log_end_offset == 20
    log.roll(NOW_MS)
    fill(log, 4)
    assert disk.calls.count("reserve") > 1


def test_after_a_kill_recovery_gives_it_back(log: Log, store: LogStore, opener: Opener) -> None:
    fill(log, 20)
    store.flush(NOW_MS)
    size = log.active.size
    crash(store)
    again = opener(config=CONFIG).logs[T0]
    assert again.active.size == size
    assert allocated(again) < size + 64 * 1024
