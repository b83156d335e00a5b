"""Bytes of a log that are not in memory: whoever needs them has them loaded in a thread and comes again.

A mapped page that is not there would stop the event loop until the disk has read it, and with it everybody
else. So a reader that may come again asks ``Log.read`` for cached bytes only; :class:`ColdReadError` names
what is missing. Consumers at the end of a log, whose bytes were just written, are not asked about.
"""

from typing import NamedTuple

from odradek.core.errors import OdradekError
from odradek.storage.disk import Disk

FRESH_BYTES = 16 * 1024 * 1024
"""What lies so near to the end of the active segment counts as cached: it was written a moment ago."""
AHEAD_BYTES = 8 * 1024 * 1024
"""So much more is asked of the disk with each range: who reads the past goes on reading."""
_CHUNK_BYTES = 256 * 1024


class ColdRange(NamedTuple):
    """Bytes of one file; the file may be gone, or have another name, when somebody comes to load them."""

    path: str
    start: int
    end: int


class ColdReadError(OdradekError):
    """The range must be loaded first."""

    def __init__(self, missing: ColdRange) -> None:
        super().__init__(f"{missing.path} from byte {missing.start} to {missing.end} is not in memory")
        self.missing = missing


def load(disk: Disk, wanted: ColdRange) -> None:
    """Waits until the range is in memory; in any thread. Raises ``OSError``."""
    fd = disk.open(wanted.path, writable=False)
    try:
        disk.read_ahead(fd, wanted.start, wanted.end - wanted.start + AHEAD_BYTES)
        for position in range(wanted.start, wanted.end, _CHUNK_BYTES):
            disk.pread(fd, min(_CHUNK_BYTES, wanted.end - position), position)
    finally:
        disk.close(fd)
