"""Writes down, in one order, what a broker does to its files and what its clients were told.

:class:`RecordingDisk` is the real disk and takes notes. What changes bytes or names is done and noted under
one lock, so that the trace has the order in which it happened. A sync is two events: it covers what was noted
before it began, and counts once it has ended.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from odradek.storage.disk import Bytes, SystemDisk


class Write(NamedTuple):
    file: int
    position: int
    data: bytes


class Truncate(NamedTuple):
    file: int
    length: int


class Create(NamedTuple):
    """A new name for a new file; ``file`` is the number by which events speak of it."""

    path: str
    file: int


class MakeFolder(NamedTuple):
    path: str


class Rename(NamedTuple):
    old: str
    new: str


class Remove(NamedTuple):
    """Of a file or a folder, with all that is in it."""

    path: str


class SyncBegin(NamedTuple):
    """``target`` is a file's number, a folder's path, or None for the whole file system."""

    number: int
    target: int | str | None


class SyncEnd(NamedTuple):
    number: int


class Told(NamedTuple):
    """Something between broker and clients: ``what`` was asked for, answered or read."""

    what: str
    content: tuple[Any, ...]


Event = Write | Truncate | Create | MakeFolder | Rename | Remove | SyncBegin | SyncEnd | Told


class Trace:
    """Events in their order. Threads may add to it."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.events: list[Event] = []
        self.lock = threading.RLock()
        self.is_over = False

    def add(self, event: Event) -> None:
        with self.lock:
            if not self.is_over:
                self.events.append(event)

    def tell(self, what: str, *content: Any) -> None:
        """Clients say what they ask for before they do, and what they were told once they know."""
        self.add(Told(what, content))

    def end(self) -> None:
        """The power is gone: what comes now is no part of it."""
        with self.lock:
            self.is_over = True

    def relative(self, path: str) -> str:
        """As events name it; the data folder itself is the empty name."""
        path = os.path.normpath(path)
        assert path == self.root or path.startswith(self.root + "/"), path
        return path[len(self.root) + 1 :]


class RecordingDisk(SystemDisk):
    """The system's files below the trace's root, all changes of which are noted."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace
        self._files: dict[str, int] = {}
        self._opened: dict[int, int] = {}
        self._number = 0

    # -- descriptors

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        with self._trace.lock:
            is_new = create and not os.path.lexists(path)
            fd = super().open(path, create=create, writable=writable)
            self._opened[fd] = self._created(path) if is_new else self._files[self._trace.relative(path)]
            return fd

    def _created(self, path: str) -> int:
        self._number += 1
        name = self._trace.relative(path)
        self._files[name] = self._number
        self._trace.add(Create(name, self._number))
        return self._number

    def lock(self, path: str) -> int:
        with self._trace.lock:
            is_new = not os.path.lexists(path)
            fd = super().lock(path)
            self._opened[fd] = self._created(path) if is_new else self._files[self._trace.relative(path)]
            return fd

    def close(self, fd: int, /) -> None:  # type: ignore[override]
        with self._trace.lock:
            self._opened.pop(fd, None)
            os.close(fd)

    def duplicate(self, fd: int, /) -> int:  # type: ignore[override]
        with self._trace.lock:
            copy = os.dup(fd)
            self._opened[copy] = self._opened[fd]
            return copy

    # -- bytes

    def pwrite(self, fd: int, data: Bytes, position: int, /) -> int:  # type: ignore[override]
        with self._trace.lock:
            count = os.pwrite(fd, data, position)
            self._trace.add(Write(self._opened[fd], position, bytes(memoryview(data)[:count])))
            return count

    def pwritev(self, fd: int, pieces: Sequence[Bytes], position: int, /) -> int:  # type: ignore[override]
        return self.pwrite(fd, b"".join(pieces), position)

    def truncate(self, fd: int, length: int, /) -> None:  # type: ignore[override]
        with self._trace.lock:
            os.ftruncate(fd, length)
            self._trace.add(Truncate(self._opened[fd], length))

    # -- names

    def make_folder(self, path: str) -> None:
        with self._trace.lock:
            is_new = not os.path.isdir(path)
            super().make_folder(path)
            if is_new and os.path.normpath(path) != self._trace.root:
                self._trace.add(MakeFolder(self._trace.relative(path)))

    def rename(self, old: str, new: str, /) -> None:  # type: ignore[override]
        with self._trace.lock:
            os.rename(old, new)
            before, after = self._trace.relative(old), self._trace.relative(new)
            for name in [name for name in self._files if name == before or name.startswith(before + "/")]:
                self._files[after + name[len(before) :]] = self._files.pop(name)
            self._trace.add(Rename(before, after))

    def remove(self, path: str) -> None:
        with self._trace.lock:
            self._removed(path)
            super().remove(path)

    def remove_folder(self, path: str) -> None:
        with self._trace.lock:
            for above, _, names in os.walk(path, topdown=False):
                for name in names:
                    self._removed(f"{above}/{name}")
            self._removed(path)
            super().remove_folder(path)

    def _removed(self, path: str) -> None:
        if os.path.lexists(path):
            self._files.pop(self._trace.relative(path), None)
            self._trace.add(Remove(self._trace.relative(path)))

    # -- durability

    def sync_data(self, fd: int, /) -> None:
        number = self._begin(self._opened[fd])
        super().sync_data(fd)
        self._trace.add(SyncEnd(number))

    def sync(self, fd: int, /) -> None:  # type: ignore[override]
        number = self._begin(self._opened[fd])
        os.fsync(fd)
        self._trace.add(SyncEnd(number))

    def sync_folder(self, path: str) -> None:
        if os.path.normpath(path) == os.path.dirname(self._trace.root):
            super().sync_folder(path)
            return
        number = self._begin(self._trace.relative(path))
        super().sync_folder(path)
        self._trace.add(SyncEnd(number))

    def sync_file_system(self, fd: int) -> bool:
        number = self._begin(None)
        done = super().sync_file_system(fd)
        if done:
            self._trace.add(SyncEnd(number))
        return done

    def _begin(self, target: int | str | None) -> int:
        with self._trace.lock:
            self._number += 1
            self._trace.add(SyncBegin(self._number, target))
            return self._number
