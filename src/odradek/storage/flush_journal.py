"""What has been flushed, noted right after each flush: ``odradek-flushed-offsets``.

The recovery point checkpoint is written once a minute; what was flushed since would look like a torn tail
when a bit of it flips. An entry here is written after the flush that it tells of and is true for ever, so it
needs no sync of its own: a killed process leaves all of them to the next one, a power cut those of up to a
second ago (:meth:`FlushJournal.sync`). FORMAT.md has the bytes.

What a journal tells is used twice: bad bytes below a flushed offset are damage, not a torn tail; and what
lies above one need not be written again, if all is known that has happened. A journal that could not be
written goes by another name, and serves the first use only. A full disk is no reason: a journal has room of
its own, zeros, and is written over when there is no room for another.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.core.ids import TopicId
from odradek.records.crc import crc32c
from odradek.storage.disk import FULL, Disk, write_all

_FRAME = struct.Struct(">II")
_FACT = struct.Struct(">16siq")
_NOT_ZERO = re.compile(rb"[^\0]")
REWRITE_BYTES = 1024 * 1024
"""A journal of this size is written anew, with the last word on each partition only."""
_ROOM_BYTES = 16 * 1024
"""Behind the first frame, and so much again as that has, a journal is zeros at first."""

ASIDE = "-aside"
"""Behind the name of a journal that could not be written. One of the plain name counts in its place."""

Place = tuple[TopicId, int]
"""A partition, by the id of its topic: a later topic of the same name is another one."""


class Fact(NamedTuple):
    """All below ``offset`` is on disk. Or, where it is ``~offset``, and so negative: a flush of what lies
    above failed. The kernel's cache may hold, and take for clean, what the disk does not have; a machine that
    lost its power has forgotten both."""

    topic_id: TopicId
    partition: int
    offset: int


class Noted(NamedTuple):
    """What is known of one log: all below ``offset`` was flushed. Unless it ``is_sure``, a flush of what lies
    above may have failed."""

    offset: int
    is_sure: bool

    def as_fact(self, place: Place) -> Fact:
        return Fact(*place, self.offset if self.is_sure else ~self.offset)

    @property
    def as_lost(self) -> str:
        """What there is to say of a log with records whose folder is not there any more."""
        return f"it is gone, and with it all records below offset {self.offset}"


class Told(NamedTuple):
    """What a journal tells: the last word on each partition. Unless it ``is_whole``, more has happened."""

    facts: Mapping[Place, int]
    is_whole: bool

    def of(self, place: Place) -> Noted:
        offset = self.facts.get(place, 0)
        return Noted(offset if offset >= 0 else ~offset, self.is_whole and offset >= 0)

    def only(self, place: Place) -> Told:
        """What it tells of one partition."""
        return Told({place: self.facts[place]} if place in self.facts else {}, self.is_whole)


NOTHING_TOLD = Told({}, False)
"""There is no journal."""


class FlushJournal:
    """Notes facts, from any thread. One that cannot be written is set aside until another can be begun: what
    it has told stays true, but recovery is not sure of what lies above.

    ``_known`` has every partition of which any file tells."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._aside = path + ASIDE
        self._lock = threading.Lock()
        self._known: dict[Place, int] = {}
        self._fd = -1
        self._size = 0
        """Up to where frames are; the file is ``_extent`` long."""
        self._extent = 0
        self._limit = REWRITE_BYTES
        self._has_room = True
        """What could not be written last was not for want of room."""
        self._is_closed = False
        self._is_new = False
        """Its name may not be durable."""
        self.is_dirty = False

    def start(self, kept: Iterable[Fact] = (), told: Told = NOTHING_TOLD) -> None:
        """Begin afresh. What an earlier one ``told`` must have become part of the checkpoint, or be ``kept``;
        where nothing can be written, it counts on."""
        with self._lock:
            self._known = {(fact.topic_id, fact.partition): fact.offset for fact in kept}
            if self._rewrite() or self._take_up():
                return
            self._give_up()
            self._known = {**told.facts, **self._known}
            if not told.facts:
                self._remove_all()  # that of before a clean stop, or none

    def note(self, facts: Iterable[Fact]) -> None:
        """Write facts down; the last word on a partition counts."""
        with self._lock:
            self._note(facts)

    def _note(self, facts: Iterable[Fact]) -> None:
        if self._is_closed:
            return
        frame = encode_facts(facts)
        known = self._known
        for topic_id, partition, offset in facts:
            known[topic_id, partition] = offset
        try:
            if self._fd >= 0:
                write_all(self._disk, self._fd, frame, self._size)
                self._size += len(frame)
                self._extent = max(self._extent, self._size)
                self.is_dirty = True
        except OSError as error:
            self._has_room = error.errno not in FULL
            if not self._write_over() and not self._rewrite():
                self._give_up()
            return
        if self._fd < 0:
            self._rewrite()
        elif self._size > self._limit and not self._rewrite() and not self._write_over():
            self._limit += REWRITE_BYTES

    def retract(self, fact: Fact) -> None:
        """Less is flushed of a log than was noted: it is cut, or made anew. Raises ``OSError`` when what was
        noted can neither be corrected nor removed."""
        place = (fact.topic_id, fact.partition)
        with self._lock:
            if self._is_closed or self._known.get(place, 0) in (0, fact.offset):
                return
            self._note([fact])
            if self._fd < 0:
                self._remove_all()

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

    @property
    def is_whole(self) -> bool:
        """Whether all that was noted is there for a start to find."""
        return self._fd >= 0

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._fd >= 0:
                self._disk.close(self._fd)
                self._fd = -1

    def _rewrite(self) -> bool:
        """Put a short journal, once it is on disk, in the place of the long one; whether that went well."""
        temporary = self._path + ".tmp"
        frame = self._all_facts()
        content = frame.ljust(2 * len(frame) + _ROOM_BYTES, b"\0")
        try:
            fd = self._disk.open(temporary, create=True)
            try:
                self._disk.truncate(fd, 0)
                write_all(self._disk, fd, content, 0)
                if frame:
                    self._disk.sync(fd)
                self._disk.rename(temporary, self._path)
            except OSError:
                self._disk.close(fd)
                with contextlib.suppress(OSError):
                    self._disk.remove(temporary)  # others may need the room
                raise
        except OSError as error:
            self._has_room = error.errno not in FULL
            return False
        if self._fd >= 0:
            self._disk.close(self._fd)
        self._fd, self._extent = fd, len(content)
        self._begun(frame)
        self._is_new = True
        with contextlib.suppress(OSError):  # it does not count any more
            self._disk.remove(self._aside)
        return True

    def _write_over(self) -> bool:
        """Where there is no room for another, shorten the journal where it is: by one write, as a kill must
        not tear it; whether that went well."""
        frame = self._all_facts()
        if self._has_room or len(frame) > self._extent:
            return False
        try:
            write_all(self._disk, self._fd, frame.ljust(self._extent, b"\0"), 0)
        except OSError:
            return False
        self._begun(frame)
        return True

    def _take_up(self) -> bool:
        """Go on with the file of an earlier journal, where there is no room for one of our own."""
        if self._has_room:
            return False
        try:
            self._fd = self._disk.open(self._path)
            self._extent = self._disk.size(self._fd)
        except OSError:
            return False
        return self._write_over()

    def _all_facts(self) -> bytes:
        return encode_facts(Fact(*place, offset) for place, offset in self._known.items())

    def _begun(self, frame: bytes) -> None:
        self._size = len(frame)
        self._limit = max(REWRITE_BYTES, 4 * len(frame))
        self.is_dirty = True

    def _give_up(self) -> None:
        """Set the journal aside: a start that finds it under its own name would take it for whole."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1
        try:
            self._disk.rename(self._path, self._aside)
        except FileNotFoundError:
            pass  # another has been set aside already, or there never was one
        except OSError:
            with contextlib.suppress(OSError):
                self._disk.remove(self._path)

    def _remove_all(self) -> None:
        self._disk.remove(self._path)
        self._disk.remove(self._aside)


def encode_facts(facts: Iterable[Fact]) -> bytes:
    """One frame: length and CRC of the facts, then the facts; nothing for none."""
    body = b"".join([_FACT.pack(*fact) for fact in facts])
    if not body:
        return b""
    return _FRAME.pack(len(body), crc32c(body)) + body


def decode_facts(content: bytes) -> Told:
    """What a journal tells. A frame that is torn ends it; one that is damaged, as others follow it, does not,
    but what it told is missing."""
    known: dict[Place, int] = {}
    position, is_whole, is_broken = 0, True, False
    while position + _FRAME.size <= len(content):
        length, crc = _FRAME.unpack_from(content, position)
        start, end = position + _FRAME.size, position + _FRAME.size + length
        if not length or length % _FACT.size or end > len(content) or crc32c(content[start:end]) != crc:
            is_broken = True
            position = max(position + 1, _next_byte(content, position) - 3)  # a length begins with zeros
            continue
        is_whole = is_whole and not is_broken
        for topic_id, partition, offset in _FACT.iter_unpack(content[start:end]):
            known[topic_id, partition] = offset
        position = end
    return Told(known, is_whole)


def _next_byte(content: bytes, position: int) -> int:
    """The first one from ``position`` on that is not zero."""
    found = _NOT_ZERO.search(content, position)
    return found.start() if found is not None else len(content)


def read_facts(disk: Disk, path: str) -> Told:
    """What the journal at ``path`` tells, or the one that was set aside. Raises ``OSError``."""
    if disk.exists(path):
        return decode_facts(disk.read_file(path))
    if disk.exists(path + ASIDE):
        return decode_facts(disk.read_file(path + ASIDE))._replace(is_whole=False)
    return NOTHING_TOLD
