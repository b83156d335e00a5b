"""The disk seam: the only place that opens, reads, writes, syncs, renames and removes files.

Every call is one system call or close to it, so that a faulty or recording disk for tests needs nothing
but to implement :class:`Disk`. Failures are ``OSError``.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from odradek.storage.page_cache import Mapping, is_mapped

Bytes = bytes | bytearray | memoryview

_MACOS_FULL_SYNC = 51
_KEEP_SIZE = 1
_WRITE_AND_WAIT = 7
"""SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER."""
NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
"""Errors that say nothing of a file: there are too many open ones."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
PASSING = NO_DESCRIPTOR | FULL | {errno.ENOMEM, errno.EAGAIN}
"""Errors of a read, or of a process to be started, that pass by themselves: they say nothing of a file."""
_NOT_THERE = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE, errno.EPERM})


class Entry(NamedTuple):
    """One name in a folder."""

    name: str
    is_folder: bool


class LockHeldError(OSError):
    """Somebody else holds the lock; ``holder`` is what they wrote into the file (their pid),
    ``is_holder_gone`` when no such process runs any more: one that it started keeps the lock."""

    def __init__(self, holder: str, *, is_holder_gone: bool = False) -> None:
        super().__init__(f"locked by {holder or 'another process'}")
        self.holder = holder
        self.is_holder_gone = is_holder_gone


class Disk(Protocol):
    """What storage needs of a file system."""

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int: ...
    def close(self, fd: int, /) -> None: ...
    def duplicate(self, fd: int, /) -> int: ...
    def pwrite(self, fd: int, data: Bytes, position: int, /) -> int: ...
    def pwritev(self, fd: int, pieces: Sequence[Bytes], position: int, /) -> int: ...
    def pread(self, fd: int, length: int, position: int, /) -> bytes: ...
    def map(self, fd: int, length: int) -> memoryview: ...
    def is_cached(self, mapped: memoryview, start: int, end: int) -> bool: ...
    def read_ahead(self, fd: int, position: int, length: int) -> None: ...
    def read_no_further(self, fd: int, /) -> None: ...
    def truncate(self, fd: int, length: int, /) -> None: ...
    def reserve(self, fd: int, position: int, length: int) -> None: ...
    def size(self, fd: int) -> int: ...
    def is_unshared(self, fd: int) -> bool: ...
    def write_out(self, fd: int, position: int, length: int) -> None: ...
    def sync_data(self, fd: int, /) -> None: ...
    def sync(self, fd: int, /) -> None: ...
    def sync_folder(self, path: str) -> None: ...
    def sync_file_system(self, fd: int) -> bool: ...
    def entries(self, path: str) -> list[Entry]: ...
    def file_size(self, path: str) -> int: ...
    def modified_ms(self, path: str) -> int: ...
    def set_modified_ms(self, path: str, modified_ms: int) -> None: ...
    def exists(self, path: str) -> bool: ...
    def make_folder(self, path: str) -> None: ...
    def rename(self, old: str, new: str, /) -> None: ...
    def remove(self, path: str) -> None: ...
    def remove_folder(self, path: str) -> None: ...
    def read_file(self, path: str) -> bytes: ...
    def space(self, path: str) -> tuple[int, int]: ...
    def lock(self, path: str) -> int: ...


class SystemDisk:
    """The operating system's files."""

    __slots__ = ("_libc",)

    def __init__(self) -> None:
        self._libc: Any = None

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        """A descriptor for reading, if ``writable`` for writing too; with ``create`` the file may be new."""
        flags = os.O_RDWR if writable else os.O_RDONLY
        return os.open(path, flags | os.O_CREAT if create else flags, 0o644)

    close = staticmethod(os.close)
    duplicate = staticmethod(os.dup)
    pwrite = staticmethod(os.pwrite)
    pwritev = staticmethod(os.pwritev)
    pread = staticmethod(os.pread)
    truncate = staticmethod(os.ftruncate)
    rename = staticmethod(os.rename)
    sync = staticmethod(os.fsync)

    def map(self, fd: int, length: int) -> memoryview:
        """The first ``length`` bytes, mapped for reading; unmapped when the last view of them is gone."""
        return memoryview(Mapping(fd, length))

    def is_cached(self, mapped: memoryview, start: int, end: int) -> bool:
        """Whether the bytes of a mapping from ``start`` to ``end`` can be had without waiting for a device,
        as far as can be told; asks none for anything."""
        mapping = mapped.obj
        assert isinstance(mapping, Mapping)
        return mapping.is_in_memory(start, end)

    def read_ahead(self, fd: int, position: int, length: int) -> None:
        """Have the device begin to read, without waiting for it."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, position, length, os.POSIX_FADV_WILLNEED)

    def read_no_further(self, fd: int, /) -> None:
        """Have the system read from this descriptor what is asked for, and nothing ahead by itself."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def is_unshared(self, fd: int) -> bool:
        """Whether the file has one name and no view of it is left in this process, so that it may be cut."""
        file = os.fstat(fd)
        return file.st_nlink == 1 and not is_mapped(file)

    def write_out(self, fd: int, position: int, length: int) -> None:
        """Have ``length`` bytes from ``position`` on written and wait for it; only a sync makes them durable.

        Does nothing where there is no such call. Raises ``OSError`` as a sync would, and then stands for it:
        the kernel tells of a failed write once.
        """
        try:
            self._libc_call("sync_file_range", fd, position, length, _WRITE_AND_WAIT)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
        except ImportError:
            pass  # a Python without ctypes

    def sync_data(self, fd: int, /) -> None:
        """Make the file's bytes and length durable."""
        if hasattr(os, "fdatasync"):
            os.fdatasync(fd)
        else:
            fcntl.fcntl(fd, _MACOS_FULL_SYNC)  # its fsync stops at the drive's cache

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_file_system(self, fd: int) -> bool:
        """Sync the whole file system that ``fd`` lies on; False where the system has no such call."""
        return self._libc_call("syncfs", fd)

    def reserve(self, fd: int, position: int, length: int) -> None:
        """Set room aside for ``length`` bytes from ``position`` on; the file does not get longer.

        Raises ``OSError``, also where there is no such call.
        """
        if not self._libc_call("fallocate", fd, _KEEP_SIZE, position, length):
            raise OSError(errno.EOPNOTSUPP, "no room can be set aside here")

    def _libc_call(self, name: str, fd: int, *numbers: int) -> bool:
        """One of the C library's calls that Python lacks; False where it lacks them, too."""
        import ctypes  # 5 ms that most processes never need

        if self._libc is None:
            self._libc = ctypes.CDLL(None, use_errno=True)
        call = getattr(self._libc, name, None)
        if call is None:
            return False
        if call(fd, *map(ctypes.c_long, numbers)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return True

    def entries(self, path: str) -> list[Entry]:
        """Everything in a folder, in no order."""
        with os.scandir(path) as found:
            return [Entry(entry.name, entry.is_dir()) for entry in found]

    def file_size(self, path: str) -> int:
        return os.stat(path).st_size

    def modified_ms(self, path: str) -> int:
        return os.stat(path).st_mtime_ns // 1_000_000

    def set_modified_ms(self, path: str, modified_ms: int) -> None:
        os.utime(path, ns=(modified_ms * 1_000_000,) * 2)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def make_folder(self, path: str) -> None:
        """Make a folder and its parents; it may exist."""
        try:
            os.mkdir(path)  # mostly that is all there is to do
        except OSError:
            os.makedirs(path, exist_ok=True)

    def remove(self, path: str) -> None:
        """Remove a file; it may be gone."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it; it may be gone."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def space(self, path: str) -> tuple[int, int]:
        """Bytes of the volume that holds ``path``: in all, and still to be had by us."""
        volume = os.statvfs(path)
        return volume.f_frsize * volume.f_blocks, volume.f_frsize * volume.f_bavail

    def read_file(self, path: str) -> bytes:
        fd = os.open(path, os.O_RDONLY)  # a third of what open() costs, of which a start has thousands
        try:
            size = os.fstat(fd).st_size
            data = os.read(fd, size + 1)
            while len(data) < size:
                more = os.read(fd, size - len(data))
                if not more:
                    break
                data += more
            return data
        finally:
            os.close(fd)

    def lock(self, path: str) -> int:
        """Hold ``path`` locked until the returned descriptor is closed; our pid is written into it.

        Raises :class:`LockHeldError` when another broker, Odradek or Kafka, holds it.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if hasattr(fcntl, "F_OFD_SETLK"):
                # Kafka locks by POSIX record locks, which do not see flock but do see this kind
                whole_file = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, whole_file)
        except OSError as error:
            holder = os.pread(fd, 64, 0).decode(errors="replace").strip()
            os.close(fd)
            if not holder.isdigit():
                raise LockHeldError("") from error
            is_gone = not _is_running(int(holder))
            raise LockHeldError(f"process {holder}", is_holder_gone=is_gone) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def reading(disk: Disk, path: str) -> Iterator[int]:
    """A descriptor to read the file by, for as long as it is needed. Raises ``OSError``."""
    fd = disk.open(path, writable=False)
    try:
        yield fd
    finally:
        disk.close(fd)


def write_all(disk: Disk, fd: int, data: Bytes, position: int) -> None:
    """Write all of ``data`` at ``position``; raises ``OSError`` when the disk takes only a part."""
    written = disk.pwrite(fd, data, position)
    if written != len(data):
        view = memoryview(data)
        while written < len(view):
            # a short write tells no reason; the next try does (no space, quota, file size limit)
            count = disk.pwrite(fd, view[written:], position + written)
            if count <= 0:
                raise OSError("the disk takes no more bytes")
            written += count


def replace_file(disk: Disk, path: str, content: bytes) -> None:
    """Put ``content`` in the place of ``path``, atomically and durably."""
    write_temporary(disk, path, content, sync=True)
    disk.rename(path + ".tmp", path)
    disk.sync_folder(os.path.dirname(path))


def write_temporary(disk: Disk, path: str, content: bytes, *, sync: bool = False) -> None:
    """Write ``content`` beside ``path``, to be renamed to it once it is durable."""
    fd = disk.open(path + ".tmp", create=True)
    try:
        disk.truncate(fd, 0)
        write_all(disk, fd, content, 0)
        if sync:
            disk.sync(fd)
    finally:
        disk.close(fd)


class Replacer:
    """Replaces files for several threads; what was prepared later is never replaced by what was earlier."""

    __slots__ = ("_disk", "_lock", "_prepared", "_written")

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._lock = threading.Lock()
        self._prepared = 0
        self._written: dict[str, int] = {}

    def prepare(self, path: str, content: bytes | Callable[[], bytes]) -> Callable[[], None]:
        """A call that puts ``content``, or what it returns then, in the place of ``path``; it raises
        ``OSError``."""
        self._prepared += 1
        number = self._prepared

        def write() -> None:
            with self._lock:
                if number > self._written.get(path, 0):
                    replace_file(self._disk, path, content() if callable(content) else content)
                    self._written[path] = number

        return write
