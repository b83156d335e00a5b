"""Stores in temporary folders, batches with a word of their own, and disks that fail on demand."""

import errno
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from odradek.core.ids import TopicPartition, new_id
from odradek.records.batch import iterate_batches
from odradek.records.builder import build_batch
from odradek.records.record import Record, read_records
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.log import AppendResult, Log
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock
from tests.support.disks import QuickDisk

T0 = TopicPartition("t", 0)
NOW_MS = 1_700_000_000_000
SMALL = LogConfig(segment_bytes=4096, index_interval_bytes=256)

Opener = Callable[..., LogStore]


class FaultyDisk(QuickDisk):
    """Fails the calls named in ``faults``, in their order: (call, error number), 0 lets one call pass."""

    __slots__ = ("calls", "faults", "short_write")

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[tuple[str, int]] = []
        self.calls: list[str] = []
        self.short_write = 0

    def _maybe_fail(self, call: str) -> None:
        self.calls.append(call)
        if self.faults and self.faults[0][0] == call:
            _, number = self.faults.pop(0)
            if number:
                raise OSError(number, errno.errorcode[number])

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int, /) -> int:  # type: ignore[override]
        if self.short_write:
            short, self.short_write = self.short_write, 0
            SystemDisk.pwrite(fd, memoryview(data)[:short], position)
            return short
        self._maybe_fail("pwrite")
        return SystemDisk.pwrite(fd, data, position)

    def pwritev(self, fd: int, pieces: Sequence[memoryview], position: int, /) -> int:  # type: ignore[override]
        return self.pwrite(fd, b"".join(pieces), position)

    def reserve(self, fd: int, position: int, length: int) -> None:
        self._maybe_fail("reserve")
        super().reserve(fd, position, length)

    def read_file(self, path: str) -> bytes:
        self._maybe_fail("read_file " + path.rpartition("/")[2])
        return super().read_file(path)

    def pread(self, fd: int, length: int, position: int, /) -> bytes:  # type: ignore[override]
        self._maybe_fail("pread")
        return SystemDisk.pread(fd, length, position)

    def duplicate(self, fd: int, /) -> int:  # type: ignore[override]
        self._maybe_fail("duplicate")
        return SystemDisk.duplicate(fd)

    def truncate(self, fd: int, length: int, /) -> None:  # type: ignore[override]
        self._maybe_fail("truncate")
        SystemDisk.truncate(fd, length)

    def sync(self, fd: int, /) -> None:  # type: ignore[override]
        self._maybe_fail("sync")
        super().sync(fd)

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        self._maybe_fail("open")
        return super().open(path, create=create, writable=writable)

    def write_out(self, fd: int, position: int, length: int) -> None:
        self._maybe_fail("write_out")
        super().write_out(fd, position, length)

    def sync_data(self, fd: int, /) -> None:
        self._maybe_fail("sync_data")
        super().sync_data(fd)

    def sync_folder(self, path: str) -> None:
        self._maybe_fail("sync_folder")
        super().sync_folder(path)

    def sync_file_system(self, fd: int) -> bool:
        self._maybe_fail("sync_file_system")
        return super().sync_file_system(fd)


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    """Opens the store in the test's folder; whatever is still open at the end is given back."""
    opened: list[LogStore] = []

    def open_store(
        disk: SystemDisk | None = None,
        config: LogConfig = SMALL,
        folder: Path = tmp_path / "data",
        **options: object,
    ) -> LogStore:
        opened.append(
            LogStore.open(
                str(folder),
                disk or QuickDisk(),
                FakeClock(NOW_MS),
                random.Random(7),
                config_of=lambda _: config,
                **options,  # type: ignore[arg-type]
            )
        )
        return opened[-1]

    yield open_store
    for store in opened:
        crash(store)


@pytest.fixture
def store(opener: Opener) -> LogStore:
    return opener()


@pytest.fixture
def log(store: LogStore) -> Log:
    return make_log(store)


def make_log(store: LogStore, config: LogConfig = SMALL, partition: TopicPartition = T0) -> Log:
    return store.create(partition, new_id(random.Random(3)), config, NOW_MS)


def stop(store: LogStore) -> None:
    """A clean one."""
    store.close(NOW_MS)
    store._lock = -1


def crash(store: LogStore) -> None:
    """What kill -9 leaves: nothing is written any more, the lock is free."""
    if store._lock >= 0:
        for log in store.logs.values():
            log.close()
        store.disk.close(store._lock)
        store._lock = -1


def batch(
    *values: bytes, timestamp: int = NOW_MS, key: bytes | None = b"k", **options: int | bool
) -> memoryview:
    records = [Record(0, timestamp, key, value) for value in values or (b"v",)]
    return memoryview(build_batch(records, **options))  # type: ignore[arg-type]


def append(
    log: Log, *values: bytes, now_ms: int = NOW_MS, leader_epoch: int = 0, **options: int | bool
) -> AppendResult:
    """Append one batch of ``values``; without a timestamp of their own the records are from ``now_ms``."""
    options.setdefault("timestamp", now_ms)
    return log.append(batch(*values, **options), now_ms, leader_epoch=leader_epoch)  # type: ignore[arg-type]


def read_all(log: Log, max_bytes: int = 1 << 20, start: int | None = None) -> list[Record]:
    """Every record below the high watermark, read as a consumer would."""
    offset = log.log_start_offset if start is None else start
    found: list[Record] = []
    while True:
        result = log.read(offset, max_bytes, log.high_watermark)
        if not result.records:
            return found
        for position, header in iterate_batches(result.records):
            found += read_records(result.records[position : position + header.size])
        assert result.next_offset > offset
        offset = result.next_offset


def values_of(log: Log) -> list[bytes | None]:
    return [record.value for record in read_all(log)]
