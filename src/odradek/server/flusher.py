"""The thread in which the disk is waited for, so that the event loop never is."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from odradek.broker.broker import Flush
from odradek.server.flush_first import FlushFirst
from odradek.server.histogram import Histogram

log = logging.getLogger("odradek.flusher")


class Flusher:
    """Runs one :class:`Flush` after the other and tells the loop when each is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[[Flush], None]) -> None:
        self._loop = loop
        self._done = done
        self.turns = FlushFirst()
        """Lets the readers of the past keep out of a flush's way."""
        self.seconds = Histogram()
        """How long each flush took."""
        self._queue: SimpleQueue[Flush | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="odradek-flusher", daemon=True)
        self._thread.start()

    def submit(self, flush: Flush) -> None:
        """Starts ``flush``; ``done(flush)`` is called in the loop afterwards."""
        self._queue.put(flush)

    def stop(self) -> None:
        """Returns once everything submitted has run. Does no harm twice; ``turns`` are left to close."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (flush := self._queue.get()) is not None:
            started_s = time.perf_counter()
            try:
                with self.turns.flush():
                    flush.run()
            except Exception:
                # A ticket keeps the disk's errors itself; what arrives here is our bug, and what it
                # covered must not be acknowledged: it simply stays unflushed.
                log.exception("a flush failed")
                continue
            self.seconds.observe(time.perf_counter() - started_s)
            self._loop.call_soon_threadsafe(self._done, flush)
