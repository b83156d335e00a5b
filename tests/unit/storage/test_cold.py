"""Reading for cached bytes only: what is missing is named, one thing after the other, until nothing is."""

import os
from pathlib import Path

import pytest

from odradek.storage import names
from odradek.storage.cold import ColdRange, ColdReadError, load
from odradek.storage.disk import SystemDisk
from odradek.storage.log import Log
from tests.support.disks import QuickDisk

from .conftest import NOW_MS, Opener, append, make_log


class ForgetfulDisk(QuickDisk):
    """Remembers what was read from descriptors for reading only; nothing else is in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: set[int] = set()
        self.reads_are_kept = True
        self._readers: set[int] = set()
        self._mapped: list[tuple[object, int]] = []

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        fd = super().open(path, create=create, writable=writable)
        self._readers.discard(fd)
        if not writable:
            self._readers.add(fd)
        return fd

    def pread(self, fd: int, length: int, position: int, /) -> bytes:  # type: ignore[override]
        if fd in self._readers and self.reads_are_kept:
            self.loaded.add(os.fstat(fd).st_ino)
        return os.pread(fd, length, position)

    def map(self, fd: int, length: int) -> memoryview:
        mapped = super().map(fd, length)
        self._mapped.append((mapped.obj, os.fstat(fd).st_ino))
        return mapped

    def is_cached(self, mapped: memoryview, start: int, end: int) -> bool:
        return all(inode in self.loaded for mapping, inode in self._mapped if mapping is mapped.obj)


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


def test_the_range_is_what_would_be_read(filled: Log, disk: ForgetfulDisk) -> None:
    first = filled.segments[0]
    first.offset_index  # noqa: B018 (loads it)
    size = filled.read(0, 1, filled.high_watermark).next_offset
    disk.loaded.clear()
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
    monkeypatch.setattr("odradek.storage.cold.FRESH_BYTES", 10)
    with pytest.raises(ColdReadError):
        filled.read(filled.active.base_offset, 1 << 20, filled.high_watermark, cached_only=True)


def test_who_can_wait_reads_as_ever(filled: Log) -> None:
    assert filled.read(0, 1 << 20, filled.high_watermark).records


def test_a_first_batch_larger_than_what_may_be_read_is_asked_about_whole(
    filled: Log, disk: ForgetfulDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = filled.segments[0]
    first.offset_index  # noqa: B018 (loads it)
    asked: list[tuple[int, int]] = []

    def is_cached(mapped: memoryview, start: int, end: int) -> bool:
        asked.append((start, end))
        return True

    monkeypatch.setattr(disk, "is_cached", is_cached)
    read = filled.read(0, 1, filled.high_watermark, cached_only=True)
    assert asked[-1] == (0, len(read.records))


def test_who_reads_what_may_not_be_there_gets_a_copy(filled: Log, disk: ForgetfulDisk) -> None:
    """A page of a mapping that cannot be read would be a signal, not an error."""
    assert isinstance(filled.read(0, 1 << 20, filled.high_watermark).records, bytes)
    load(disk, ColdRange(filled.segments[0].path(), 0, 10))
    assert isinstance(filled.read(0, 1 << 20, filled.high_watermark, cached_only=True).records, memoryview)


def test_loading_reads_all_of_the_range(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    read: list[tuple[int, int]] = []

    class Watched(SystemDisk):
        def pread(self, fd: int, length: int, position: int, /) -> bytes:  # type: ignore[override]
            read.append((position, length))
            return os.pread(fd, length, position)

    load(Watched(), ColdRange(str(path), 100, 700_000))
    assert read[0][0] == 100
    assert sum(length for _, length in read) == 699_900
