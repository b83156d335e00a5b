"""Threads that wait for the disk in the place of the event loop, where consumers read the past."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from odradek.broker.cold_reads import Loaded
from odradek.server.cold_streams import ColdStreams, Turns
from odradek.storage.cold import ColdRange
from odradek.storage.disk import Disk

THREADS = 4
"""Enough to keep a disk busy; who comes while all are busy waits for its turn."""


class ColdReader:
    """A :class:`~odradek.broker.cold_reads.Loader`; ``after`` is called in the loop after each callback."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, disk: Disk, turns: Turns, after: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._streams = ColdStreams(disk, turns)
        self._after = after
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="odradek-reader")
        self._is_stopped = False

    def load(self, ranges: Sequence[ColdRange], loaded: Loaded) -> None:
        """See :class:`~odradek.broker.cold_reads.Loader`."""
        errors: dict[int, OSError | None] = {}

        def told(index: int, error: OSError | None) -> None:
            errors[index] = error
            if len(errors) == len(ranges) and not self._is_stopped:
                loaded([errors[each] for each in range(len(ranges))])
                self._after()

        for index, wanted in enumerate(ranges):
            self._streams.want(wanted, partial(self._in_loop, told, index))
            try:
                self._threads.submit(self._read)
            except RuntimeError:  # no thread can be started, and nobody else may be there who reads it
                self._read()

    def stop(self) -> None:
        """Forgets what waits; nobody is called back any more."""
        self._is_stopped = True
        self._streams.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> None:
        while self._streams.read_next():
            pass

    def _in_loop(
        self, told: Callable[[int, OSError | None], None], index: int, error: OSError | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(told, index, error)
