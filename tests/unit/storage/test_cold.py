"""Reading for cached bytes only: what is missing is named, one thing after the other, until nothing is."""

import os
from pathlib import Path

import pytest

from odradek.storage import cold, names
from odradek.storage.cold import ColdRange, ColdReadError, load
from odradek.storage.disk import SystemDisk
from odradek.storage.log import Log
from tests.support.disks import QuickDisk

from .conftest import NOW_MS, Opener, append, make_log


class ForgetfulDisk(QuickDisk):
    """Remembers of which files something was read ahead; nothing else is in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: set[int] = set()

    def is_cached(self, fd: int, position: int, /) -> bool:
        return os.fstat(fd).st_ino in self.loaded

    def read_ahead(self, fd: int, position: int, length: int) -> None:
        self.loaded.add(os.fstat(fd).st_ino)


@pytest.fixture
def disk() -> ForgetfulDisk:
    return ForgetfulDisk()


@pytest.fixture
def filled(opener: Opener, disk: ForgetfulDisk) -> Log:
    """Batches in several segments, of which the sealed ones have given everything back."""
    store = opener(disk)
    log = make_log(store)
    for number in range(30):
        append(log, b"%d" % number * 300)
    store.flush(NOW_MS)
    assert len(log.segments) > 2
    for segment in log.segments[:-1]:
        segment.close()
    return log


def test_index_and_bytes_are_asked_for_one_after_the_other(filled: Log, disk: ForgetfulDisk) -> None:
    first = filled.segments[0]
    missing: list[ColdRange] = []
    while True:
        try:
            result = filled.read(0, 1 << 20, filled.high_watermark, cached_only=True)
            break
        except ColdReadError as error:
            missing.append(error.missing)
            load(disk, error.missing)
    assert [each.path for each in missing] == [first.path(names.OFFSET_INDEX), first.path()]
    assert result == filled.read(0, 1 << 20, filled.high_watermark)


def test_the_range_is_what_would_be_read(filled: Log) -> None:
    first = filled.segments[0]
    first.offset_index  # noqa: B018 (loads it)
    size = filled.read(0, 1, filled.high_watermark).next_offset
    with pytest.raises(ColdReadError, match="is not in memory") as raised:
        filled.read(size, 64, filled.high_watermark, cached_only=True)
    missing = raised.value.missing
    assert missing.path == first.path()
    assert missing.end - missing.start == 64


def test_what_was_just_written_counts_as_cached(filled: Log) -> None:
    offset = filled.log_end_offset - 1
    assert filled.read(offset, 1 << 20, filled.high_watermark, cached_only=True).records


def test_far_from_the_end_the_active_segment_is_asked_about_too(
    filled: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odradek.storage.segment.FRESH_BYTES", 10)
    with pytest.raises(ColdReadError):
        filled.read(filled.active.base_offset, 1 << 20, filled.high_watermark, cached_only=True)


def test_who_can_wait_reads_as_ever(filled: Log) -> None:
    assert filled.read(0, 1 << 20, filled.high_watermark).records


def test_loading_reads_all_of_the_range_and_asks_for_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    asked: list[tuple[int, int]] = []
    read: list[tuple[int, int]] = []

    class Watched(SystemDisk):
        def read_ahead(self, fd: int, position: int, length: int) -> None:
            asked.append((position, length))

        def pread(self, fd: int, length: int, position: int, /) -> bytes:  # type: ignore[override]
            read.append((position, length))
            return os.pread(fd, length, position)

    load(Watched(), ColdRange(str(path), 100, 700_000))
    assert asked == [(100, 699_900 + cold.AHEAD_BYTES)]
    assert sum(length for _, length in read) == 699_900


def test_the_system_tells_what_is_in_memory(tmp_path: Path) -> None:
    if not hasattr(os, "posix_fadvise"):
        pytest.skip("this system cannot drop a file from memory")
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    disk = SystemDisk()
    fd = disk.open(str(path))
    try:
        assert disk.is_cached(fd, 999_999)
        disk.sync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if disk.is_cached(fd, 999_999):
            pytest.skip("this file system keeps its files in memory")
        load(disk, ColdRange(str(path), 0, 1_000_000))
        assert disk.is_cached(fd, 0)
        assert disk.is_cached(fd, 999_999)
    finally:
        disk.close(fd)
