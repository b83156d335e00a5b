"""The data folder as its logs see it: the disk, what waits for a flush, what waits for removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from odradek.core.errors import ApiError
from odradek.core.ids import Randomness
from odradek.storage import names
from odradek.storage.config import LogConfig
from odradek.storage.disk import Disk, Replacer
from odradek.storage.flush import FlushTicket
from odradek.storage.flush_journal import FlushJournal
from odradek.storage.removal import Garbage

if TYPE_CHECKING:
    from odradek.storage.gathering import GatheringLog
    from odradek.storage.log_state import LogState
    from odradek.storage.segment import Segment

DAY_MS = 86_400_000
SEALED_SEGMENTS_OPEN = 64
"""So many sealed segments keep descriptor, mapping and indexes; readers of the past are few."""


class Volume:
    """Shared by all logs of one data folder.

    ``producer_expiration_ms`` is ``producer.id.expiration.ms`` and may change at run time; ``on_offline`` is
    called with each log that goes offline.
    """

    __slots__ = (
        "_checkpoints",
        "_opened",
        "dirty",
        "disk",
        "file_system_fd",
        "folder",
        "garbage",
        "gathering",
        "in_flight",
        "is_being_compacted",
        "is_tight",
        "journal",
        "log_start_checkpoint",
        "log_starts_changed",
        "on_offline",
        "producer_expiration_ms",
        "randomness",
        "recovery_point_checkpoint",
        "timed",
    )

    def __init__(self, disk: Disk, folder: str, randomness: Randomness, file_system_fd: int = -1) -> None:
        self.disk = disk
        self.folder = folder
        self.randomness = randomness
        self.file_system_fd = file_system_fd
        self.producer_expiration_ms = DAY_MS
        self.is_tight = False
        """Room is scarce: every batch goes the way on which that is looked at."""
        self.on_offline: Callable[[LogState], None] = lambda log: None
        self.is_being_compacted: Callable[[LogState], bool] = lambda log: False
        """Whether some job may be reading any of a log's segments to compact them."""
        self.dirty: list[LogState] = []
        """Logs for which a flush is due; each is in here once."""
        self.gathering: list[GatheringLog] = []
        """Logs with batches that wait to be written; each is in here once."""
        self.timed: set[LogState] = set()
        """Logs with unflushed records that ``flush.ms`` will make due."""
        self.garbage: list[Garbage] = []
        """Out of use since the last look."""
        self.recovery_point_checkpoint: Callable[[], tuple[str, bytes]] | None = None
        """Path and content of the recovery point checkpoint."""
        self.log_starts_changed = False
        self.log_start_checkpoint: Callable[[], tuple[str, bytes]] | None = None
        """Path and content of the log start checkpoint; the next flush writes it when a start changed."""
        self.journal = FlushJournal(disk, f"{folder}/{names.FLUSHED_OFFSETS}")
        self._opened: dict[Segment, None] = {}
        self._checkpoints = Replacer(disk)
        self.in_flight: FlushTicket | None = None

    def touch(self, segment: Segment) -> None:
        """Note that a sealed segment was used; the one that was not for longest gives its resources back."""
        opened = self._opened
        opened.pop(segment, None)
        opened[segment] = None
        if len(opened) > SEALED_SEGMENTS_OPEN:
            oldest = next(iter(opened))
            del opened[oldest]
            if not oldest.is_active:
                oldest.close()

    def write_recovery_points(self) -> None:
        """Write the recovery point checkpoint right here. Raises ``OSError``."""
        if self.recovery_point_checkpoint is not None:
            self.checkpoint_write(*self.recovery_point_checkpoint())()

    def settle_flushed_offsets(self) -> None:
        """Have what is known to be flushed survive a power cut. Blocks. Raises ``OSError``."""
        if not self.journal.sync():
            self.write_recovery_points()

    def checkpoint_write(self, path: str, content: bytes | Callable[[], bytes]) -> Callable[[], None]:
        """A call that puts ``content``, or what it returns then, in the place of ``path``, in any thread; it
        may raise ``OSError``.

        It does nothing once something newer is there: what waited in a thread must not undo it.
        """
        return self._checkpoints.prepare(path, content)

    def roll_jitter_ms(self, config: LogConfig) -> int:
        """How much earlier than ``segment.ms`` a new segment is to be rolled."""
        longest_ms = min(config.segment_jitter_ms, config.segment_ms)
        return int(self.randomness.random() * longest_ms) if longest_ms > 0 else 0

    def write_gathered(self, now_ms: int) -> list[tuple[GatheringLog, ApiError | None]]:
        """Writes what was gathered: each log that had something, and why that was refused, if it was."""
        gathering, self.gathering = self.gathering, []
        return [(log, log.write_gathered(now_ms)) for log in gathering]

    def begin_flush(self, now_ms: int) -> FlushTicket | None:
        """What has to be synced now; None when nothing has, or when a flush is in flight."""
        if self.in_flight is not None:
            return None
        if self.timed:
            for log in [log for log in self.timed if log.is_flush_overdue(now_ms)]:
                log.request_flush()
        if not self.dirty and not self.log_starts_changed:
            return None
        dirty, self.dirty = self.dirty, []
        items = [log.begin_flush() for log in dirty]
        checkpoint = None
        if self.log_starts_changed and self.log_start_checkpoint is not None:
            checkpoint = self.checkpoint_write(*self.log_start_checkpoint())
        self.log_starts_changed = False
        self.in_flight = ticket = FlushTicket(
            self.disk, self.file_system_fd, items, checkpoint, self.journal.note
        )
        return ticket

    def unflushed_bytes(self) -> int:
        """What the next flush would have to bring to the disk, about."""
        return sum(log.unflushed_bytes for log in self.dirty)

    def finish_flush(self, ticket: FlushTicket) -> list[LogState]:
        """Take in a ticket that has run; the logs whose flushed offset has moved."""
        self.in_flight = None
        if ticket.checkpoint_error is not None:
            self.log_starts_changed = True  # again, with the next flush
        return [item.log for item in ticket.items if item.log.finish_flush(item)]
