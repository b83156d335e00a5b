"""Making appended bytes durable: one flush in flight, whatever arrives meanwhile rides on the next.

The event loop begins a flush and finishes it; between the two a thread runs the ticket, which owns its
descriptors and touches no log. FORMAT.md, "Order of writes", says what must be synced before what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odradek.storage.disk import Disk, replace_file

if TYPE_CHECKING:
    from odradek.storage.log_state import LogState
    from odradek.storage.segment import Segment

SYNC_FILE_SYSTEM_FROM = 16
"""From so many files on, one ``syncfs`` is cheaper than syncing each."""


class FlushItem:
    """What one log needs synced so that all below ``end_offset`` is durable. The descriptors are ours."""

    __slots__ = (
        "end_offset",
        "error",
        "fds",
        "file_error",
        "files",
        "folders",
        "log",
        "place",
        "truncations",
    )

    def __init__(
        self,
        log: LogState | None,
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
        self.truncations = 0
        self.error: OSError | None = None
        """The bytes may not be durable."""
        self.file_error: OSError | None = None
        """``files`` were not written; the log itself is well."""


class FlushTicket:
    """One flush under way."""

    __slots__ = ("_disk", "_file_system_fd", "items")

    def __init__(self, disk: Disk, file_system_fd: int, items: list[FlushItem]) -> None:
        self._disk = disk
        self._file_system_fd = file_system_fd
        self.items = items

    def run(self) -> None:
        """Sync everything; in any thread, once. A failure stays with the item that it concerns."""
        for item in self.items:
            try:
                for path, content in item.files:
                    replace_file(self._disk, path, content)
            except OSError as error:
                item.file_error = error
        if not self._sync_file_system():
            self._sync_each()
        for item in self.items:
            for fd in item.fds:
                self._disk.close(fd)
            item.fds = []

    def _sync_file_system(self) -> bool:
        if sum(len(item.fds) for item in self.items) < SYNC_FILE_SYSTEM_FROM:
            return False
        try:
            return self._disk.sync_file_system(self._file_system_fd)
        except OSError:
            return False  # syncing one by one tells whose it was

    def _sync_each(self) -> None:
        for item in self.items:
            for fd in item.fds:
                try:
                    self._disk.sync_data(fd)
                except OSError as error:
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
            return error
        return None
