"""Making appended bytes durable: one flush in flight, whatever arrives meanwhile rides on the next.

The event loop begins a flush and finishes it; between the two a thread runs the ticket, whose descriptors
are its own, or lent until the end, and which touches no log. FORMAT.md, "Order of writes", says what must be
synced before what.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from odradek.storage.disk import NO_DESCRIPTOR, Disk, reading, replace_file, write_temporary
from odradek.storage.flush_journal import Fact

if TYPE_CHECKING:
    from odradek.storage.log_state import LogState
    from odradek.storage.segment import Segment

SYNC_FILE_SYSTEM_FROM = 6
"""From so many files on one ``syncfs`` is taken, though it syncs what others wrote, too."""
PIECE_BYTES = 4 * 1024 * 1024
"""What has grown by more is written in pieces of so much before it is synced. Handed over as a whole it would
fill the device's queue, and whoever needs the disk meanwhile, if only to find free blocks for the next
append, waits for all of it."""


class FlushItem:
    """What one log needs synced so that all below ``end_offset`` is durable. ``fds`` are ours."""

    __slots__ = (
        "end_offset",
        "error",
        "fact",
        "fds",
        "file_error",
        "files",
        "flushed_offset",
        "folders",
        "grown_fd",
        "grown_from",
        "is_news",
        "is_whole",
        "log",
        "place",
        "truncations",
    )

    def __init__(
        self,
        log: LogState,
        end_offset: int,
        fds: list[int],
        files: list[tuple[str, bytes]],
        folders: list[str],
    ) -> None:
        self.log = log
        self.end_offset = end_offset
        self.fds = fds
        self.files = files
        self.folders = folders
        self.place: tuple[Segment, int] | None = None
        """Where ``end_offset`` lies: segment and position."""
        self.grown_fd = self.grown_from = -1
        """If the segment of ``place`` has grown: a descriptor that it lends, and from where on it is news."""
        self.truncations = 0
        self.flushed_offset = 0
        """Below it all was durable before; after a failure that is all that is known."""
        self.fact: Fact | None = None
        """What is to be noted once it is durable, if it is news."""
        self.is_news = False
        self.is_whole = False
        """All files of the log are to be synced, by their names: nobody knows which of them are not."""
        self.error: OSError | None = None
        """The bytes may not be durable."""
        self.file_error: OSError | None = None
        """``files`` were not written; the log itself is well."""


class FlushTicket:
    """One flush under way."""

    __slots__ = ("_checkpoint", "_disk", "_file_system_fd", "_note", "checkpoint_error", "items")

    def __init__(
        self,
        disk: Disk,
        file_system_fd: int,
        items: list[FlushItem],
        checkpoint: Callable[[], None] | None = None,
        note: Callable[[list[Fact]], None] = lambda facts: None,
    ) -> None:
        self._disk = disk
        self._file_system_fd = file_system_fd
        self.items = items
        self._checkpoint = checkpoint
        self._note = note
        self.checkpoint_error: OSError | None = None

    def run(self) -> None:
        """Sync everything; in any thread, once. A failure stays with the item that it concerns."""
        replaced_many = self._replace_files()
        self._write_out()
        count = sum(len(item.fds) + (item.grown_fd >= 0) + item.is_whole for item in self.items)
        many = replaced_many or count >= SYNC_FILE_SYSTEM_FROM
        if not (many and self._sync_file_system()):
            self._sync_each()
        for item in self.items:
            for fd in item.fds:
                with contextlib.suppress(OSError):  # it is synced, or its error is known already
                    self._disk.close(fd)
            item.fds = []
        self._note_facts()
        self._write_checkpoint()

    def _write_out(self) -> None:
        for item in self.items:
            if item.grown_fd < 0 or item.place is None:
                continue
            try:
                for position in range(item.grown_from, item.place[1] - PIECE_BYTES, PIECE_BYTES):
                    self._disk.write_out(item.grown_fd, position, PIECE_BYTES)
            except OSError as error:
                item.error = error

    def _write_checkpoint(self) -> None:
        """Last, as a log start on disk must not lie above what is there of its log after a power cut."""
        if self._checkpoint is None:
            return
        for item in self.items:
            self.checkpoint_error = self.checkpoint_error or item.error
        if self.checkpoint_error is None:
            try:
                self._checkpoint()
            except OSError as error:
                self.checkpoint_error = error

    def fail(self, error: Exception) -> None:
        """Nothing of it can be relied upon."""
        for item in self.items:
            item.error = item.error or OSError(f"{type(error).__name__}: {error}")
        self._note_facts()

    def _note_facts(self) -> None:
        facts = []
        for item in self.items:
            if item.fact is not None and item.error is not None:
                facts.append(item.fact._replace(offset=~item.flushed_offset))
            elif item.fact is not None and item.is_news:
                facts.append(item.fact)
        if facts:
            self._note(facts)

    def _replace_files(self) -> bool:
        """Put the small files in place; whether only syncing the file system makes their names durable."""
        items = [item for item in self.items if item.files]
        if sum(len(item.files) for item in items) >= SYNC_FILE_SYSTEM_FROM:
            if self._for_each_file(items, write_temporary) and self._sync_file_system():
                self._for_each_file(items, lambda disk, path, _: disk.rename(path + ".tmp", path))
                return True
            for item in items:
                item.file_error = None
        self._for_each_file(items, replace_file)
        return False

    def _for_each_file(self, items: list[FlushItem], action: Callable[[Disk, str, bytes], None]) -> bool:
        for item in items:
            try:
                for path, content in item.files:
                    action(self._disk, path, content)
            except OSError as error:
                item.file_error = error
        return all(item.file_error is None for item in items)

    def _sync_file_system(self) -> bool:
        try:
            return self._disk.sync_file_system(self._file_system_fd)
        except (OSError, ImportError):
            return False  # syncing one by one tells whose it was

    def _sync_each(self) -> None:
        for item in self.items:
            for fd in item.fds if item.grown_fd < 0 else [*item.fds, item.grown_fd]:
                try:
                    self._disk.sync_data(fd)
                except OSError as error:
                    item.error = error
            if item.is_whole:
                try:
                    sync_all_files(self._disk, item.log.folder)
                except OSError as error:
                    if error.errno not in NO_DESCRIPTOR or not self._sync_file_system():
                        item.error = error
        synced: dict[str, OSError | None] = {}
        for item in self.items:
            for folder in item.folders:
                if folder not in synced:
                    synced[folder] = self._sync_folder(folder)
                item.error = item.error or synced[folder]

    def _sync_folder(self, folder: str) -> OSError | None:
        try:
            self._disk.sync_folder(folder)
        except FileNotFoundError:
            return None  # deleted meanwhile
        except OSError as error:
            if error.errno in NO_DESCRIPTOR and self._sync_file_system():
                return None
            return error
        return None


def sync_all_files(disk: Disk, folder: str) -> None:
    """Sync every file in a folder, and the names in it and of it. Raises ``OSError``.

    Files that vanish meanwhile were deleted, or replaced by others that are on disk.
    """
    for entry in disk.entries(folder):
        with contextlib.suppress(FileNotFoundError), reading(disk, f"{folder}/{entry.name}") as fd:
            disk.sync(fd)
    disk.sync_folder(folder)
    disk.sync_folder(os.path.dirname(folder))
