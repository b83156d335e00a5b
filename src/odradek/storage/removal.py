"""Removing files that are out of use, large ones in pieces from their end.

A file system that discards what it frees (``discard``) does so within the unlink: 64 MB keep the disk busy
for 13 to 30 ms, and every flush waits behind it. So a file is cut shorter first, a piece at a time, none
begun during a flush. For others who use the file that is not like an unlink, so it is done only

- when it has one name, as a hard link (a backup) would be cut, too;
- when this process maps no part of it: a view that a slow consumer is still sent would be a SIGBUS;
- of segments that compaction has replaced. One that retention deletes may be read by a pass under way, which
  would take its end for damage; the scrub forgets what it finds in segments that were replaced, and who reads
  the past looks again in the log;
- once the name ``.deleted`` is durable: else a power cut could bring the old name back for the short file.

Files that were left half-way are removed by the next start like any other of that name.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from odradek.storage import names
from odradek.storage.disk import Disk

PIECE_BYTES = 1024 * 1024
"""So much is cut off at once: discarded in about 0.25 ms."""

Turn = Callable[[], AbstractContextManager[None]]
"""Around each piece; waits until it may begin."""


class Garbage(NamedTuple):
    """A path out of use, and how long it stays (``file.delete.delay.ms``).

    ``may_be_cut``: it is of a segment that compaction has replaced.
    """

    path: str
    delay_ms: int
    may_be_cut: bool = False


class Remover:
    """Removes files in any thread; ``turn`` and ``piece_bytes`` are set before it is first used."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.turn: Turn = nullcontext
        self.piece_bytes = PIECE_BYTES

    def remove(self, garbage: Sequence[Garbage]) -> None:
        """Removes files and folders; they may be gone. Raises ``OSError``."""
        disk = self._disk
        durable: set[str] = set()
        for each in garbage:
            if each.path.endswith(names.DELETED_FOLDER):
                disk.remove_folder(each.path)
            else:
                if each.may_be_cut:
                    with contextlib.suppress(OSError):  # then it is unlinked as it is
                        self._shorten(each.path, durable)
                disk.remove(each.path)

    def _shorten(self, path: str, durable: set[str]) -> None:
        """Leaves at most one piece of a large file. ``durable``: folders whose names are on disk."""
        disk, piece = self._disk, self.piece_bytes
        size = disk.file_size(path)
        if size < 2 * piece:
            return
        fd = disk.open(path)
        try:
            if not disk.is_unshared(fd):
                return
            folder = os.path.dirname(path)
            if folder not in durable:
                disk.sync_folder(folder)
                durable.add(folder)
            for end in range((size - 1) // piece * piece, 0, -piece):
                with self.turn():
                    disk.truncate(fd, end)
        finally:
            disk.close(fd)
