"""Reads a log file line by line while another program writes it, across rotation and truncation."""

import os
from pathlib import Path

CHUNK_BYTES = 1 << 20


class LogReader:
    """The lines of the file at ``path`` from its beginning, and what comes after them.

    A file that was renamed is read to its end, then the one that took its place; a file that became shorter
    than what was read of it is read again from its beginning. Lines written to a renamed file after the new
    one was made and noticed are not seen. Raises ``OSError`` when there is no such file at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._unfinished = b""

    def read_lines(self) -> list[bytes]:
        """Complete lines that are there now, without their ends; none when there is nothing new.

        At most about ``CHUNK_BYTES`` at once.
        """
        chunk = self._file.read(CHUNK_BYTES)
        if not chunk:
            was_renamed = self._was_renamed()
            # What was written between the read above and the look at the name.
            chunk = self._file.read(CHUNK_BYTES)
            if not chunk and was_renamed:
                self._file.close()
                self._file = self._path.open("rb")
                return self.last_lines()
            if os.fstat(self._file.fileno()).st_size < self._file.tell():
                self._file.seek(0)
                return self.last_lines()
        *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
        return [line.rstrip(b"\r") for line in lines]

    def last_lines(self) -> list[bytes]:
        """A last line that nobody ended, for a reader who does not wait for its end."""
        rest, self._unfinished = self._unfinished, b""
        return [rest] if rest else []

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _was_renamed(self) -> bool:
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return not os.path.samestat(named, os.fstat(self._file.fileno()))
