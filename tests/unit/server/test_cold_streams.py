"""Streams of the past: who waits goes first, all come in turn, and each reads on a little by itself."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from odradek.server import cold_streams
from odradek.server.cold_streams import ColdStreams
from odradek.storage.cold import PIECE_BYTES, ColdRange
from odradek.storage.disk import SystemDisk

SIZE = 20 * PIECE_BYTES + 100
AHEAD = 4 * PIECE_BYTES


class Watched(SystemDisk):
    """Notes what is read, by file name and piece."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[str, int]] = []
        self.asked: list[tuple[int, int]] = []
        self.opened: dict[int, str] = {}
        self.error: Exception | None = None

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        fd = super().open(path, create=create, writable=writable)
        self.opened[fd] = Path(path).name
        return fd

    def close(self, fd: int, /) -> None:  # type: ignore[override]
        del self.opened[fd]
        os.close(fd)

    def pread(self, fd: int, length: int, position: int, /) -> bytes:  # type: ignore[override]
        assert length <= PIECE_BYTES
        if self.error is not None:
            raise self.error
        self.read.append((self.opened[fd], position // PIECE_BYTES))
        return os.pread(fd, length, position)

    def read_ahead(self, fd: int, position: int, length: int) -> None:
        self.asked.append((position, length))


class Turns:
    """Counts the pieces."""

    is_quiet = False
    pieces = 0

    def piece(self) -> AbstractContextManager[None]:
        self.pieces += 1
        return nullcontext()


class Past:
    """Two files and the streams of them."""

    def __init__(self, folder: Path) -> None:
        for name in "ab":
            (folder / name).write_bytes(bytes(SIZE))
        self._folder = folder
        self.disk = Watched()
        self.turns = Turns()
        self.streams = ColdStreams(self.disk, self.turns)
        self.told: list[object] = []

    def want(self, name: str, start: int, end: int) -> None:
        """Pieces from ``start`` to ``end`` of a file."""
        wanted = ColdRange(str(self._folder / name), start * PIECE_BYTES, end * PIECE_BYTES)
        self.streams.want(wanted, lambda error: self.told.append(error or (name, start, end)))

    def read(self, most: int = 100) -> list[tuple[str, int]]:
        """At most so many pieces; which they were."""
        self.disk.read.clear()
        for _ in range(most):
            if not self.streams.read_next():
                break
        return list(self.disk.read)


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    monkeypatch.setattr(cold_streams, "AHEAD_BYTES", AHEAD)
    return Past(tmp_path)


def test_who_waits_is_told_at_once_and_more_is_read_then(past: Past) -> None:
    past.want("a", 2, 4)
    assert past.read(2) == [("a", 2), ("a", 3)]
    assert past.told == [("a", 2, 4)]
    assert past.read() == [("a", 4), ("a", 5), ("a", 6), ("a", 7)]
    assert not past.disk.opened, "what is read to its end is given back"


def test_each_piece_has_its_turn(past: Past) -> None:
    past.want("a", 0, 2)
    assert len(past.read()) == past.turns.pieces == 6
    assert not past.disk.asked, "nothing is read ahead beside others who need the disk"


def test_a_quiet_disk_is_asked_for_all_at_once(past: Past) -> None:
    past.turns.is_quiet = True
    past.want("a", 0, 1)
    past.read(2)
    past.want("a", 1, 3)
    past.read()
    assert past.disk.asked == [(0, PIECE_BYTES + AHEAD), (PIECE_BYTES + AHEAD, 2 * PIECE_BYTES)]


def test_who_goes_on_reading_is_served_by_the_same_stream(past: Past) -> None:
    past.want("a", 0, 2)
    past.read(3)
    past.want("a", 2, 4)
    assert past.read(1) == [("a", 2)], "a piece that is there may be read again, from memory"
    assert past.read(1) == [("a", 3)]
    assert past.told == [("a", 0, 2), ("a", 2, 4)]
    assert len(past.disk.opened) == 1


def test_those_who_wait_come_before_what_is_read_on_and_in_turn(past: Past) -> None:
    past.want("a", 0, 1)
    past.read(1)
    past.want("b", 10, 12)
    past.want("a", 15, 16)
    assert past.read(3) == [("b", 10), ("a", 15), ("b", 11)]
    assert past.told == [("a", 0, 1), ("a", 15, 16), ("b", 10, 12)]
    assert {name for name, _ in past.read()} == {"a", "b"}


def test_a_file_that_ends(past: Past) -> None:
    past.want("a", 20, 22)
    assert past.read() == [("a", 20)]
    assert past.told == [("a", 20, 22)]
    assert not past.disk.opened


def test_a_file_that_is_gone_is_no_error(past: Past) -> None:
    past.want("gone", 0, 1)
    past.read()
    assert past.told == [("gone", 0, 1)]


def test_an_error_is_told_to_all_who_wait_for_that_file(past: Past) -> None:
    past.want("a", 0, 1)
    past.want("a", 1, 2)
    past.disk.error = OSError(5, "I/O error")
    past.read()
    assert past.told == [past.disk.error] * 2
    assert not past.disk.opened
    past.disk.error = None
    past.want("a", 0, 1)
    past.read()
    assert past.told[-1] == ("a", 0, 1)


def test_a_fault_of_ours_leaves_nobody_waiting(past: Past, caplog: pytest.LogCaptureFixture) -> None:
    past.disk.error = RuntimeError("broken")
    past.want("a", 0, 1)
    past.read()
    assert past.told == [("a", 0, 1)]
    assert "a fault of ours" in caplog.text


def test_two_threads_read_two_streams(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one reads, the other leaves alone; one who wants more of it meanwhile is served all the same."""
    pread, nested = past.disk.pread, []

    def interrupted(fd: int, length: int, position: int, /) -> bytes:
        monkeypatch.setattr(past.disk, "pread", pread)
        past.want("a", 1, 2)
        nested.append(past.streams.read_next())
        past.want("b", 3, 4)
        nested.append(past.streams.read_next())
        return pread(fd, length, position)

    past.want("a", 0, 1)
    monkeypatch.setattr(past.disk, "pread", interrupted)
    assert past.streams.read_next()
    assert nested == [False, True]
    assert past.read(1) == [("a", 1)]
    assert past.told == [("b", 3, 4), ("a", 0, 1), ("a", 1, 2)]


def test_going_back_during_a_piece(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = past.disk.pread

    def interrupted(fd: int, length: int, position: int, /) -> bytes:
        monkeypatch.setattr(past.disk, "pread", pread)
        past.want("a", 3, 4)
        return pread(fd, length, position)

    past.want("a", 5, 6)
    monkeypatch.setattr(past.disk, "pread", interrupted)
    past.read(2)
    assert past.told == [("a", 3, 4)]
    past.read()
    assert past.told == [("a", 3, 4), ("a", 5, 6)]


def test_after_a_stop_nobody_is_told_and_nothing_stays_open(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread = past.disk.pread

    def interrupted(fd: int, length: int, position: int, /) -> bytes:
        past.streams.stop()
        return pread(fd, length, position)

    past.want("a", 0, 2)
    past.want("b", 0, 2)
    past.read(2)
    monkeypatch.setattr(past.disk, "pread", interrupted)
    past.streams.read_next()
    assert past.told == []
    assert not past.disk.opened
    assert not past.streams.read_next()
