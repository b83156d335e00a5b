"""What has been flushed, noted right after each flush: ``odradek-flushed-offsets``.

The recovery point checkpoint is written once a minute; what was flushed since would look like a torn tail
when a bit of it flips. An entry here is written after the flush that it tells of and is true for ever, so it
needs no sync of its own: a killed process leaves all of them to the next one, a power cut those of up to a
second ago (:meth:`FlushJournal.sync`). FORMAT.md has the bytes.
"""

import contextlib
import os
import struct
import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.core.ids import TopicId
from odradek.records.crc import crc32c
from odradek.storage.disk import Disk, write_all

_FRAME = struct.Struct(">II")
_FACT = struct.Struct(">16siq")
REWRITE_BYTES = 1024 * 1024
"""A journal of this size is written anew, with the last word on each partition only."""

Place = tuple[TopicId, int]
"""A partition, by the id of its topic: a later topic of the same name is another one."""


UNSURE = -1
"""In the place of an offset: a flush failed. The kernel's cache may hold, and take for clean, what the disk
does not have; a machine that lost its power has forgotten both."""


class Fact(NamedTuple):
    """All below ``offset`` is on disk."""

    topic_id: TopicId
    partition: int
    offset: int


class FlushJournal:
    """Notes facts, from any thread. A journal that cannot be written is removed until it can be: where there
    is none, recovery is not sure of anything."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[Place, int] = {}
        self._fd = -1
        self._size = 0
        self._limit = REWRITE_BYTES
        self._is_closed = False
        self._is_new = False
        """Its name may not be durable."""
        self.is_dirty = False

    def start(self, kept: Iterable[Fact] = ()) -> None:
        """Begin afresh; what an earlier one told must have become part of the checkpoint, or be ``kept``."""
        with self._lock:
            self._known = {(fact.topic_id, fact.partition): fact.offset for fact in kept}
            self._rewrite()

    def note(self, facts: Iterable[Fact]) -> None:
        """Write facts down; the last word on a partition counts."""
        with self._lock:
            if self._is_closed:
                return
            frame = encode_facts(facts)
            self._known.update(((fact.topic_id, fact.partition), fact.offset) for fact in facts)
            if self._fd < 0:
                self._rewrite()
                return
            try:
                write_all(self._disk, self._fd, frame, self._size)
            except OSError:
                self._give_up()
                return
            self._size += len(frame)
            self.is_dirty = True
            if self._size > self._limit:
                self._rewrite()

    def sync(self) -> bool:
        """Make what was noted survive a power cut; False when nothing can be noted. Raises ``OSError``."""
        with self._lock:
            if self._fd < 0 or not self.is_dirty:
                return self._fd >= 0
            fd = self._disk.duplicate(self._fd)
            is_new, self._is_new = self._is_new, False
            self.is_dirty = False
        try:
            self._disk.sync_data(fd)
            if is_new:
                self._disk.sync_folder(os.path.dirname(self._path))
        except OSError:
            with self._lock:
                self._give_up()  # the next sync would succeed, and prove nothing
            raise
        finally:
            self._disk.close(fd)
        return True

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._fd >= 0:
                self._disk.close(self._fd)
                self._fd = -1

    def _rewrite(self) -> None:
        """Put a short journal, once it is on disk, in the place of the long one."""
        temporary = self._path + ".tmp"
        frame = encode_facts(Fact(*place, offset) for place, offset in self._known.items())
        try:
            fd = self._disk.open(temporary, create=True)
            try:
                self._disk.truncate(fd, 0)
                write_all(self._disk, fd, frame, 0)
                if frame:
                    self._disk.sync(fd)
                self._disk.rename(temporary, self._path)
            except OSError:
                self._disk.close(fd)
                raise
        except OSError:
            self._give_up()
            return
        if self._fd >= 0:
            self._disk.close(self._fd)
        self._fd, self._size = fd, len(frame)
        self._limit = max(REWRITE_BYTES, 4 * len(frame))
        self._is_new = self.is_dirty = True

    def _give_up(self) -> None:
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            self._disk.remove(self._path)


def encode_facts(facts: Iterable[Fact]) -> bytes:
    """One frame: length and CRC of the facts, then the facts; nothing for none."""
    body = b"".join(_FACT.pack(*fact) for fact in facts)
    if not body:
        return b""
    return _FRAME.pack(len(body), crc32c(body)) + body


def decode_facts(content: bytes) -> dict[Place, int]:
    """Where each partition was flushed up to; frames behind one that is torn or damaged do not count."""
    known: dict[Place, int] = {}
    position = 0
    while position + _FRAME.size <= len(content):
        length, crc = _FRAME.unpack_from(content, position)
        body = content[position + _FRAME.size : position + _FRAME.size + length]
        if not length or length % _FACT.size or len(body) != length or crc32c(body) != crc:
            break
        for topic_id, partition, offset in _FACT.iter_unpack(body):
            known[topic_id, partition] = offset
        position += _FRAME.size + length
    return known


def read_facts(disk: Disk, path: str) -> Mapping[Place, int] | None:
    """What the journal at ``path`` tells, None when there is none. Raises ``OSError``."""
    return decode_facts(disk.read_file(path)) if disk.exists(path) else None
