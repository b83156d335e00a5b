"""The disk seam's own promises."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from odradek.storage.disk import Entry, LockHeldError, Replacer, SystemDisk, replace_file, write_all

from .conftest import FaultyDisk


@pytest.fixture
def disk() -> SystemDisk:
    return SystemDisk()


def test_replacing_a_file(disk: SystemDisk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / "file.tmp").write_text("a longer leftover of an earlier try")
    replace_file(disk, str(path), b"one")
    replace_file(disk, str(path), b"two!")
    assert path.read_bytes() == b"two!"
    assert disk.entries(str(tmp_path)) == [Entry("file", False)]
    assert disk.file_size(str(path)) == 4


def test_mapped_bytes_outlive_their_file(disk: SystemDisk, tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    fd = disk.open(path, create=True)
    write_all(disk, fd, b"content", 0)
    view = disk.map(fd, 7)
    disk.close(fd)
    disk.remove(path)
    disk.remove(path)
    assert bytes(view[3:]) == b"tent"


def test_syncing(disk: SystemDisk, tmp_path: Path) -> None:
    fd = disk.open(str(tmp_path / "file"), create=True)
    disk.sync_data(fd)
    disk.sync(fd)
    disk.sync_folder(str(tmp_path))
    assert disk.sync_file_system(fd) in (True, False)
    disk.close(fd)


def test_writing_out_does_without_a_system_that_cannot(
    disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = disk.open(str(tmp_path / "file"), create=True)
    write_all(disk, fd, b"content", 0)
    disk.write_out(fd, 0, 7)
    answer = errno.ENOSYS

    def call(name: str, fd: int, *numbers: int) -> bool:
        raise OSError(answer, name)

    monkeypatch.setattr(SystemDisk, "_libc_call", staticmethod(call))
    disk.write_out(fd, 0, 7)
    answer = errno.EIO
    with pytest.raises(OSError, match="sync_file_range"):
        disk.write_out(fd, 0, 7)
    disk.close(fd)


def test_folders(disk: SystemDisk, tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b")
    disk.make_folder(path)
    disk.make_folder(path)
    assert disk.entries(str(tmp_path / "a")) == [Entry("b", True)]
    disk.remove_folder(str(tmp_path / "a"))
    disk.remove_folder(str(tmp_path / "a"))
    assert not disk.exists(path)


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    class Stuck(FaultyDisk):
        __slots__ = ()

        def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int, /) -> int:  # type: ignore[override]
            return 0

    disk = Stuck()
    fd = disk.open(str(tmp_path / "file"), create=True)
    with pytest.raises(OSError, match="no more bytes"):
        write_all(disk, fd, b"content", 0)
    disk.close(fd)


def test_what_was_prepared_earlier_replaces_nothing_newer(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replacer = Replacer(SystemDisk())
    earlier = replacer.prepare(str(path), b"earlier")
    replacer.prepare(str(path), b"later")()
    earlier()
    assert path.read_bytes() == b"later"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fallocate is Linux's")
def test_room_that_is_set_aside_makes_no_file_longer(tmp_path: Path) -> None:
    disk = SystemDisk()
    fd = disk.open(str(tmp_path / "file"), create=True)
    disk.pwrite(fd, b"content", 0)
    try:
        disk.reserve(fd, 7, 1 << 20)
    except OSError as error:
        pytest.skip(f"not on this file system: {error}")
    assert disk.size(fd) == 7
    assert os.fstat(fd).st_blocks * 512 >= 1 << 20
    disk.truncate(fd, 7)
    assert os.fstat(fd).st_blocks * 512 < 1 << 20
    disk.close(fd)
    with pytest.raises(OSError, match="descriptor"):
        disk.reserve(fd, 0, 1)


def test_a_lock_whose_holder_runs_no_more_is_held_by_a_child_of_it(tmp_path: Path) -> None:
    disk, path = SystemDisk(), tmp_path / ".lock"
    fd = disk.lock(str(path))
    with pytest.raises(LockHeldError, match=str(os.getpid())) as held:
        disk.lock(str(path))
    assert not held.value.is_holder_gone
    gone = subprocess.Popen(["true"])
    gone.wait()
    path.write_text(f"{gone.pid}\n")
    with pytest.raises(LockHeldError) as held:
        disk.lock(str(path))
    assert held.value.is_holder_gone
    path.write_text("")
    with pytest.raises(LockHeldError, match="another process") as held:
        disk.lock(str(path))
    assert not held.value.is_holder_gone
    os.close(fd)
    os.close(disk.lock(str(path)))
