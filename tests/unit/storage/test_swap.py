"""Compacted segments in the place of old ones: a crash at any step leaves either the one or the others."""

import contextlib
import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from odradek.records.record import Record
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.log import Log
from odradek.storage.producers import AbortedTransaction
from odradek.storage.store import LogStore
from odradek.storage.swap import swap_in
from odradek.testing.clock import FakeClock
from tests.support.disks import QuickDisk

from .compacting import clean, make_plan, run_plan
from .conftest import NOW_MS, T0, FaultyDisk, Opener, append, batch, crash, make_log, read_all

COMPACTED = LogConfig(cleanup_policy=("compact",), segment_bytes=2048, index_interval_bytes=200)
ROOMY = COMPACTED.with_changes(segment_bytes=1 << 20)
"""All sealed segments fit into one."""


class PowerCut(BaseException):
    """Not an error that anything may handle."""


class CutDisk(QuickDisk):
    """Loses power after ``left`` changes: files that were not synced since they were written are torn."""

    __slots__ = ("changes", "left", "unsynced")

    def __init__(self, left: int = 1 << 60) -> None:
        super().__init__()
        self.left = left
        self.changes = 0
        self.unsynced: set[int] = set()

    def _change(self) -> None:
        self.changes += 1
        if self.changes > self.left:
            raise PowerCut

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        if create:
            self._change()
        return super().open(path, create=create, writable=writable)

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int, /) -> int:  # type: ignore[override]
        self._change()
        self.unsynced.add(os.fstat(fd).st_ino)
        return SystemDisk.pwrite(fd, data, position)

    def truncate(self, fd: int, length: int, /) -> None:  # type: ignore[override]
        self._change()
        SystemDisk.truncate(fd, length)

    def sync(self, fd: int, /) -> None:  # type: ignore[override]
        self.unsynced.discard(os.fstat(fd).st_ino)

    def sync_data(self, fd: int, /) -> None:
        self.sync(fd)

    def sync_file_system(self, fd: int) -> bool:
        self.unsynced.clear()
        return True

    def rename(self, old: str, new: str, /) -> None:  # type: ignore[override]
        self._change()
        SystemDisk.rename(old, new)

    def remove(self, path: str) -> None:
        if os.path.exists(path):
            self._change()
        super().remove(path)

    def tear(self, folder: Path) -> None:
        """What the power cut does to what was not synced."""
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_ino in self.unsynced:
                os.truncate(path, path.stat().st_size // 2)


def fill(log: Log) -> None:
    for number in range(90):
        key = b"key %d" % (number % 7)
        records = batch(b"value %d" % number, key=key, timestamp=NOW_MS + number)
        log.append(records, NOW_MS + number, leader_epoch=0)


def open_store(disk: SystemDisk, folder: Path) -> LogStore:
    return LogStore.open(str(folder), disk, FakeClock(NOW_MS), random.Random(7), config_of=lambda _: ROOMY)


def content(store: LogStore) -> list[Record]:
    log = store.logs[T0]
    assert log.offline is None
    return read_all(log)


def leftovers(store: LogStore) -> list[str]:
    names = os.listdir(store.logs[T0].folder)
    return [name for name in names if name.endswith((".cleaned", ".swap", ".deleted"))]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a log to be compacted, as a crash has left it."""
    folder = tmp_path_factory.mktemp("swap") / "original"
    store = open_store(QuickDisk(), folder)
    log = make_log(store, COMPACTED)
    fill(log)
    assert len(log.segments) == 4
    for segment in log.segments[:-1]:
        segment.rewrite_transactions([AbortedTransaction(1, segment.base_offset, segment.base_offset, 0)])
    store.flush(NOW_MS)
    store.write_checkpoints()
    crash(store)
    return folder


def compacted(disk: SystemDisk, folder: Path) -> LogStore:
    store = open_store(disk, folder)
    assert clean(store.logs[T0]) is not None
    store.flush(NOW_MS)
    return store


def test_crash_at_every_step(original: Path, tmp_path: Path) -> None:
    old_store = open_store(QuickDisk(), shutil.copytree(original, tmp_path / "old"))
    old = content(old_store)
    crash(old_store)
    whole_disk = CutDisk()
    new_store = open_store(whole_disk, shutil.copytree(original, tmp_path / "new"))
    opened = whole_disk.changes
    clean(new_store.logs[T0])
    new = content(new_store)
    assert len(new_store.logs[T0].segments) == 2
    crash(new_store)
    assert set(new) < set(old)
    seen = set()
    for left in range(opened, whole_disk.changes + 1):
        folder = shutil.copytree(original, tmp_path / f"cut {left}")
        disk = CutDisk(left)
        store = open_store(disk, folder)
        with contextlib.suppress(PowerCut):
            clean(store.logs[T0])
        crash(store)
        disk.tear(folder)
        found = _recover_with_more_crashes(folder, tmp_path / f"again {left}")
        assert found in (old, new), f"neither old nor new after {left} changes"
        seen.add(len(found))
    assert seen == {len(old), len(new)}


def _recover_with_more_crashes(folder: Path, copy: Path) -> list[Record]:
    """Recovers; if a swap is to be finished, again with cuts on the way, which must come to the same."""
    is_swapping = any(folder.rglob("*.swap"))
    shutil.copytree(folder, copy)
    disk = CutDisk()
    store = open_store(disk, folder)
    found = content(store)
    assert leftovers(store) == []
    crash(store)
    for left in range(0, disk.changes if is_swapping else 0, 5):
        again = shutil.copytree(copy, copy.with_suffix(f".{left}"))
        cut = CutDisk(left)
        try:
            crash(open_store(cut, again))
        except PowerCut:
            cut.tear(again)
        store = open_store(QuickDisk(), again)
        assert content(store) == found
        assert leftovers(store) == []
        crash(store)
    return found


def test_reading_goes_on_across_a_swap(opener: Opener) -> None:
    store = opener(config=COMPACTED)
    log = make_log(store, COMPACTED)
    fill(log)
    store.flush(NOW_MS)
    held = log.read(0, 1 << 20, log.high_watermark)
    before = bytes(held.records)
    position = log.segments[2].base_offset - 3
    log.read(position, 200, log.high_watermark)  # its place is remembered
    expected = [record for record in read_all(log) if record.offset >= 83]
    assert clean(log) is not None
    assert bytes(held.records) == before, "what was handed out stays"
    assert [record for record in read_all(log) if record.offset >= 83] == expected
    assert [record.offset for record in read_all(log, 100, start=position)][-1] == 89
    assert log.segments[0].base_offset == 0
    assert append(log, b"goes on").base_offset == 90


def test_segments_that_are_gone_are_not_replaced(opener: Opener, tmp_path: Path) -> None:
    store = opener(config=COMPACTED)
    log = make_log(store, COMPACTED)
    fill(log)
    log.config = ROOMY
    store.flush(NOW_MS)
    plan = make_plan(log)
    assert plan is not None
    parts: list[object] = []
    run_plan(log, plan, parts.append)
    log.advance_log_start(log.segments[1].base_offset)
    before = read_all(log)
    assert not swap_in(log, parts[0])  # type: ignore[arg-type]
    assert read_all(log) == before
    assert not (tmp_path / "data" / "t-0" / f"{0:020d}.log.cleaned").exists()


def test_a_swap_that_fails_before_it_counts_leaves_the_log(opener: Opener) -> None:
    class Disk(FaultyDisk):
        def rename(self, old: str, new: str, /) -> None:  # type: ignore[override]
            self._maybe_fail("rename")
            SystemDisk.rename(old, new)

    disk = Disk()
    store = opener(disk, COMPACTED)
    log = make_log(store, COMPACTED)
    fill(log)
    log.config = ROOMY
    store.flush(NOW_MS)
    before = read_all(log)
    disk.faults = [("rename", 0), ("rename", errno.EIO)]
    with pytest.raises(OSError, match="EIO"):
        clean(log)
    assert read_all(log) == before
    assert not [name for name in os.listdir(log.folder) if name.endswith((".cleaned", ".swap"))]
    assert clean(log) is not None
    assert len(read_all(log)) < len(before)

    fill(log)
    log.roll(NOW_MS)
    store.flush(NOW_MS)
    disk.faults = [*[("rename", 0)] * 6, ("rename", errno.EIO)]
    with pytest.raises(OSError, match="EIO"):
        clean(log)
    assert log.offline is not None, "half-way only a start can tell"


def test_kafkas_own_interrupted_swap(opener: Opener, tmp_path: Path) -> None:
    """Kafka renames the log first: its indexes may still be .cleaned, or be the only .swap files left."""
    store = opener(config=COMPACTED)
    log = make_log(store, COMPACTED)
    fill(log)
    store.flush(NOW_MS)
    plan = make_plan(log)
    assert plan is not None
    old = read_all(log)
    run_plan(log, plan, lambda part: None)
    crash(store)
    base = f"{0:020d}"
    early = shutil.copytree(tmp_path / "data", tmp_path / "early")
    (early / "t-0" / f"{base}.log.cleaned").rename(early / "t-0" / f"{base}.log.swap")
    store = opener(config=COMPACTED, folder=early)
    new = content(store)
    assert len(new) < len(old)
    assert leftovers(store) == []
    crash(store)
    late = shutil.copytree(early, tmp_path / "late")
    for suffix in (".index", ".timeindex", ".txnindex"):
        (late / "t-0" / (base + suffix)).rename(late / "t-0" / f"{base}{suffix}.swap")
    store = opener(config=COMPACTED, folder=late)
    assert content(store) == new
    assert leftovers(store) == []
    assert (late / "t-0" / f"{base}.txnindex").exists()


def test_what_is_clean_is_left_as_it_is(opener: Opener) -> None:
    store = opener(config=COMPACTED)
    log = make_log(store, COMPACTED)
    fill(log)
    log.config = ROOMY
    store.flush(NOW_MS)
    assert clean(log) is not None
    segment = log.segments[0]
    assert clean(log) is not None
    assert log.segments[0] is segment, "a pass that would change nothing swaps nothing"
    assert not [name for name in os.listdir(log.folder) if name.endswith(".cleaned")]
