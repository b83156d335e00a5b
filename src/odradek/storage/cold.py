"""Bytes of a log that are not in memory: whoever needs them has them loaded in a thread and comes again.

A mapped page that is not there would stop the event loop until the disk has read it, and with it everybody
else. So a reader that may come again asks ``Log.read`` for cached bytes only; :class:`ColdReadError` names
what is missing. Consumers at the end of a log, whose bytes were just written, are not asked about.
"""

from typing import NamedTuple

from odradek.core.errors import OdradekError
from odradek.storage import names
from odradek.storage.disk import Disk, reading
from odradek.storage.segment import WALK_BYTES, Segment

FRESH_BYTES = 16 * 1024 * 1024
"""What lies so near to the end of the active segment counts as cached: it was written a moment ago."""
PIECE_BYTES = 512 * 1024
"""So much is read at once."""


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


def is_fresh(segment: Segment, position: int) -> bool:
    """Whether what lies from ``position`` on was written a moment ago."""
    return segment.is_active and segment.size - position <= FRESH_BYTES


def check_cached(segment: Segment, start: int, end: int) -> None:
    """Raises :class:`ColdReadError` unless the bytes from ``start`` to ``end`` are in memory."""
    if start >= end or is_fresh(segment, start):
        return
    if not segment.disk.is_cached(segment.map(end), start, end):
        raise ColdReadError(ColdRange(segment.path(), start, end))


def check_cached_place(segment: Segment, offset: int) -> None:
    """Raises :class:`ColdReadError` when ``Segment.locate`` would have to wait for the disk."""
    disk = segment.disk
    if not segment.is_offset_index_loaded:
        path = segment.path(names.OFFSET_INDEX)
        if disk.exists(path) and (size := disk.file_size(path)):
            with reading(disk, path) as fd:
                if not disk.is_cached(disk.map(fd, size), 0, size):
                    raise ColdReadError(ColdRange(path, 0, size))
    entry = segment.offset_index.lookup(offset)
    position = entry[1] if entry is not None else 0
    check_cached(segment, position, min(position + WALK_BYTES, segment.size))


def load(disk: Disk, wanted: ColdRange) -> None:
    """Waits until the range is in memory. Raises ``OSError``."""
    with reading(disk, wanted.path) as fd:
        for position in range(wanted.start, wanted.end, PIECE_BYTES):
            disk.pread(fd, min(PIECE_BYTES, wanted.end - position), position)
