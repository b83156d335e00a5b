"""Threads that wait for the disk in the place of the event loop, where consumers read the past."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from odradek.broker.cold_reads import Loaded, attempt
from odradek.storage.cold import ColdRange
from odradek.storage.disk import Disk

log = logging.getLogger("odradek.server")

THREADS = 4
"""Enough to keep a disk busy; who comes while all are busy waits for its turn."""


class ColdReader:
    """A :class:`~odradek.broker.cold_reads.Loader`; ``after`` is called in the loop after each callback."""

    def __init__(self, loop: asyncio.AbstractEventLoop, disk: Disk, after: Callable[[], None]) -> None:
        self._loop = loop
        self._disk = disk
        self._after = after
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="odradek-reader")
        self._is_stopped = False

    def load(self, ranges: Sequence[ColdRange], loaded: Loaded) -> None:
        """See :class:`~odradek.broker.cold_reads.Loader`."""
        self._threads.submit(self._load, ranges).add_done_callback(
            lambda future: self._loop.call_soon_threadsafe(self._done, future, loaded)
        )

    def stop(self) -> None:
        """Forgets what waits; nobody is called back any more."""
        self._is_stopped = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _load(self, ranges: Sequence[ColdRange]) -> list[OSError | None]:
        try:
            return [attempt(self._disk, each) for each in ranges]
        except Exception:
            log.exception("a fault of ours: %s could not be loaded", ranges)
            return [None] * len(ranges)  # its reader tries again, and in the end reads it as it is

    def _done(self, future: "Future[list[OSError | None]]", loaded: Loaded) -> None:
        if not self._is_stopped:
            loaded(future.result())
            self._after()
