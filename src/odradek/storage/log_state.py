"""What a log is: its offsets, its segments, what of it is durable, and whether it is in order.

:mod:`odradek.storage.log` adds what is done with it.
"""

from __future__ import annotations

import errno
import logging

from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.core.ids import ZERO_ID, TopicId, TopicPartition
from odradek.storage import names
from odradek.storage.checkpoints import encode_epochs
from odradek.storage.config import UNLIMITED, LogConfig
from odradek.storage.epochs import LeaderEpochs
from odradek.storage.flush import FlushItem
from odradek.storage.flush_journal import Fact
from odradek.storage.index import LARGEST_RELATIVE_OFFSET
from odradek.storage.producers import KeptBatch, Producers
from odradek.storage.recovery import Recovered, load_epochs, load_producers
from odradek.storage.segment import ROOM_FROM_BYTES, Segment
from odradek.storage.volume import Volume

log = logging.getLogger("odradek.storage")

NOT_READY = -1
"""The active segment's descriptor while it is not prepared for appending."""
NO_ROOM = 1 << 62
_ALWAYS = -2
_BROKEN_DISK = frozenset({errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO})


class LogState:
    """The fields of a log, and everything about it but appending, reading and cutting.

    ``high_watermark`` moves by itself: with ``flush.messages`` 1 to what is flushed, else to what is
    appended.
    """

    __slots__ = (
        "_committed",
        "_config",
        "_dirty",
        "_epoch",
        "_epochs",
        "_fd",
        "_gathered",
        "_gathered_offset",
        "_gathered_position",
        "_gathered_producers",
        "_is_plain",
        "_is_unsynced",
        "_pending_epochs",
        "_pending_fds",
        "_pending_folders",
        "_places",
        "_producers",
        "_pwrite",
        "_roll_after",
        "_roll_offset",
        "_room_until",
        "_snapshots",
        "_truncations",
        "_unflushed_since_ms",
        "active",
        "bytes_sealed",
        "flushed_offset",
        "folder",
        "high_watermark",
        "is_recovering",
        "is_strict",
        "log_end_offset",
        "log_start_offset",
        "offline",
        "recovery_point",
        "refused_first",
        "segments",
        "topic_id",
        "topic_partition",
        "volume",
    )

    def __init__(
        self,
        volume: Volume,
        folder: str,
        topic_partition: TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
        segments: list[Segment],
        log_start_offset: int,
        log_end_offset: int,
        snapshots: list[int],
    ) -> None:
        self.volume = volume
        self.folder = folder
        self.topic_partition = topic_partition
        self.topic_id = topic_id
        self.segments = segments
        self.active = segments[-1]
        self.log_start_offset = log_start_offset
        self.log_end_offset = log_end_offset
        self.flushed_offset = log_end_offset
        self.high_watermark = log_end_offset
        self.recovery_point = log_end_offset
        """Where recovery would begin: the flushed offset, unless small files wait to be written."""
        self.bytes_sealed = 0
        """Bytes of the segments that were sealed since the start, whether they are still there or not."""
        self.offline: DamageError | None = None
        self.is_recovering = False
        """It is offline for as long as its files are recovered; another one will take its place."""
        self.refused_first: dict[int, tuple[int, int]] | None = None
        """Only of one that stands in for a log that is still to come: of producers whose batches were refused
        meanwhile, epoch and sequence of the first of them."""
        self._is_unsynced = False
        """Its files may not be on disk, whichever: the next flush syncs them all."""
        self._fd = NOT_READY
        self._pwrite = volume.disk.pwrite
        self._room_until = ROOM_FROM_BYTES
        """Writes up to here need no more room; ``NO_ROOM``: there is none to be had."""
        self._gathered: list[tuple[memoryview, int, int]] = []
        """Batches that have their offsets and wait to be written: bytes, last offset, youngest timestamp."""
        self._gathered_position = self._gathered_offset = 0
        """Size and end of the log once they are written; of no meaning while there are none."""
        self._gathered_producers: dict[int, tuple[list[KeptBatch], int, int]] = {}
        """Producers as they were before: their batches, last sequence, last timestamp."""
        self._producers: Producers | None = None
        self._epochs: LeaderEpochs | None = None
        self._epoch = -1
        self._snapshots = snapshots
        self._places: dict[int, tuple[Segment, int]] = {}
        self._committed: tuple[int, Segment, int] = (-1, self.active, 0)
        self._dirty = False
        self._pending_epochs = False
        self._pending_fds: list[int] = []
        self._pending_folders: set[str] = set()
        self._unflushed_since_ms = -1
        self._truncations = 0
        self.config = config

    # -- what it is

    @property
    def config(self) -> LogConfig:
        """The topic's configs; may be replaced at run time."""
        return self._config

    @config.setter
    def config(self, config: LogConfig) -> None:
        self._config = config
        self.is_strict = config.is_strict
        self._is_plain = config.accepts_batches_as_they_are and not self.volume.is_tight
        if not config.is_strict:
            self.high_watermark = self.log_end_offset
        self._set_roll_limits()

    @property
    def size(self) -> int:
        """Bytes of all batches."""
        return sum(segment.size for segment in self.segments)

    @property
    def leader_epoch(self) -> int:
        """The newest leader epoch that wrote here, -1 when none did."""
        return self.epochs.latest

    @property
    def epochs(self) -> LeaderEpochs:
        """Which leader epoch starts at which offset. Raises KAFKA_STORAGE_ERROR when that cannot be read."""
        if self._epochs is None:
            self._check_recovered()
            try:
                self._epochs = load_epochs(self.volume.disk, self.folder, self.log_end_offset)
            except (DamageError, OSError) as error:
                raise self.failed(error) from error
            self._epoch = self._epochs.latest
        return self._epochs

    @property
    def producers(self) -> Producers:
        """What is known of the partition's producers. Raises KAFKA_STORAGE_ERROR when that cannot be read."""
        if self._producers is None:
            self._check_recovered()
            try:
                self._producers = load_producers(self)
            except (DamageError, OSError) as error:
                raise self.failed(error) from error
        return self._producers

    def adopt(self, recovered: Recovered, recovery_point: int) -> None:
        """Take over what recovery found, instead of reading it again.

        The old ``recovery_point`` counts on until leader epochs that only the log knew are written.
        """
        self._producers = recovered.producers
        self._epochs = recovered.epochs
        self._epoch = recovered.epochs.latest
        if recovered.epochs_changed:
            self.recovery_point = recovery_point
            self._pending_epochs = True
            self.request_flush()

    def count_as_unflushed(self, flushed_offset: int, recovery_point: int) -> None:
        """What was recovered above ``flushed_offset`` was not synced: the next flush syncs all its files.

        For logs whose records need not be flushed to be committed, whenever that flush is.
        """
        self.flushed_offset = min(flushed_offset, self.log_end_offset)
        self.recovery_point = min(recovery_point, self.log_end_offset)
        self._is_unsynced = True
        config = self._config
        unflushed = self.log_end_offset - self.flushed_offset
        if unflushed >= config.flush_messages or config.flush_ms != UNLIMITED:
            self.request_flush()

    def expire_producers(self, now_ms: int, expiration_ms: int, *, keeps_ended: bool) -> int:
        """See :meth:`Producers.expire`; what is not in memory stays as it is."""
        if self._producers is None:
            return 0
        return self._producers.expire(now_ms, expiration_ms, keeps_ended=keeps_ended)

    @property
    def snapshots(self) -> list[int]:
        """Offsets of the producer snapshots on disk, ascending."""
        return self._snapshots

    @property
    def last_stable_offset(self) -> int:
        """Below it all transactions are decided; never above the high watermark, nor below the log's start,
        which may have moved beyond where an open transaction began."""
        high_watermark = self.high_watermark
        producers = self.producers
        if not producers.open and not producers.ended:
            return high_watermark
        unstable = producers.first_unstable_offset(high_watermark)
        if unstable is None:
            return high_watermark
        return min(max(unstable, self.log_start_offset), high_watermark)

    # -- flushing

    def request_flush(self) -> None:
        """Make a flush due; the next ticket of the volume carries it."""
        if not self._dirty:
            self._dirty = True
            self.volume.dirty.append(self)

    def _note_unflushed(self, end_offset: int, now_ms: int) -> None:
        """After an append that need not be flushed to be committed."""
        self.high_watermark = end_offset
        config = self._config
        if end_offset - self.flushed_offset >= config.flush_messages:
            self.request_flush()
        elif config.flush_ms != UNLIMITED and self._unflushed_since_ms < 0:
            self._unflushed_since_ms = now_ms
            self.volume.timed.add(self)

    @property
    def unflushed_bytes(self) -> int:
        """Bytes of the active segment that were written since a flush last took it in."""
        _, segment, position = self._committed
        return self.active.size - (position if segment is self.active else 0)

    def is_flush_overdue(self, now_ms: int) -> bool:
        """Whether records have waited for ``flush.ms``."""
        return 0 <= self._unflushed_since_ms <= now_ms - self._config.flush_ms

    def begin_flush(self) -> FlushItem:
        """What has to be synced so that the log is durable up to its present end."""
        assert not self._gathered, "what was gathered has to be written first"
        active = self.active
        is_growing = active.fd != NOT_READY and self.log_end_offset > self.flushed_offset
        self._dirty = False
        self._unflushed_since_ms = -1
        self.volume.timed.discard(self)
        fds, self._pending_fds = self._pending_fds, []
        folders, self._pending_folders = self._pending_folders, set()
        files: list[tuple[str, bytes]] = []
        if self._pending_epochs and self._epochs is not None:
            self._pending_epochs = False
            files.append((f"{self.folder}/{names.LEADER_EPOCHS}", encode_epochs(self._epochs.entries)))
        item = FlushItem(self, self.log_end_offset, fds, files, sorted(folders))
        item.place = (active, active.size)
        if is_growing and self.offline is None:
            item.grown_fd = active.lend()
            item.grown_from = active.size - self.unflushed_bytes
        item.truncations = self._truncations
        item.flushed_offset = self.flushed_offset
        item.is_whole, self._is_unsynced = self._is_unsynced and self.offline is None, False
        if self.topic_id != ZERO_ID and self.offline is None:
            item.fact = Fact(self.topic_id, self.topic_partition.partition, self.log_end_offset)
            item.is_news = self.log_end_offset > self.flushed_offset
        return item

    def finish_flush(self, item: FlushItem) -> bool:
        """Take in a flush that has run; whether ``flushed_offset`` moved. A failed one ends in offline."""
        if item.grown_fd >= 0 and item.place is not None:
            item.place[0].take_back()
        if item.error is not None:
            reason = f"a flush failed, what is on disk is unknown: {item.error}"
            self.go_offline(DamageError(self.active.path(), self.active.size, reason))
            return False
        if item.file_error is not None and self.offline is None:
            self._pending_epochs = True
            self.request_flush()
        if self.offline is not None or item.truncations != self._truncations:
            return False
        if item.file_error is None:
            self.recovery_point = item.end_offset
        if item.end_offset <= self.flushed_offset:
            return False
        self.flushed_offset = item.end_offset
        assert item.place is not None
        self._committed = (item.end_offset, *item.place)
        if self.is_strict and item.end_offset > self.high_watermark:
            self.high_watermark = item.end_offset
        return True

    def forget_epochs(self) -> None:
        """Have the leader epochs read again: their file was replaced."""
        self._epochs = None
        _ = self.epochs

    def write_epochs_again(self) -> None:
        """Have the next flush write the leader epochs, which are known here, over their file."""
        _ = self.epochs
        self._pending_epochs = True
        self.request_flush()

    def sync_later(self, fds: list[int], folders: list[str]) -> None:
        """Have the next flush sync and close ``fds``, and sync ``folders``, before it counts."""
        self._pending_fds += fds
        self._pending_folders.update(folders)

    # -- health

    def _check_recovered(self) -> None:
        if self.is_recovering:
            self.check_online()

    def check_online(self) -> None:
        """Raise KAFKA_STORAGE_ERROR when the log is offline, NOT_LEADER_OR_FOLLOWER while it is recovered."""
        if self.is_recovering:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"{self.topic_partition} is being recovered")
        if self.offline is not None:
            raise ApiError(
                ErrorCode.KAFKA_STORAGE_ERROR, f"{self.topic_partition} is offline: {self.offline}"
            )

    @property
    def is_settled(self) -> bool:
        """Whether all of it is on disk and in order, so that a start may trust it unread."""
        return self.offline is None and self.recovery_point == self.log_end_offset

    def go_offline(self, damage: DamageError) -> None:
        """Serve nothing any more; the bytes are left as they are."""
        if self.offline is None:
            self.offline = damage
            fix = "once its files are in order a restart brings it back, see `odradek log verify`"
            log.error("%s is offline: %s; %s", self.topic_partition, damage, fix)
            self._fd = NOT_READY
            self.volume.timed.discard(self)
            self.volume.on_offline(self)

    def failed(self, error: DamageError | OSError) -> ApiError:
        """The error to answer when reading or writing failed; damage takes the log offline."""
        if isinstance(error, DamageError):
            self.go_offline(error)
        elif error.errno in _BROKEN_DISK:
            path = error.filename or self.active.path()
            self.go_offline(DamageError(str(path), self.active.size, str(error)))
        return ApiError(ErrorCode.KAFKA_STORAGE_ERROR, f"{self.topic_partition}: {error}")

    # -- rolling

    def _set_roll_limits(self) -> None:
        """The append path compares with these two numbers only; beyond one of them it looks closer."""
        active = self.active
        config = self._config
        self._roll_offset = active.base_offset + LARGEST_RELATIVE_OFFSET
        if active.first_timestamp < 0 or active.is_index_full(config.segment_index_bytes):
            self._roll_after = _ALWAYS
        else:
            self._roll_after = active.first_timestamp + config.longest_segment_ms - active.roll_jitter_ms

    def _must_roll(self, size: int, max_timestamp: int, last_offset: int, now_ms: int) -> bool:
        """Whether a batch of ``size`` bytes belongs in a new segment (``LogSegment.shouldRoll``)."""
        active, config = self.active, self._config
        if active.size == 0:
            return False
        if active.first_timestamp >= 0:
            waited_ms = max_timestamp - active.first_timestamp
        else:
            waited_ms = now_ms - active.created_ms
        return (
            active.size + size > config.segment_bytes
            or waited_ms > config.longest_segment_ms - active.roll_jitter_ms
            or last_offset > self._roll_offset
            or active.is_index_full(config.segment_index_bytes)
        )
