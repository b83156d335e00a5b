"""Which pages of a mapped file are in memory is told exactly, and asking reads none of them."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from odradek.storage import page_cache
from odradek.storage.disk import SystemDisk
from odradek.storage.page_cache import Mapping

PAGES = 100
SIZE = PAGES * mmap.PAGESIZE


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    disk = SystemDisk()
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    fd = disk.open(str(path))
    disk.sync(fd)
    yield fd
    disk.close(fd)


@pytest.fixture
def forgotten(fd: int) -> Mapping:
    """A file of which nothing is in memory."""
    if not hasattr(os, "posix_fadvise"):
        pytest.skip("this system cannot drop a file from memory")
    SystemDisk().read_no_further(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    mapping = Mapping(fd, SIZE)
    if mapping.is_in_memory(0, SIZE):
        pytest.skip("this file system keeps its files in memory")
    return mapping


def test_what_was_written_is_there(fd: int) -> None:
    view = SystemDisk().map(fd, SIZE)
    assert SystemDisk().is_cached(view, 0, SIZE)
    assert SystemDisk().is_cached(view, SIZE - 1, SIZE)


def test_asking_has_nothing_read(forgotten: Mapping) -> None:
    for _ in range(10):
        assert not any(
            forgotten.is_in_memory(page * mmap.PAGESIZE, (page + 1) * mmap.PAGESIZE) for page in range(PAGES)
        )


def test_each_page_counts(forgotten: Mapping, fd: int) -> None:
    page = mmap.PAGESIZE
    os.pread(fd, 3 * page, 10 * page)
    assert forgotten.is_in_memory(10 * page, 13 * page)
    assert forgotten.is_in_memory(12 * page + 7, 12 * page + 8)
    assert not forgotten.is_in_memory(10 * page, 13 * page + 1)
    assert not forgotten.is_in_memory(10 * page - 1, 13 * page)


def test_a_page_of_a_mapping_is_read_alone(forgotten: Mapping) -> None:
    page = mmap.PAGESIZE
    assert forgotten[50 * page] == 0
    assert forgotten.is_in_memory(50 * page, 51 * page)
    assert not forgotten.is_in_memory(51 * page, 52 * page)
    assert not forgotten.is_in_memory(49 * page, 50 * page)


def test_where_nobody_can_tell_it_counts_as_there(
    forgotten: Mapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "_tools", lambda: None)
    forgotten._look = None
    assert forgotten.is_in_memory(0, SIZE)
