"""The metadata log on local files; FORMAT.md has the bytes and the crash cases."""

import contextlib
import logging
import os
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

from odradek.cluster.controller import create_cluster, register_broker
from odradek.cluster.entry import (
    FIRST_HASH,
    MAGIC,
    Entry,
    EntryError,
    NewerLevelError,
    encode_entry,
    read_entry,
)
from odradek.cluster.fold import Folder, FoldError, fold_all
from odradek.cluster.image import EMPTY, ClusterImage
from odradek.cluster.records import MalformedRecordError, Record, UnknownRecordError
from odradek.cluster.snapshot import decode_snapshot, encode_snapshot
from odradek.cluster.store import Disk
from odradek.core.errors import DamageError, StartupError

log = logging.getLogger("odradek.metadata")

FOLDER = "__odradek_metadata"
DURABLE = "durable"
_DURABLE = struct.Struct(">Q")
ROLL_BYTES = 4 * 1024 * 1024
KEPT_SNAPSHOTS = 2
_UNREADABLE = (EntryError, NewerLevelError, MalformedRecordError, UnknownRecordError, FoldError)


class FileMetadataStore:
    """One node's metadata log.

    ``append`` is called by the one thread that owns the broker, ``flush`` may be called by another, one call
    at a time. Invariants: ``_hash`` is that of entry ``_index``; the newest log ends at ``_end``.
    """

    def __init__(self, folder: str, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self.image: ClusterImage = EMPTY
        self._index = 0
        self._hash = FIRST_HASH
        self._hashes: dict[int, bytes] = {}
        """Of entries that a snapshot may still be taken of."""
        self._durable_index = 0
        self._fd = self._durable_fd = -1
        self._end = 0
        self._roll_bytes = ROLL_BYTES
        self._first = 1
        self._is_new = False
        self._has_appended = False
        self._failure: OSError | None = None
        """Why nothing that was appended since can ever be known to be durable."""
        self._sealed: list[int] = []
        """Descriptors of full logs, to be closed by the thread that flushes."""
        self._wants_snapshot = False
        self._applied: ClusterImage | None = None

    @classmethod
    def open(
        cls,
        data_folder: str | os.PathLike[str],
        disk: Disk,
        cluster_id: str,
        *,
        node_id: int,
        rack: str | None = None,
        was_clean: bool = True,
    ) -> "FileMetadataStore":
        """Reads the log of the data folder, or begins one for ``cluster_id``; registers this node.

        ``was_clean`` says whether the node's partition logs were closed in order: if not, what was not
        flushed may be gone, and its leaderships go on under new epochs.
        Raises :class:`DamageError` when what was durable cannot be read, :class:`StartupError` when it
        belongs to another cluster or a newer Odradek.
        """
        store = cls(os.path.join(os.fspath(data_folder), FOLDER), disk)
        if not disk.exists(store._folder):
            disk.make_folder(store._folder)
            disk.sync_folder(os.fspath(data_folder))
        store._load()
        if store.image.cluster_id and store.image.cluster_id != cluster_id:
            raise StartupError(
                f"{store._folder} belongs to cluster {store.image.cluster_id}, meta.properties says"
                f" {cluster_id}; restore the file that was changed"
            )
        records = [] if store.image.cluster_id else create_cluster(cluster_id)
        known = store.image.brokers.get(node_id)
        if known is None or known.rack != rack or not was_clean:
            records += register_broker(node_id, rack, was_clean=was_clean)
        if records:
            store._commit(records)
        return store

    def append(self, records: Sequence[Record]) -> int:
        """One entry of ``records`` → its index; durable after the next flush. Raises ``OSError``."""
        number = self._index + 1
        if self._end >= self._roll_bytes and self._durable_index == self._index:
            self._roll(number)
        data, digest = encode_entry(number, self._durable_index, 0, self._hash, records)
        _write_all(self._disk, self._fd, data, self._end)
        self._end += len(data)
        self._index = number
        self._hash = digest
        self._hashes[number] = digest
        self._has_appended = True
        return number

    def flush(self) -> None:
        """Makes everything appended so far durable; takes a snapshot when one is due. Raises ``OSError``."""
        if self._failure is not None:
            raise self._failure
        index = self._index
        while self._sealed:
            self._disk.close(self._sealed.pop())
        try:
            self._disk.sync_data(self._fd)
        except OSError as error:
            # The kernel may have dropped what it could not write: the next sync would succeed without it.
            self._failure = error
            raise
        if self._is_new:
            self._disk.sync_folder(self._folder)
            self._is_new = False
        self._durable_index = index
        self._note_durable(index)
        applied = self.image if self._applied is None else self._applied
        if self._wants_snapshot and applied.index + 1 >= self._first:
            try:
                self._write_snapshot(applied)
                self._wants_snapshot = False
            except OSError as error:
                log.warning(
                    "no snapshot of the metadata could be taken, the next flush tries again: %s", error
                )

    def _note_durable(self, index: int) -> None:
        """Written after the sync, so true without one: a kill leaves it, and harm to the last entry is not
        taken for a torn end."""
        data = _DURABLE.pack(index)
        with contextlib.suppress(OSError):
            if self._durable_fd < 0:
                self._durable_fd = self._disk.open(os.path.join(self._folder, DURABLE), create=True)
            self._disk.pwrite(self._durable_fd, data + zlib.crc32(data).to_bytes(4, "big"), 0)

    def _noted_durable(self) -> int:
        path = os.path.join(self._folder, DURABLE)
        return decode_durable(self._disk.read_file(path)) if self._disk.exists(path) else 0

    def applied(self, image: ClusterImage) -> None:
        """Everything up to ``image`` is durable and folded."""
        self._applied = image
        if not self._wants_snapshot and len(self._hashes) > 1:
            self._hashes = {index: digest for index, digest in self._hashes.items() if index >= image.index}

    def close(self) -> None:
        """Makes everything durable and lets go of the files.

        An empty entry goes last: it says that all before it was durable, so that harm to the last change
        is not taken for a torn end.
        """
        if self._fd < 0:
            return
        try:
            self.flush()
            if self._has_appended:
                self.append(())
                self.flush()
        finally:
            self._disk.close(self._fd)
            self._fd = -1
            if self._durable_fd >= 0:
                self._disk.close(self._durable_fd)

    def _commit(self, records: Sequence[Record]) -> None:
        """Appends, flushes and folds at once, as nobody waits at start."""
        index = self.append(records)
        self.flush()
        self.image = fold_all(self.image, records, index)
        self.applied(self.image)

    def _name(self, index: int, suffix: str) -> str:
        return os.path.join(self._folder, f"{index:020d}.{suffix}")

    def _indexes(self, suffix: str) -> list[int]:
        """The indexes that files with this suffix are named by, ascending."""
        stems = (entry.name.rpartition(".") for entry in self._disk.entries(self._folder))
        return sorted(int(stem) for stem, _, end in stems if end == suffix and stem.isdigit())

    def _load(self) -> None:
        for entry in self._disk.entries(self._folder):
            if entry.name.endswith(".tmp"):
                self._disk.remove(os.path.join(self._folder, entry.name))
        snapshots = self._indexes("snapshot")
        if snapshots:
            self._load_snapshot(self._name(snapshots[-1], "snapshot"))
        logs = self._indexes("log")
        # A log whose successor begins at or before the next entry holds nothing new.
        needed = [first for first, after in pairwise(logs) if after > self._index + 1] + logs[-1:]
        folder = Folder(self.image)
        for first in needed:
            self._load_log(first, folder, is_newest=first == logs[-1])
        self.image = folder.image(self._index)
        self._applied = self.image
        self._durable_index = self._index
        self._hashes[self._index] = self._hash
        if not logs:
            self._start_log(self._index + 1)
        elif snapshots:
            self._remove_covered(snapshots[-1])

    def _load_snapshot(self, path: str) -> None:
        data = self._disk.read_file(path)
        self._roll_bytes = max(ROLL_BYTES, len(data))
        try:
            self.image, self._hash = decode_snapshot(data)
        except (UnknownRecordError, NewerLevelError) as error:
            raise StartupError(f"{path}: {error}") from error
        except (EntryError, MalformedRecordError, FoldError) as error:
            raise DamageError(path, 0, f"the snapshot cannot be read: {error}") from error
        self._index = self.image.index

    def _load_log(self, first: int, folder: Folder, *, is_newest: bool) -> None:
        path = self._name(first, "log")
        data = self._disk.read_file(path)
        starts: dict[int, int] = {}
        position = unsure = 0
        while position < len(data):
            try:
                entry = read_entry(data, position)
            except NewerLevelError as error:
                raise StartupError(f"{path} at byte {position}: {error}") from error
            except EntryError as error:
                if not is_newest or was_durable(data, position, self._index, self._noted_durable()):
                    raise DamageError(path, position, f"a metadata entry is damaged: {error}") from error
                self._cut(path, data, position, str(error))
                break
            if entry.number > self._index:
                self._take(entry, folder, path, position)
            starts[entry.number] = position
            unsure = starts.get(entry.durable_index + 1, 0)
            position += entry.size
        if is_newest:
            self._fd = self._disk.open(path)
            self._first = first
            self._end = position
            # After a sync that failed, entries may be in the kernel's cache alone, and taken for clean.
            _write_all(self._disk, self._fd, data[unsure:position], unsure)
            self._disk.sync_data(self._fd)

    def _take(self, entry: Entry, folder: Folder, path: str, position: int) -> None:
        if entry.number != self._index + 1:
            raise DamageError(path, position, f"entry {entry.number} follows entry {self._index}")
        if entry.previous_hash != self._hash:
            raise DamageError(path, position, f"entry {entry.number} does not continue the entry before it")
        try:
            for record in entry.records():
                folder.apply(record, entry.number)
        except UnknownRecordError as error:
            raise StartupError(f"{path} at byte {position}: {error}; upgrade Odradek") from error
        except (MalformedRecordError, FoldError) as error:
            raise DamageError(path, position, str(error)) from error
        self._index = entry.number
        self._hash = entry.hash

    def _cut(self, path: str, data: bytes, position: int, reason: str) -> None:
        torn = self._name(self._index + 1, "torn")
        log.warning(
            "%s: %d bytes behind entry %d are the torn end of a crash (%s); kept in %s",
            path,
            len(data) - position,
            self._index,
            reason,
            torn,
        )
        self._write_file(torn, data[position:])
        fd = self._disk.open(path)
        try:
            self._disk.truncate(fd, position)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)

    def _roll(self, first: int) -> None:
        """Begins a new log; all of the old one is durable, so that a torn end is always the newest's."""
        self._sealed.append(self._fd)
        self._start_log(first)
        self._wants_snapshot = True

    def _start_log(self, first: int) -> None:
        self._fd = self._disk.open(self._name(first, "log"), create=True)
        self._first = first
        self._end = 0
        self._is_new = True

    def _write_snapshot(self, image: ClusterImage) -> None:
        data = encode_snapshot(image, self._hashes[image.index])
        self._write_file(self._name(image.index, "snapshot"), data)
        self._roll_bytes = max(ROLL_BYTES, len(data))
        self._remove_covered(image.index)

    def _remove_covered(self, index: int) -> None:
        """Removes logs that end at or before ``index``, and snapshots that nobody will read."""
        logs = self._indexes("log")
        for first, after in pairwise(logs):
            if after <= index + 1:
                self._disk.remove(self._name(first, "log"))
        for old in self._indexes("snapshot")[:-KEPT_SNAPSHOTS]:
            self._disk.remove(self._name(old, "snapshot"))

    def _write_file(self, path: str, content: bytes) -> None:
        """Puts ``content`` in the place of ``path``, atomically and durably."""
        temporary = path + ".tmp"
        fd = self._disk.open(temporary, create=True)
        try:
            self._disk.truncate(fd, 0)
            _write_all(self._disk, fd, content, 0)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        self._disk.rename(temporary, path)
        self._disk.sync_folder(self._folder)


def decode_durable(content: bytes) -> int:
    """Up to which index the file ``durable`` says that all is on disk; 0 when it is damaged."""
    data, checksum = content[: _DURABLE.size], content[_DURABLE.size :]
    if zlib.crc32(data).to_bytes(4, "big") != checksum:
        return 0
    index: int = _DURABLE.unpack(data)[0]
    return index


def was_durable(data: bytes, position: int, last_index: int, noted_index: int) -> bool:
    """Whether the entry that should be at ``position`` of a log, behind that of ``last_index``, was on disk:
    the file ``durable`` has noted it, or a whole entry behind it knew."""
    if noted_index > last_index:
        return True
    found = data.find(MAGIC, position + 1)
    while found >= 0:
        try:
            if read_entry(data, found).durable_index > last_index:
                return True
        except (EntryError, NewerLevelError):
            pass
        found = data.find(MAGIC, found + 1)
    return False


def read_image(data_folder: str, disk: Disk) -> ClusterImage:
    """What the metadata log in a data folder tells, as far as it can be read; nothing is changed there.

    Raises ``OSError``.
    """
    path = os.path.join(data_folder, FOLDER)
    found = sorted(entry.name for entry in disk.entries(path)) if disk.exists(path) else []
    snapshots, logs = (
        [disk.read_file(os.path.join(path, name)) for name in found if name.endswith(suffix)]
        for suffix in (".snapshot", ".log")
    )
    image = EMPTY
    with contextlib.suppress(*_UNREADABLE):
        if snapshots:
            image, _ = decode_snapshot(snapshots[-1])
    folder, index = Folder(image), image.index
    with contextlib.suppress(*_UNREADABLE):
        for data in logs:
            position = 0
            while position < len(data):
                entry = read_entry(data, position)
                position += entry.size
                if entry.number == index + 1:
                    for record in entry.records():
                        folder.apply(record, entry.number)
                    index = entry.number
    return folder.image(index)


def _write_all(disk: Disk, fd: int, data: bytes, position: int) -> None:
    written = 0
    while written < len(data):
        count = disk.pwrite(fd, data[written:] if written else data, position + written)
        if count <= 0:
            raise OSError("the disk takes no more bytes")
        written += count
