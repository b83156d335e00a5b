"""Flushes go before the reading of what is cold: clients at the end of a log wait for their flush alone.

A disk takes requests as they come, so a flush that begins behind a read waits until that is over, with each
of its trips. While flushes go on, the past is therefore read one piece at a time, and none is begun during a
flush; each piece waits for a bounded time only, so that readers of the past always come on.

Child processes see by a :class:`FlushSign` whether one is going on, and have nothing written meanwhile; and
when clients wrote last, and work little of their time as long as any do.
"""

import contextlib
import math
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from odradek.storage.pacing import share_of

QUIET_S = 0.1
"""When the last flush is so long ago, nobody is in the way of one."""
LONGEST_WAIT_S = 0.001
"""A piece begins after so long, whatever the disk is doing: at the least 400 MB/s of 512 KiB pieces."""

_WRITTEN, _URGENCY = 1, 2
"""Where in the shared page, in numbers of 8 bytes. The first byte is whether a flush goes on."""


class FlushSign:
    """A page of memory that a broker shares with its child processes: whether a flush is going on, when
    clients wrote last, and how urgent the work of children is (``storage/pacing.py``)."""

    def __init__(self, fd: int) -> None:
        """``fd`` is the broker's :attr:`fd`, inherited. Raises ``OSError``."""
        self.fd = fd
        self._shared = mmap.mmap(fd, mmap.PAGESIZE)
        self._seconds = memoryview(self._shared).cast("d")

    @classmethod
    def create(cls) -> "FlushSign | None":
        """None where there is no such memory; children then give way to nobody."""
        if not hasattr(os, "memfd_create"):
            return None
        with contextlib.suppress(OSError):
            fd = os.memfd_create("odradek-flush")
            try:
                os.ftruncate(fd, mmap.PAGESIZE)
                sign = cls(fd)
            except OSError:
                os.close(fd)
            else:
                sign.show_written(-math.inf)
                return sign
        return None

    def show(self, is_flushing: bool) -> None:
        self._shared[0] = is_flushing

    def show_written(self, at_s: float) -> None:
        """Clients wrote records then, by ``time.monotonic``, which all processes have in common."""
        self._seconds[_WRITTEN] = at_s

    def show_urgency(self, urgency: float) -> None:
        self._seconds[_URGENCY] = urgency

    @property
    def share(self) -> float:
        """Of its time, what a child may work just now."""
        return share_of(self._seconds[_URGENCY], time.monotonic() - self._seconds[_WRITTEN])

    def give_way(self) -> None:
        """Waits while a flush goes on, for a bounded time: whoever is in its way comes on, too.

        Busily: a process that sleeps may wake up on the core that the broker is on, where now others keep off
        the core that it is on. Whoever needs that gets it, all the same (``worker_process``).
        """
        if self._shared[0]:
            until_s = time.monotonic() + LONGEST_WAIT_S
            while self._shared[0] and time.monotonic() < until_s:
                pass

    def close(self) -> None:
        self._seconds.release()
        self._shared.close()
        os.close(self.fd)


class FlushFirst:
    """What the flusher and the readers of the past know of each other; in any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds."""
        self._clock = clock
        self._flush_is_over = threading.Event()
        self._flush_is_over.set()
        self._piece = threading.Lock()
        self._ended_s = -QUIET_S
        self.sign = FlushSign.create()

    def close(self) -> None:
        """No flush comes any more, and nobody starts a process."""
        if self.sign is not None:
            self.sign.close()
            self.sign = None

    def show_written(self) -> None:
        """Clients have written records just now."""
        if self.sign is not None:
            self.sign.show_written(self._clock())

    def show_urgency(self, urgency: float) -> None:
        """How far the work of child processes is behind (``storage/pacing.py``)."""
        if self.sign is not None:
            self.sign.show_urgency(urgency)

    @property
    def is_quiet(self) -> bool:
        """Whether no flush runs, nor has run a moment ago."""
        return self._flush_is_over.is_set() and self._clock() - self._ended_s >= QUIET_S

    @contextmanager
    def flush(self) -> Iterator[None]:
        """Around each flush; one at a time."""
        self._flush_is_over.clear()
        if self.sign is not None:
            self.sign.show(True)
        try:
            yield
        finally:
            if self.sign is not None:
                self.sign.show(False)
            self._ended_s = self._clock()
            self._flush_is_over.set()

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Around each piece that is read: waits while a flush runs, and while another piece is read."""
        if self.is_quiet:
            yield
            return
        with self._piece:
            self._flush_is_over.wait(LONGEST_WAIT_S)
            yield
