"""Files that are out of use go in pieces from their end, where nobody else has anything of them."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.log import Log
from odradek.storage.removal import Garbage, Remover
from odradek.storage.store import LogStore
from tests.support.disks import QuickDisk

from .compacting import clean
from .conftest import NOW_MS, Opener, batch, crash, make_log, read_all

PIECE = 4096
COMPACTED = LogConfig(
    cleanup_policy=("compact",), segment_bytes=6 * PIECE, index_interval_bytes=1000, file_delete_delay_ms=0
)


class NotingDisk(QuickDisk):
    """Notes what is done to files, and whether within a turn."""

    __slots__ = ("done", "in_turn", "refused")

    def __init__(self) -> None:
        super().__init__()
        self.done: list[object] = []
        self.in_turn = False
        self.refused: str | None = None

    def _note(self, call: str, what: object) -> None:
        if call == self.refused:
            raise OSError(errno.EPERM, "refused")
        self.done.append(what)

    def truncate(self, fd: int, length: int, /) -> None:  # type: ignore[override]
        self._note("truncate", (length, self.in_turn))
        os.ftruncate(fd, length)

    def sync_folder(self, path: str) -> None:
        self._note("sync_folder", "folder")

    def remove(self, path: str) -> None:
        if os.path.exists(path):
            self.done.append("unlink")
        super().remove(path)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        self.in_turn = True
        try:
            yield
        finally:
            self.in_turn = False


@pytest.fixture
def disk() -> NotingDisk:
    return NotingDisk()


def remove(disk: NotingDisk, path: Path, *, may_be_cut: bool = True) -> list[object]:
    """What was done to the disk."""
    remover = Remover(disk)
    remover.turn, remover.piece_bytes = disk.turn, PIECE
    remover.remove([Garbage(str(path), 0, may_be_cut)])
    assert not path.exists()
    assert not disk.in_turn
    return disk.done


def make_file(folder: Path, size: int) -> Path:
    path = folder / "0.log.deleted"
    path.write_bytes(os.urandom(size))
    return path


@pytest.mark.parametrize("size", [3 * PIECE, 3 * PIECE - 1, 2 * PIECE + 1])
def test_in_pieces_from_the_end(disk: NotingDisk, tmp_path: Path, size: int) -> None:
    done = remove(disk, make_file(tmp_path, size))
    assert done == ["folder", (2 * PIECE, True), (PIECE, True), "unlink"]


def test_a_small_file_at_once(disk: NotingDisk, tmp_path: Path) -> None:
    assert remove(disk, make_file(tmp_path, 2 * PIECE - 1)) == ["unlink"]


def test_a_file_that_a_job_may_read_at_once(disk: NotingDisk, tmp_path: Path) -> None:
    assert remove(disk, make_file(tmp_path, 5 * PIECE), may_be_cut=False) == ["unlink"]


def test_one_sync_for_all_names_of_a_folder(disk: NotingDisk, tmp_path: Path) -> None:
    paths = [tmp_path / "1.log.deleted", tmp_path / "2.log.deleted"]
    for path in paths:
        path.write_bytes(bytes(2 * PIECE))
    remover = Remover(disk)
    remover.piece_bytes = PIECE
    remover.remove([Garbage(str(path), 0, may_be_cut=True) for path in paths])
    assert disk.done == ["folder", (PIECE, False), "unlink", (PIECE, False), "unlink"]


def test_another_name_keeps_its_bytes(disk: NotingDisk, tmp_path: Path) -> None:
    path = make_file(tmp_path, 5 * PIECE)
    content = path.read_bytes()
    os.link(path, tmp_path / "backup")
    assert remove(disk, path) == ["unlink"]
    assert (tmp_path / "backup").read_bytes() == content


def test_views_keep_their_bytes(disk: NotingDisk, tmp_path: Path) -> None:
    """Of a mapping that is not the last one either, and of a part only."""
    path = make_file(tmp_path, 5 * PIECE)
    content = path.read_bytes()
    fd = disk.open(str(path))
    first = disk.map(fd, 4 * PIECE)[3 * PIECE :]
    assert not disk.is_unshared(fd)
    last = disk.map(fd, 5 * PIECE)
    del last
    disk.close(fd)
    assert remove(disk, path) == ["unlink"]
    assert bytes(first) == content[3 * PIECE : 4 * PIECE]


def test_a_view_that_is_gone_is_forgotten(disk: NotingDisk, tmp_path: Path) -> None:
    path = make_file(tmp_path, 3 * PIECE)
    fd = disk.open(str(path))
    view = disk.map(fd, PIECE)[:10]
    assert not disk.is_unshared(fd)
    del view
    assert disk.is_unshared(fd)
    disk.close(fd)
    assert "folder" in remove(disk, path)


@pytest.mark.parametrize("call", ["truncate", "sync_folder"])
def test_what_cannot_be_cut_is_unlinked(disk: NotingDisk, tmp_path: Path, call: str) -> None:
    disk.refused = call
    assert remove(disk, make_file(tmp_path, 5 * PIECE))[-1] == "unlink"
    assert not any(isinstance(each, tuple) for each in disk.done)


def test_a_file_that_is_gone(disk: NotingDisk, tmp_path: Path) -> None:
    assert remove(disk, tmp_path / "gone.deleted") == []


# -- of logs


def fill(log: Log) -> None:
    for number in range(90):
        records = batch(bytes(1000), key=b"key %d" % (number % 7), timestamp=NOW_MS + number)
        log.append(records, NOW_MS + number, leader_epoch=0)
    log.roll(NOW_MS)


def filled(opener: Opener, disk: NotingDisk) -> tuple[LogStore, Log]:
    store = opener(disk=disk, config=COMPACTED)
    store.remover.piece_bytes = PIECE
    log = make_log(store, COMPACTED)
    fill(log)
    store.flush(NOW_MS)
    return store, log


def remove_garbage(store: LogStore, disk: NotingDisk) -> None:
    """The disk then has noted this only."""
    disk.done.clear()
    finish = store.collect_garbage(0)
    assert finish is not None
    finish()


def test_replaced_segments_are_cut_but_for_what_is_being_sent(opener: Opener) -> None:
    disk = NotingDisk()
    store, log = filled(opener, disk)
    held = log.read(0, 1 << 20, log.high_watermark).records
    before = bytes(held)
    assert clean(log) is not None
    expected = read_all(log)
    remove_garbage(store, disk)
    cuts = [each for each in disk.done if isinstance(each, tuple)]
    assert cuts
    assert next(each for each in disk.done if each != "unlink") == "folder", "durable before it is cut"
    assert bytes(held) == before
    assert read_all(log) == expected
    assert not [name for name in os.listdir(log.folder) if name.endswith(".deleted")]


@pytest.mark.parametrize("has_pass", [True, False])
def test_segments_that_retention_deletes_are_not_cut_while_a_pass_may_read_them(
    opener: Opener, has_pass: bool
) -> None:
    disk = NotingDisk()
    store, log = filled(opener, disk)
    store.volume.is_being_compacted = lambda one: has_pass and one is log
    reading = os.open(log.segments[0].path(), os.O_RDONLY)  # as a pass under way does
    size = log.segments[0].size
    log.advance_log_start(log.segments[2].base_offset)
    store.volume.is_being_compacted = lambda one: False
    remove_garbage(store, disk)
    cuts = [each for each in disk.done if isinstance(each, tuple)]
    assert bool(cuts) is not has_pass, "the pass may have been over by then, or it may be another"
    assert os.fstat(reading).st_size == (size if has_pass else PIECE)
    os.close(reading)


def test_a_deleted_log_is_cut_once_the_name_of_its_folder_is_durable(opener: Opener) -> None:
    disk = NotingDisk()
    store, log = filled(opener, disk)
    held = log.read(0, 1 << 20, log.high_watermark).records
    before = bytes(held)
    store.delete(log.topic_partition)
    remove_garbage(store, disk)
    assert disk.done[0] == "folder"
    assert disk.done.count("folder") == 1
    assert len({each for each in disk.done if isinstance(each, tuple)}) > 1
    assert bytes(held) == before
    assert not list(Path(store.folder).glob("*-delete"))


def test_a_stop_waits_for_one_piece_at_most(opener: Opener) -> None:
    disk = NotingDisk()
    store, log = filled(opener, disk)

    @contextlib.contextmanager
    def turn() -> Iterator[None]:
        yield
        store.remover.stop()

    store.remover.turn = turn
    store.delete(log.topic_partition)
    remove_garbage(store, disk)
    assert len([each for each in disk.done if isinstance(each, tuple)]) == 1
    crash(store)
    assert list(Path(store.folder).glob("*-delete"))
    again = opener(config=COMPACTED)
    remove = again.collect_garbage(0)
    assert remove is not None
    remove()
    assert not list(Path(store.folder).glob("*-delete"))


def test_a_start_removes_what_was_left_half_way(opener: Opener) -> None:
    store = opener(config=COMPACTED)
    log = make_log(store, COMPACTED)
    fill(log)
    store.flush(NOW_MS)
    assert clean(log) is not None
    store.flush(NOW_MS)
    expected = read_all(log)
    (cut, *_) = sorted(Path(log.folder).glob("*.log.deleted"))
    os.truncate(cut, PIECE)
    crash(store)
    again = opener(config=COMPACTED)
    (log,) = again.logs.values()
    assert log.offline is None
    assert read_all(log) == expected
    assert not list(Path(log.folder).glob("*.deleted"))


def test_the_systems_own_disk(tmp_path: Path) -> None:
    path = make_file(tmp_path, 5 * PIECE)
    remover = Remover(SystemDisk())
    remover.piece_bytes = PIECE
    remover.remove([Garbage(str(path), 0, may_be_cut=True)])
    assert not path.exists()
