"""Removing files that are out of use, large ones in pieces from their end.

A file system that discards what it frees (``discard``) does so within the unlink: 64 MB keep the disk busy
for 13 to 30 ms, and every flush waits behind it. So a file is cut shorter first, a piece at a time, none
begun during a flush. For others who use the file that is not like an unlink, so it is done only

- when it has one name, as a hard link (a backup) would be cut, too;
- when this process maps no part of it: a view that a slow consumer is still sent would be a SIGBUS;
- when no compaction can be at it, which would take its end for damage: a segment that was replaced has been
  read, one that retention deletes may be read by a pass that was under way then. The scrub forgets what it
  finds in segments that are gone, and who reads the past looks again in the log;
- once its new name, or that of its folder, is durable: else a power cut could bring the old name back for the
  short file.

What was left half-way, by a crash or a stop, is removed by the next start like anything else of such a name.
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

    ``may_be_cut``: no compaction reads it.
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
        self._is_stopped = False

    def stop(self) -> None:
        """Nothing more is removed: the next start does it. In any thread."""
        self._is_stopped = True

    def remove(self, garbage: Sequence[Garbage]) -> None:
        """Removes files and folders; they may be gone. Raises ``OSError``."""
        disk = self._disk
        durable: set[str] = set()
        for each in garbage:
            is_folder = each.path.endswith(names.DELETED_FOLDER)
            paths = self._files_in(each.path) if is_folder else [each.path]
            for path in paths if each.may_be_cut else ():
                with contextlib.suppress(OSError):  # then it is unlinked as it is
                    self._shorten(path, os.path.dirname(each.path), durable)
            if self._is_stopped:
                return
            if is_folder:
                disk.remove_folder(each.path)
            else:
                disk.remove(each.path)

    def _files_in(self, folder: str) -> list[str]:
        try:
            return [f"{folder}/{entry.name}" for entry in self._disk.entries(folder)]
        except OSError:
            return []  # it is gone, or tells why when it is to be removed

    def _shorten(self, path: str, folder: str, durable: set[str]) -> None:
        """Leaves at most one piece of a large file. Its new name, or that of where it is, lies in ``folder``;
        ``durable`` are those whose names are on disk."""
        disk, piece = self._disk, self.piece_bytes
        size = disk.file_size(path)
        if size < 2 * piece:
            return
        fd = disk.open(path)
        try:
            if not disk.is_unshared(fd):
                return
            if folder not in durable:
                disk.sync_folder(folder)
                durable.add(folder)
            for end in range((size - 1) // piece * piece, 0, -piece):
                if self._is_stopped:
                    return
                with self.turn():
                    disk.truncate(fd, end)
        finally:
            disk.close(fd)
