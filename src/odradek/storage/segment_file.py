"""The log file of a segment: its descriptor, its mapping, and what is handed out of it.

Nothing is opened before it is needed. Only the bytes that are handed out come from a mapping; all else reads
through ``pread``, so that a failing disk is an ``OSError`` and not a signal.
"""

from odradek.core.errors import DamageError
from odradek.storage import names
from odradek.storage.disk import Disk, write_all

CLOSED = -1
_COPY_BYTES = 1024 * 1024
_MAP_FROM_BYTES = 32 * 1024
_MAP_AGAIN_BYTES = 4 * 1024 * 1024
"""A range that is not mapped yet is copied when it is smaller than the first and the file has grown by less
than the second since it was mapped; else the file is mapped afresh."""


class SegmentFile:
    """A file of ``size`` bytes. ``is_active``: it is that of a log's last segment, which alone is written."""

    __slots__ = (
        "_lent_fd",
        "_mapped",
        "_was_mapped",
        "base_offset",
        "disk",
        "fd",
        "folder",
        "is_active",
        "size",
        "suffix",
        "unchecked_from",
        "unchecked_to",
    )

    def __init__(
        self, disk: Disk, folder: str, base_offset: int, size: int, *, is_active: bool, suffix: str
    ) -> None:
        self.disk = disk
        self.folder = folder
        self.base_offset = base_offset
        self.size = size
        self.is_active = is_active
        self.suffix = suffix
        self.unchecked_from = 0
        self.unchecked_to = size
        """Bytes between the two were not written by this process, nor were their CRCs looked at by it."""
        self.fd = CLOSED
        self._lent_fd = CLOSED
        """A flush uses it: it stays open until it is given back, whatever becomes of the segment."""
        self._mapped: memoryview | None = None
        self._was_mapped = False

    def path(self, suffix: str = names.LOG) -> str:
        return f"{self.folder}/{names.file_name(self.base_offset, suffix)}{self.suffix}"

    def open(self) -> int:
        """The log file's descriptor, opened if need be."""
        if self.fd == CLOSED:
            self.fd = self.disk.open(self.path(), writable=self.is_active)
        return self.fd

    def close_file(self) -> None:
        """Give back the log file's descriptor only."""
        if self.fd != CLOSED:
            if self.fd != self._lent_fd:
                self.disk.close(self.fd)
            self.fd = CLOSED

    def lend(self) -> int:
        """The log file's descriptor, which must be open, for a thread to sync until :meth:`take_back`."""
        self._lent_fd = self.fd
        return self.fd

    def take_back(self) -> None:
        """Nobody else uses the descriptor any more."""
        lent, self._lent_fd = self._lent_fd, CLOSED
        if lent not in (self.fd, CLOSED):
            self.disk.close(lent)

    def read(self, position: int, length: int) -> bytes:
        """A copy of ``length`` bytes; DamageError when the file is shorter than it was."""
        data = self.disk.pread(self.fd if self.fd != CLOSED else self.open(), length, position)
        while len(data) < length:
            more = self.disk.pread(self.fd, length - len(data), position + len(data))
            if not more:
                raise DamageError(
                    self.path(), position + len(data), f"the file ends here, not at {self.size}"
                )
            data += more
        return data

    def view(self, start: int, end: int) -> memoryview | bytes:
        """The bytes from ``start`` to ``end``, mapped unless they are few and fresh."""
        mapped = self._mapped
        if mapped is not None and end <= len(mapped):
            return mapped[start:end]
        if self.is_active and end - start < _MAP_FROM_BYTES:
            mapped_size = len(mapped) if mapped is not None else 0
            if self.size - mapped_size < _MAP_AGAIN_BYTES:
                return self.read(start, end - start)
        return self.map(end)[start:end]

    def map(self, end: int) -> memoryview:
        """A mapping of the file's first ``end`` bytes, or more. Raises DamageError when it is shorter."""
        mapped = self._mapped
        if mapped is None or end > len(mapped):
            fd = self.fd if self.fd != CLOSED else self.open()
            if self.disk.size(fd) < self.size:
                raise DamageError(self.path(), self.disk.size(fd), f"the file ends here, not at {self.size}")
            self._mapped = mapped = self.disk.map(fd, self.size)
            self._was_mapped = True
        return mapped

    def shrink(self, size: int) -> None:
        """Cut the file to ``size``; the indexes must be rebuilt after it.

        A file that was mapped is replaced, not cut: a reader may still hold a view, and would get a SIGBUS.
        """
        fd = self.open()
        self._mapped = None
        if not self._was_mapped:
            self.disk.truncate(fd, size)
        else:
            temporary = self.path() + names.TEMPORARY
            fresh = self.disk.open(temporary, create=True)
            self.disk.truncate(fresh, 0)
            for position in range(0, size, _COPY_BYTES):
                write_all(self.disk, fresh, self.read(position, min(_COPY_BYTES, size - position)), position)
            self.disk.sync(fresh)
            self.disk.rename(temporary, self.path())
            self.close_file()
            self.fd = fresh
        self.size = size
        self.unchecked_to = min(self.unchecked_to, size)

    def file_names(self) -> list[str]:
        """Paths of all files that may belong to the segment."""
        return [self.path(suffix) for suffix in names.SEGMENT_SUFFIXES]
