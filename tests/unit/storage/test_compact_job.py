"""How a pass writes: a piece at a time, each on disk before the next, and behind the broker's flushes."""

import errno
import os
from mmap import PAGESIZE

import pytest

from odradek.storage import compact_job
from odradek.storage.compact_job import compact
from odradek.storage.compaction import CompactionPlan
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.jobs import Unmetered
from odradek.storage.log import Log
from odradek.storage.names import CLEANED

from .compacting import make_plan
from .conftest import NOW_MS, FaultyDisk, Opener, append, make_log

CONFIG = LogConfig(cleanup_policy=("compact",), segment_bytes=64 * 1024)
PIECE_BYTES = 8 * 1024


class Disk(FaultyDisk):
    """Tells which bytes are given out."""

    __slots__ = ("given_out",)

    def __init__(self) -> None:
        super().__init__()
        self.given_out: list[tuple[int, int]] = []

    def write_out(self, fd: int, position: int, length: int) -> None:
        assert os.fstat(fd).st_size >= position + length
        self.given_out.append((position, length))
        super().write_out(fd, position, length)


class Meter(Unmetered):
    def __init__(self, disk: Disk) -> None:
        super().__init__(lambda part: disk.calls.append("handed over"))
        self._disk = disk

    def give_way(self) -> None:
        self._disk.calls.append("give_way")


def dirty(opener: Opener, disk: Disk) -> tuple[Log, CompactionPlan]:
    store = opener(disk, CONFIG)
    log = make_log(store, CONFIG)
    for number in range(150):  # one of ten keys comes again
        key = b"%d" % (number if number % 10 else 0)
        append(log, os.urandom(1000), key=key)
    log.roll(NOW_MS)
    store.flush(NOW_MS)
    plan = make_plan(log)
    assert plan is not None
    disk.calls.clear()
    return log, plan


def test_each_piece_is_on_disk_before_the_next(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_job, "_PIECE_BYTES", PIECE_BYTES)
    disk = Disk()
    log, plan = dirty(opener, disk)
    compact(disk, plan, Meter(disk))
    calls = [call for call in disk.calls if call in ("pwrite", "give_way", "write_out")]
    number = calls.count("write_out")
    assert number >= 10
    assert " ".join(calls).count("give_way write_out") == number, "each gives way"
    assert "write_out pwrite" in " ".join(calls)
    position = 0
    for start, length in disk.given_out:
        assert start in (position, 0), "one after the other, or of the next segment"
        assert 0 < length <= PIECE_BYTES + PAGESIZE
        assert length % PAGESIZE == 0
        position = start + length
    sizes = [
        entry.stat().st_size for entry in os.scandir(log.folder) if entry.name.endswith(".log" + CLEANED)
    ]
    left = sum(sizes) - sum(length for _, length in disk.given_out)
    assert 0 <= left < len(sizes) * PAGESIZE, "the sync has less than a page left to do for each"


def test_a_piece_that_cannot_be_written_ends_the_pass(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of it once: a sync afterwards would succeed."""
    monkeypatch.setattr(compact_job, "_PIECE_BYTES", PIECE_BYTES)
    disk = Disk()
    log, plan = dirty(opener, disk)
    disk.faults = [("write_out", 0), ("write_out", errno.EIO)]
    with pytest.raises(OSError, match="EIO"):
        compact(disk, plan, Meter(disk))
    assert "handed over" not in disk.calls
    assert not [name for name in os.listdir(log.folder) if name.endswith(CLEANED)]


def test_what_is_copied_is_what_was_there(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the pieces fall."""
    disk = Disk()
    log, plan = dirty(opener, disk)
    contents: list[list[bytes]] = []
    for piece_bytes in (1, 1000, PAGESIZE, 1 << 20):
        monkeypatch.setattr(compact_job, "_PIECE_BYTES", piece_bytes)
        compact(SystemDisk(), plan, Unmetered())
        names = sorted(name for name in os.listdir(log.folder) if name.endswith(".log" + CLEANED))
        contents.append([disk.read_file(f"{log.folder}/{name}") for name in names])
    assert len(contents[0]) > 1
    assert contents == [contents[0]] * 4
