"""A disk in memory that behaves as badly as a real one may.

Between two syncs the disk may have written any of the sectors that changed, in any order, each whole or not
at all; of the names that changed in a folder, the first few, as file systems with a journal do. A file is as
long as it was at its last sync, as it is now, or anything between. A failed sync drops what it should have
written and forgets that it is not there, as Linux does.

:class:`Volume` is the hardware and outlives the broker; :class:`SimulatedDisk` is how one process sees it.
"""

import errno
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from odradek.storage.disk import NO_DESCRIPTOR, Bytes, Entry, LockHeldError

SECTOR = 128
"""Smaller than a real one, so that the small batches of a simulation are torn as often as large ones are."""

Hook = Callable[[str, str], None]
"""Called with (call, path) before each call; it may raise what the call is to fail with."""


class PowerCut(BaseException):
    """The process is gone, or the whole machine. No handler of the broker's catches it."""


class File:
    """One file's bytes, as processes see them and as they are on the platter."""

    __slots__ = ("changed", "content", "durable", "modified_ms")

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = bytearray()
        self.changed: dict[int, None] = {}
        """Sectors that the platter may not have yet."""
        self.modified_ms = 0

    def touch(self, start: int, end: int) -> None:
        for sector in range(start // SECTOR, (end + SECTOR - 1) // SECTOR):
            self.changed[sector] = None

    def sync(self) -> None:
        for sector in list(self.changed):
            self.write_back(sector)
        size = len(self.content)
        del self.durable[size:]
        self.durable.extend(bytes(size - len(self.durable)))

    def write_back(self, sector: int) -> None:
        """The kernel writes one sector of its own accord."""
        start = sector * SECTOR
        data = self.content[start : start + SECTOR]
        if len(self.durable) < start:
            self.durable.extend(bytes(start - len(self.durable)))
        self.durable[start : start + len(data)] = data
        self.changed.pop(sector, None)

    def lose_power(self, rng: random.Random) -> None:
        if self.changed or len(self.durable) > len(self.content):
            sizes = sorted((len(self.durable), len(self.content)))
            size = rng.choice((*sizes, rng.randint(*sizes)))
            for sector in list(self.changed):
                if rng.random() < 0.5:
                    self.write_back(sector)
            del self.durable[size:]
            self.durable.extend(bytes(size - len(self.durable)))
            self.changed.clear()
        self.content = bytearray(self.durable)


class _Change(NamedTuple):
    """A name that came (``old`` empty), went (``new`` empty) or was changed."""

    old: str
    new: str
    node: "File | Folder"


class Folder:
    """Names, as processes see them and as they are on the platter."""

    __slots__ = ("changes", "durable", "names")

    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self.durable: dict[str, File | Folder] = {}
        self.changes: list[_Change] = []
        """What the platter may not have yet."""

    def change(self, old: str, new: str, node: "File | Folder") -> None:
        change = _Change(old, new, node)
        _apply(self.names, change)
        self.changes.append(change)

    def sync(self) -> None:
        self.durable = dict(self.names)
        self.changes.clear()

    def lose_power(self, rng: random.Random) -> None:
        for change in self.changes[: rng.randint(0, len(self.changes))]:
            _apply(self.durable, change)
        self.changes.clear()
        self.names = dict(self.durable)
        for node in self.names.values():
            node.lose_power(rng)


def _apply(names: dict[str, File | Folder], change: _Change) -> None:
    if change.old:
        names.pop(change.old, None)
    if change.new:
        names[change.new] = change.node


class Volume:
    """The hardware: what survives a process, and what of it survives a power cut."""

    def __init__(self, rng: random.Random, now_ms: Callable[[], int]) -> None:
        self.root = Folder()
        self.capacity: int | None = None
        """Bytes that files may have in all; None is no limit."""
        self._rng = rng
        self.now_ms = now_ms
        self._owner: SimulatedDisk | None = None

    def lose_power(self) -> None:
        """Only what the platter has is left."""
        self.root.lose_power(self._rng)

    def files(self) -> Iterator[tuple[str, File]]:
        """Every file with its path."""
        yield from _files("", self.root)

    def used(self) -> int:
        return sum(len(file.content) for _, file in self.files())

    def write_back(self, share: float) -> None:
        """The kernel writes about this share of what changed."""
        for _, file in self.files():
            for sector in list(file.changed):
                if self._rng.random() < share:
                    file.write_back(sector)

    def flip_bit(self, path: str, position: int, bit: int) -> None:
        """Rot: one bit of a file, if it is still there, is another one from now on, in the cache too."""
        node = self.find(path)
        if isinstance(node, File):
            for copy in (node.content, node.durable):
                if position < len(copy):
                    copy[position] ^= 1 << bit

    def find(self, path: str) -> File | Folder | None:
        node: File | Folder | None = self.root
        for name in path.strip("/").split("/"):
            if not name:
                continue
            if not isinstance(node, Folder):
                return None
            node = node.names.get(name)
        return node

    def owner(self) -> "SimulatedDisk | None":
        """The process that holds the lock, if it is still alive."""
        owner = self._owner
        return owner if owner is not None and not owner.is_dead else None

    def own(self, disk: "SimulatedDisk | None") -> None:
        self._owner = disk


def _files(path: str, folder: Folder) -> Iterator[tuple[str, File]]:
    for name, node in folder.names.items():
        if isinstance(node, Folder):
            yield from _files(f"{path}/{name}", node)
        else:
            yield f"{path}/{name}", node


class SimulatedDisk:
    """:class:`odradek.storage.disk.Disk` for one life of a broker.

    Once it is ``kill``\\ ed every call raises :class:`PowerCut`: what is left of the process does nothing any
    more. ``hook`` makes calls fail; ``short`` is how often a read or a write does only a part.
    """

    def __init__(self, volume: Volume, rng: random.Random) -> None:
        self.volume = volume
        self.is_dead = False
        self.hook: Hook = lambda call, path: None
        self.short = 0.0
        self._rng = rng
        self._open: dict[int, tuple[str, File]] = {}
        self._next_fd = 3
        self._lock_fd = -1

    def kill(self) -> None:
        self.is_dead = True
        self._open.clear()

    # -- descriptors

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        self._call("open", path)
        folder, name = self._parent(path)
        node = folder.names.get(name)
        if node is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            node = File()
            folder.change("", name, node)
        if isinstance(node, Folder):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        return self._new_fd(path, node)

    def _new_fd(self, path: str, file: File) -> int:
        self._next_fd += 1
        self._open[self._next_fd] = (path, file)
        return self._next_fd

    def close(self, fd: int, /) -> None:
        if self.is_dead:
            raise PowerCut
        self._entry(fd)
        del self._open[fd]
        if fd == self._lock_fd:
            self.volume.own(None)

    def duplicate(self, fd: int, /) -> int:
        self._call("duplicate", self._entry(fd)[0])
        return self._new_fd(*self._entry(fd))

    def open_paths(self) -> list[str]:
        """What is open."""
        return [path for path, _ in self._open.values()]

    # -- bytes

    def pwrite(self, fd: int, data: Bytes, position: int, /) -> int:
        path, file = self._entry(fd)
        self._call("pwrite", path)
        count = len(data)
        if count > 1 and self.short and self._rng.random() < self.short:
            count = self._rng.randint(1, count - 1)
        growth = position + count - len(file.content)
        if growth > 0 and self.volume.capacity is not None:
            room = self.volume.capacity - self.volume.used()
            if growth > room:
                count -= growth - max(room, 0)
                if count <= 0:
                    raise OSError(errno.ENOSPC, "No space left on device", path)
        before = len(file.content)
        if before < position:
            file.content.extend(bytes(position - before))
        file.content[position : position + count] = data[:count]
        file.touch(min(position, before), position + count)
        file.modified_ms = self.volume.now_ms()
        return count

    def pwritev(self, fd: int, pieces: Sequence[Bytes], position: int, /) -> int:
        return self.pwrite(fd, b"".join(pieces), position)

    def reserve(self, fd: int, position: int, length: int) -> None:
        self._call("reserve", self._entry(fd)[0])

    def pread(self, fd: int, length: int, position: int, /) -> bytes:
        path, file = self._entry(fd)
        self._call("pread", path)
        if length > 1 and self.short and self._rng.random() < self.short:
            length = self._rng.randint(1, length - 1)
        return bytes(file.content[position : position + length])

    def map(self, fd: int, length: int) -> memoryview:
        path, file = self._entry(fd)
        self._call("map", path)
        return memoryview(bytes(file.content[:length]))

    def is_cached(self, mapped: memoryview, start: int, end: int) -> bool:
        return True

    def read_ahead(self, fd: int, position: int, length: int) -> None:
        """Everything is in memory here."""

    def read_no_further(self, fd: int, /) -> None:
        """The same."""

    def truncate(self, fd: int, length: int, /) -> None:
        path, file = self._entry(fd)
        self._call("truncate", path)
        before = len(file.content)
        if length == before:
            return
        del file.content[length:]
        file.content.extend(bytes(length - len(file.content)))
        file.touch(min(length, before), max(length, before))
        for sector in [sector for sector in file.changed if sector * SECTOR >= length]:
            del file.changed[sector]
        file.modified_ms = self.volume.now_ms()

    def size(self, fd: int) -> int:
        return len(self._entry(fd)[1].content)

    def is_unshared(self, fd: int) -> bool:
        """Mappings are copies here, and nothing has two names."""
        self._call("stat", self._entry(fd)[0])
        return True

    def read_file(self, path: str) -> bytes:
        self._call("read_file", path)
        return bytes(self._file(path).content)

    # -- durability

    def write_out(self, fd: int, position: int, length: int) -> None:
        path, file = self._entry(fd)
        try:
            self._call("write_out", path)
        except OSError:
            file.changed.clear()
            raise

    def sync_data(self, fd: int, /) -> None:
        self._sync("sync_data", fd)

    def sync(self, fd: int, /) -> None:
        self._sync("sync", fd)

    def _sync(self, call: str, fd: int) -> None:
        path, file = self._entry(fd)
        try:
            self._call(call, path)
        except OSError as error:
            if error.errno not in NO_DESCRIPTOR:  # which is an open that failed: nothing was synced, or lost
                file.changed.clear()
            raise
        file.sync()

    def sync_folder(self, path: str) -> None:
        self._call("sync_folder", path)
        self._folder(path).sync()

    def sync_file_system(self, fd: int) -> bool:
        self._entry(fd)
        self._call("sync_file_system", "/")
        _sync_all(self.volume.root)
        return True

    # -- names

    def entries(self, path: str) -> list[Entry]:
        self._call("entries", path)
        names = self._folder(path).names
        return [Entry(name, isinstance(node, Folder)) for name, node in names.items()]

    def file_size(self, path: str) -> int:
        self._call("stat", path)
        return len(self._file(path).content)

    def modified_ms(self, path: str) -> int:
        self._call("stat", path)
        return self._file(path).modified_ms

    def set_modified_ms(self, path: str, modified_ms: int) -> None:
        self._call("set_modified", path)
        self._file(path).modified_ms = modified_ms

    def exists(self, path: str) -> bool:
        self._call("stat", path)
        return self.volume.find(path) is not None

    def make_folder(self, path: str) -> None:
        self._call("make_folder", path)
        node: Folder = self.volume.root
        for name in path.strip("/").split("/"):
            below = node.names.get(name)
            if below is None:
                below = Folder()
                node.change("", name, below)
            if not isinstance(below, Folder):
                raise FileExistsError(errno.EEXIST, "File exists", path)
            node = below

    def rename(self, old: str, new: str, /) -> None:
        self._call("rename", old)
        folder, name = self._parent(old)
        node = folder.names.get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", old)
        other, new_name = self._parent(new)
        assert other is folder, "nothing is moved between folders"
        folder.change(name, new_name, node)

    def remove(self, path: str) -> None:
        self._call("remove", path)
        try:
            folder, name = self._parent(path)
        except FileNotFoundError:
            return
        node = folder.names.get(name)
        if node is not None:
            folder.change(name, "", node)

    remove_folder = remove

    # -- the whole

    def space(self, path: str) -> tuple[int, int]:
        capacity = self.volume.capacity
        if capacity is None:
            return 1 << 40, 1 << 40
        return capacity, max(capacity - self.volume.used(), 0)

    def lock(self, path: str) -> int:
        if self.volume.owner() is not None:
            raise LockHeldError("another life of this broker")
        self._lock_fd = self.open(path, create=True)
        self.volume.own(self)
        return self._lock_fd

    def _call(self, call: str, path: str) -> None:
        if self.is_dead:
            raise PowerCut
        self.hook(call, path)
        if self.is_dead:
            raise PowerCut

    def _entry(self, fd: int) -> tuple[str, File]:
        if self.is_dead:
            raise PowerCut
        try:
            return self._open[fd]
        except KeyError:
            raise OSError(errno.EBADF, "Bad file descriptor") from None

    def _parent(self, path: str) -> tuple[Folder, str]:
        above, _, name = path.rpartition("/")
        return self._folder(above), name

    def _folder(self, path: str) -> Folder:
        node = self.volume.find(path)
        if not isinstance(node, Folder):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return node

    def _file(self, path: str) -> File:
        node = self.volume.find(path)
        if not isinstance(node, File):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return node


def _sync_all(folder: Folder) -> None:
    folder.sync()
    for node in folder.names.values():
        if isinstance(node, Folder):
            _sync_all(node)
        else:
            node.sync()
