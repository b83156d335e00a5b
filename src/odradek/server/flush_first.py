"""Flushes go before the reading of what is cold: clients at the end of a log wait for their flush alone.

A disk takes requests as they come, so a flush that begins behind a read waits until that is over, with each
of its trips. While flushes go on, the past is therefore read one piece at a time, and none is begun during a
flush; each piece waits for a bounded time only, so that readers of the past always come on.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_S = 0.1
"""When the last flush is so long ago, nobody is in the way of one."""
LONGEST_WAIT_S = 0.001
"""A piece begins after so long, whatever the disk is doing: at the least 400 MB/s of 512 KiB pieces."""


class FlushFirst:
    """What the flusher and the readers of the past know of each other; in any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds."""
        self._clock = clock
        self._flush_is_over = threading.Event()
        self._flush_is_over.set()
        self._piece = threading.Lock()
        self._ended_s = -QUIET_S

    @property
    def is_quiet(self) -> bool:
        """Whether no flush runs, nor has run a moment ago."""
        return self._flush_is_over.is_set() and self._clock() - self._ended_s >= QUIET_S

    @contextmanager
    def flush(self) -> Iterator[None]:
        """Around each flush; one at a time."""
        self._flush_is_over.clear()
        try:
            yield
        finally:
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
