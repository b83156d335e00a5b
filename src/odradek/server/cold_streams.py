"""What readers of the past wait for, in which order it is read, and how far on.

A flush begun behind megabytes of reading waits until they are read. While flushes go on, the past is
therefore read in small pieces, the kernel reads nothing ahead, and the streams read on by themselves, so that
the disk has work while a consumer takes what it got. While none do, the kernel reads ahead: that is quicker.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from odradek.storage.cold import PIECE_BYTES, ColdRange
from odradek.storage.disk import Disk

log = logging.getLogger("odradek.server")

AHEAD_BYTES = 8 * 1024 * 1024
"""So much more is read with each range: who reads the past goes on reading."""

Told = Callable[[OSError | None], None]
"""Called in any thread: the range is in memory, or gone, or cannot be read."""


class Turns(Protocol):
    """Whose turn it is at the disk."""

    @property
    def is_quiet(self) -> bool:
        """Whether nobody else waits for the disk, so that much may be asked of it at once."""

    def piece(self) -> AbstractContextManager[None]:
        """Around the reading of each piece; waits until it may begin."""


class _Stream:
    """A file that is read on: ``position`` <= ``until``; the kernel knows of what is below ``asked_until``.

    ``waiting`` holds the ends of the ranges that somebody waits for.
    """

    __slots__ = ("asked_until", "fd", "is_busy", "path", "position", "until", "waiting")

    def __init__(self, path: str, position: int) -> None:
        self.path = path
        self.position = position
        self.until = position
        self.asked_until = position
        self.waiting: list[tuple[int, Told]] = []
        self.is_busy = False
        self.fd = -1

    def is_near(self, wanted: ColdRange) -> bool:
        """Whether ``wanted`` is read best by going on, or back a little over what is mostly in memory."""
        return self.path == wanted.path and self.position - AHEAD_BYTES <= wanted.start <= self.until

    def want(self, end: int, told: Told) -> None:
        self.until = max(self.until, end + AHEAD_BYTES)
        self.waiting.append((end, told))

    def take_served(self) -> list[Told]:
        served = [told for end, told in self.waiting if end <= self.position]
        self.waiting = [each for each in self.waiting if each[0] > self.position]
        return served


class ColdStreams:
    """Streams of several files, read by as many threads as call :meth:`read_next`."""

    def __init__(self, disk: Disk, turns: Turns) -> None:
        self._disk = disk
        self._turns = turns
        self._lock = threading.Lock()
        self._streams: list[_Stream] = []
        self._is_stopped = False

    def want(self, wanted: ColdRange, told: Told) -> None:
        """Has ``wanted`` read; somebody must call :meth:`read_next` then."""
        with self._lock:
            for stream in self._streams:
                if stream.is_near(wanted):
                    stream.position = min(stream.position, wanted.start)
                    break
            else:
                stream = _Stream(wanted.path, wanted.start)
                self._streams.append(stream)
            stream.want(wanted.end, told)

    def read_next(self) -> bool:
        """Reads one piece of one stream; False when there was nothing to do that nobody else does."""
        with self._lock:
            stream = self._choose()
            if stream is None:
                return False
            stream.is_busy = True
            position, length = stream.position, min(PIECE_BYTES, stream.until - stream.position)
        count, error = self._read(stream, position, length)
        with self._lock:
            stream.is_busy = False
            if stream.position == position:
                stream.position += count
            is_over = count < length or stream.position >= stream.until or self._is_stopped
            if is_over and stream.position == position + count:
                self._streams.remove(stream)
                served = [told for _, told in stream.waiting]
                self._close(stream)
            else:
                served = stream.take_served()
        for told in served:
            told(error)
        return True

    def stop(self) -> None:
        """Reads on no further; who waits is not told any more."""
        with self._lock:
            self._is_stopped = True
            for stream in self._streams:
                stream.waiting = []
                if not stream.is_busy:
                    self._close(stream)
            self._streams = [stream for stream in self._streams if stream.is_busy]

    def _choose(self) -> _Stream | None:
        """One that somebody waits for, if there is any, in turn; the next in turn otherwise."""
        idle = [stream for stream in self._streams if not stream.is_busy]
        stream = next((stream for stream in idle if stream.waiting), idle[0] if idle else None)
        if stream is not None:
            self._streams.remove(stream)
            self._streams.append(stream)
        return stream

    def _read(self, stream: _Stream, position: int, length: int) -> tuple[int, OSError | None]:
        """How many bytes were read, fewer only where the file ends or cannot be read, and why that is so."""
        disk = self._disk
        try:
            if stream.fd < 0:
                stream.fd = disk.open(stream.path, writable=False)
                disk.read_no_further(stream.fd)
            if self._turns.is_quiet and stream.asked_until < stream.until:
                start = max(stream.asked_until, position)
                stream.asked_until = stream.until
                disk.read_ahead(stream.fd, start, stream.asked_until - start)
            with self._turns.piece():
                return len(disk.pread(stream.fd, length, position)), None
        except FileNotFoundError:
            return 0, None  # the log has moved on
        except OSError as error:
            return 0, error
        except Exception:
            log.exception("a fault of ours: %s could not be read from byte %d", stream.path, position)
            return 0, None  # who waits tries again, and in the end reads it as it is

    def _close(self, stream: _Stream) -> None:
        if stream.fd >= 0:
            self._disk.close(stream.fd)
            stream.fd = -1
