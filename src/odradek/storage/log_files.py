"""What happens to a log's files: made ready, rolled, cut at either end, closed."""

import contextlib

from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.storage import names
from odradek.storage.disk import write_all
from odradek.storage.flush import sync_all_files
from odradek.storage.flush_journal import Fact
from odradek.storage.log_state import NO_ROOM, NOT_READY, LogState
from odradek.storage.removal import Garbage
from odradek.storage.segment import ROOM_FROM_BYTES, Segment
from odradek.storage.snapshots import encode_snapshot

_MOST_ROOM_BYTES = 64 * 1024 * 1024
_LEFT_BYTES = 1024 * 1024
"""Room that a segment may keep when it is sealed: giving it back takes the file system a while."""


class LogFiles(LogState):
    """A log that can change the files it consists of."""

    __slots__ = ()

    def _prepare_append(self) -> None:
        self.check_online()
        segment = self.active
        try:
            segment.open()
            if not segment.are_indexes_loaded:
                segment.load_times()
                segment.load_first_timestamp()
                _ = segment.time_index
                found = segment.next_offset()
                if found != self.log_end_offset:
                    reason = f"the last batch ends below offset {found}, expected {self.log_end_offset}"
                    raise DamageError(segment.path(), segment.size, reason)
            # Loaded before the log grows: later, all that was appended since would have to be replayed.
            _ = self.epochs, self.producers
        except (DamageError, OSError) as error:
            raise self.failed(error) from error
        self._fd = segment.fd
        self._pwrite = self.volume.disk.pwrite
        self._room_until = ROOM_FROM_BYTES
        self._set_roll_limits()

    def _make_room(self, position: int, end: int) -> None:
        """Has the file system set room aside behind the log's end, so that writes need not look for it: a
        quarter of what the segment holds.

        The file stays as long as it is. Where that cannot be had, writes do without.
        """
        ahead = min(end // 4, _MOST_ROOM_BYTES)
        until = max(min(end + ahead, self._config.segment_bytes), end)
        try:
            self.volume.disk.reserve(self._fd, position, until - position)
            self._room_until = until
        except OSError:
            self._room_until = NO_ROOM

    def _give_room_back(self, most_left: int = 0) -> None:
        """Before the active segment is sealed or closed, unless no more than ``most_left`` bytes are left."""
        size = self.active.size
        had_room = self._fd != NOT_READY and ROOM_FROM_BYTES < self._room_until < NO_ROOM
        if had_room and self._room_until - size > most_left:
            with contextlib.suppress(OSError):  # it is only room
                self.volume.disk.truncate(self._fd, size)
        self._room_until = ROOM_FROM_BYTES

    def _cut_back(self, error: OSError, position: int) -> ApiError:
        """After a failed write: what did get written is cut off, or the log goes offline."""
        try:
            self.volume.disk.truncate(self._fd, position)
        except OSError as second:
            reason = f"{error}; cutting the incomplete batch off failed too: {second}"
            self.go_offline(DamageError(self.active.path(), position, reason))
        return ApiError(ErrorCode.KAFKA_STORAGE_ERROR, f"{self.topic_partition} cannot be written: {error}")

    # -- roll

    def roll(self, now_ms: int) -> None:
        """Seal the active segment and start a new one, unless it is empty."""
        self.check_online()
        if self.active.size:
            if self._fd == NOT_READY:
                self._prepare_append()
            self._roll(now_ms)

    def _roll(self, now_ms: int) -> Segment:
        volume, old = self.volume, self.active
        new = Segment(volume.disk, self.folder, self.log_end_offset, 0, now_ms, is_active=True)
        try:
            new.create()
            self._pending_fds += old.write_indexes()
            self._pending_fds.append(volume.disk.duplicate(old.fd))
        except OSError as error:
            new.close()
            volume.disk.remove(new.path())
            message = f"{self.topic_partition} cannot start a new segment: {error}"
            raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR, message) from error
        new.roll_jitter_ms = volume.roll_jitter_ms(self._config)
        self._give_room_back(_LEFT_BYTES)
        old.is_active = False
        old.close()
        self.bytes_sealed += old.size
        self._take_snapshot()
        self._pending_folders.add(self.folder)
        self.segments.append(new)
        self.active = new
        self._fd = new.fd
        self._set_roll_limits()
        self.request_flush()
        return new

    def _take_snapshot(self) -> None:
        """Write the producers' state as of the log's end; without one a later start reads the log instead."""
        offset = self.log_end_offset
        if offset in self._snapshots:
            return
        disk = self.volume.disk
        path = f"{self.folder}/{names.file_name(offset, names.SNAPSHOT)}"
        content = encode_snapshot(self.producers.by_id)
        try:
            fd = disk.open(path, create=True)
            self._pending_fds.append(fd)
            disk.truncate(fd, 0)
            write_all(disk, fd, content, 0)
        except OSError:
            disk.remove(path)
            return
        self._pending_folders.add(self.folder)
        self._snapshots.append(offset)

    # -- cut

    def advance_log_start(self, offset: int) -> None:
        """DeleteRecords: nothing below ``offset`` is there any more; whole segments below it are removed.

        The next flush writes the log start checkpoint. Raises OFFSET_OUT_OF_RANGE above the high watermark.
        """
        self.check_online()
        if offset > self.high_watermark:
            raise ApiError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"Cannot increment the log start offset to {offset} of partition {self.topic_partition} "
                f"since it is larger than the high watermark {self.high_watermark}",
            )
        if offset > self.log_start_offset:
            try:
                self._start_at(offset)
            except (DamageError, OSError) as error:
                raise self.failed(error) from error

    def delete_segments_before(self, offset: int) -> int:
        """Remove whole segments whose records all lie below ``offset``; the bytes that went.

        The active segment stays. The log start follows.
        """
        gone = 0
        while len(self.segments) > 1 and self.segments[1].base_offset <= offset:
            segment = self.segments.pop(0)
            gone += segment.size
            self._remove_files(segment)
        if gone and self.log_start_offset < self.segments[0].base_offset:
            self._start_at(self.segments[0].base_offset)
        return gone

    def _start_at(self, offset: int) -> None:
        self.log_start_offset = offset
        if self.epochs.cut_start(offset):
            self._pending_epochs = True
        self._epoch = self.epochs.latest
        self.volume.log_starts_changed = True
        self.delete_segments_before(offset)
        if self._pending_epochs:
            self.request_flush()

    def _remove_files(self, segment: Segment) -> None:
        segment.close()
        paths = segment.file_names()
        end_offset = self.segments[0].base_offset
        for offset in [offset for offset in self._snapshots if offset < end_offset]:
            paths.append(self._forget_snapshot(offset))
        self.set_aside(paths)

    def _forget_snapshot(self, offset: int) -> str:
        self._snapshots.remove(offset)
        return f"{self.folder}/{names.file_name(offset, names.SNAPSHOT)}"

    def set_aside(self, paths: list[str], *, are_replaced: bool = False) -> None:
        """Give files that are out of use the suffix ``.deleted``; they go after ``file.delete.delay.ms``.

        ``are_replaced``: by compaction, so that no job needs them any more.
        """
        disk = self.volume.disk
        may_be_cut = are_replaced or not self.volume.is_being_compacted(self)
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                disk.rename(path, path + names.DELETED)
                delay_ms = self.config.file_delete_delay_ms
                self.volume.garbage.append(Garbage(path + names.DELETED, delay_ms, may_be_cut))

    def replace_segments(self, number: int, count: int, new: Segment) -> None:
        """Let ``new``, whose files are in place, stand for ``count`` sealed segments from ``number`` on."""
        old = self.segments[number : number + count]
        self.segments[number : number + count] = [new]
        vanished = {segment.base_offset for segment in old[1:]}
        self.set_aside([self._forget_snapshot(one) for one in self._snapshots if one in vanished])
        self._places.clear()
        if self._committed[1] in old:
            self._committed = (-1, self.active, 0)
        self._pending_folders.add(self.folder)
        self.request_flush()

    def truncate_to(self, offset: int) -> None:
        """Forget everything from ``offset`` on; a batch that holds it goes as a whole.

        For a follower that has to agree with its leader. Raises ``ValueError`` below the log's start.
        """
        self.check_online()
        if offset >= self.log_end_offset:
            return
        if offset < self.log_start_offset:
            raise ValueError(f"{offset} lies below the log's start {self.log_start_offset}")
        self._fd = NOT_READY
        try:
            segment = [segment for segment in self.segments if segment.base_offset <= offset][-1]
            place = segment.locate(offset)
            offset = min(place.base_offset, offset) if place is not None else offset
            if offset < self.recovery_point:
                # on disk first: a log that ends below its recovery point is taken for damaged
                self.recovery_point = offset
                self.volume.write_recovery_points()
            if offset < self.flushed_offset:
                partition = self.topic_partition.partition
                self.volume.journal.retract(Fact(self.topic_id, partition, offset))
            self._truncate(offset)
        except (DamageError, OSError) as error:
            raise self.failed(error) from error

    def _truncate(self, offset: int) -> None:
        disk = self.volume.disk
        while len(self.segments) > 1 and self.active.base_offset >= offset:
            self.active.close()
            for path in self.active.file_names():
                disk.remove(path)
            self.segments.pop()
            self.active = self.segments[-1]
        active = self.active
        place = active.locate(offset)
        active.close_file()
        active.is_active = True
        if place is not None:
            active.shrink(place.position)
        active.transaction_index.cut(offset)
        active.rebuild_indexes(self._config.index_interval_bytes)
        self.log_end_offset = offset
        self.flushed_offset = min(self.flushed_offset, offset)
        self.recovery_point = min(self.recovery_point, offset)
        self.high_watermark = min(self.high_watermark, offset)
        self._truncations += 1
        self._places.clear()
        self._committed = (-1, active, 0)
        if self.epochs.cut_end(offset):
            self._pending_epochs = True
        self._epoch = self.epochs.latest
        for snapshot in [snapshot for snapshot in self._snapshots if snapshot > offset]:
            self._snapshots.remove(snapshot)
            disk.remove(f"{self.folder}/{names.file_name(snapshot, names.SNAPSHOT)}")
        self._producers = None
        self._pending_folders.add(self.folder)
        self.request_flush()

    # -- close

    def write_closing_files(self) -> None:
        """Write indexes and producer snapshot, so that the next start need not read the log.

        A flush and :meth:`close` are to follow.
        """
        if self.offline is not None:
            return
        if self._fd != NOT_READY:
            self._give_room_back()
            self._pending_fds += self.active.write_indexes()
            self._pending_folders.add(self.folder)
        if (
            self._producers is not None
            and self.log_end_offset > (self._snapshots or [self.segments[0].base_offset])[-1]
        ):
            self._take_snapshot()  # else nothing was appended, and there is no need to read the log for it
        if (
            self.log_end_offset > self.flushed_offset
            or self._pending_fds
            or self._pending_epochs
            or self._pending_folders
            or self._is_unsynced
        ):
            self.request_flush()

    def sync_files(self) -> None:
        """Sync every file of the log right here, one by one."""
        sync_all_files(self.volume.disk, self.folder)

    def leave(self) -> None:
        """Close for good, before the folder is renamed: no flush will look at the log again."""
        self.close()
        self._pending_epochs = False
        self._pending_folders = set()
        self.offline = DamageError(self.folder, 0, "deleted")
        self.volume.timed.discard(self)

    def close(self) -> None:
        """Give back all descriptors; indexes that were not written are lost."""
        self._fd = NOT_READY
        for segment in self.segments:
            segment.close()
        self._places.clear()
        for fd in self._pending_fds:
            self.volume.disk.close(fd)
        self._pending_fds = []
