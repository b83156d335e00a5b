"""What a broker does now and then: retention, checkpoints, forgetting producers, removing garbage."""

import logging
from collections.abc import Callable, Iterable, Iterator

from odradek.core.clock import Clock
from odradek.storage.store import LogStore

log = logging.getLogger("odradek.maintenance")

CHECKPOINT_MS = 60_000
PRODUCER_EXPIRY_MS = 600_000
GARBAGE_MS = 1_000
JOURNAL_MS = 1_000
SLICE_MS = 5

Chore = Callable[[], None]


class Maintenance:
    """Decides what is due; what may block comes back as chores, to be run in any thread."""

    def __init__(self, store: LogStore, clock: Clock, retention_ms: int) -> None:
        self._store = store
        self._clock = clock
        self._retention: Iterator[int] | None = None
        self._gone = 0
        now_ms = clock.monotonic_ms()
        self._due_ms = {
            self._checkpoint: now_ms + CHECKPOINT_MS,
            self._retain: now_ms + retention_ms,
            self._expire_producers: now_ms + PRODUCER_EXPIRY_MS,
            self._collect_garbage: now_ms + GARBAGE_MS,
            self._sync_journal: now_ms + JOURNAL_MS,
        }
        self._every_ms = {
            self._checkpoint: CHECKPOINT_MS,
            self._retain: retention_ms,
            self._expire_producers: PRODUCER_EXPIRY_MS,
            self._collect_garbage: GARBAGE_MS,
            self._sync_journal: JOURNAL_MS,
        }

    def run(self) -> list[Chore]:
        """Does what is due now; returns what of it should not be done on the event loop."""
        now_ms = self._clock.monotonic_ms()
        chores: list[Chore] = []
        for task, due_ms in self._due_ms.items():
            if due_ms <= now_ms:
                self._due_ms[task] = now_ms + self._every_ms[task]
                chores += task()
        self._retain_slice()
        return chores

    def _checkpoint(self) -> Iterable[Chore]:
        return self._store.checkpoint_writes()

    def _retain(self) -> Iterable[Chore]:
        self._retention = self._store.retention_pass(self._clock.now_ms())
        return ()

    def _retain_slice(self) -> None:
        """The next logs of the pass under way: of ten thousand, all at once would keep everybody waiting."""
        stop_ms = self._clock.monotonic_ms() + SLICE_MS
        while self._retention is not None and self._clock.monotonic_ms() <= stop_ms:
            gone = next(self._retention, None)
            if gone is None:
                self._retention = None
                if self._gone:
                    log.info("retention deleted %d bytes", self._gone)
                self._gone = 0
            else:
                self._gone += gone

    def _expire_producers(self) -> Iterable[Chore]:
        self._store.expire_producers(self._clock.now_ms())
        return ()

    def _collect_garbage(self) -> Iterable[Chore]:
        remove = self._store.collect_garbage(self._clock.monotonic_ms())
        return (remove,) if remove is not None else ()

    def _sync_journal(self) -> Iterable[Chore]:
        volume = self._store.volume
        return (volume.settle_flushed_offsets,) if volume.journal.is_dirty else ()
