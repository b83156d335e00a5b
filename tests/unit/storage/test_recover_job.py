"""The job that puts logs in order: one part for each, whatever becomes of it."""

import errno
from pathlib import Path

import pytest

from odradek.core.ids import TopicPartition
from odradek.storage.flush import SYNC_FILE_SYSTEM_FROM
from odradek.storage.jobs import Unmetered
from odradek.storage.recover_job import LogRecovered, RecoverPlan, recover_all
from odradek.storage.store import LogStore

from .conftest import NOW_MS, T0, FaultyDisk, Opener, append, crash, make_log

T1 = TopicPartition("t", 1)


class Meter(Unmetered):
    def __init__(self) -> None:
        self.parts: list[LogRecovered] = []
        super().__init__(self.parts.append)
        self.bytes_moved = 0

    def moved(self, count: int, /) -> None:
        self.bytes_moved += count


def test_every_byte_is_counted_and_everything_synced(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    for _ in range(100):
        append(log, b"v" * 100)
    size = log.size
    crash(store)
    disk = FaultyDisk()
    again = opener(disk, at_once_bytes=0)
    plan = again.recovering.begin(T0, NOW_MS)
    assert plan is not None
    disk.calls.clear()
    meter = Meter()
    recover_all(disk, [plan], meter)
    assert meter.bytes_moved == size
    (part,) = meter.parts
    assert part.restored is not None
    assert (part.topic_partition, part.restored.end_offset, part.error) == (T0, 100, None)
    assert disk.calls.count("sync") == len(list(Path(log.folder).iterdir()))
    assert disk.calls.count("sync_folder") == 2


def one_crashed(opener: Opener, store: LogStore, disk: FaultyDisk) -> RecoverPlan:
    append(make_log(store), b"v")
    crash(store)
    plan = opener(disk, at_once_bytes=0).recovering.begin(T0, NOW_MS)
    assert plan is not None
    return plan


def test_a_disk_that_fails_is_told_of_and_nothing_is_raised(opener: Opener, store: LogStore) -> None:
    disk = FaultyDisk()
    plan = one_crashed(opener, store, disk)
    disk.faults = [("sync", errno.EIO)]
    meter = Meter()
    recover_all(disk, [plan], meter)
    (part,) = meter.parts
    assert part.restored is None
    assert "EIO" in str(part.error)


def test_a_log_for_which_there_is_no_room_is_not_told_of_and_may_be_tried_again(
    opener: Opener, store: LogStore
) -> None:
    append(make_log(store), b"v")
    append(make_log(store, partition=T1), b"w")
    crash(store)
    disk = FaultyDisk()
    again = opener(disk, at_once_bytes=0)
    plans = [again.recovering.begin(partition, NOW_MS) for partition in (T0, T1)]
    disk.faults = [("open", errno.ENOSPC)]
    meter = Meter()
    recover_all(disk, [plan for plan in plans if plan is not None], meter)
    assert [part.topic_partition for part in meter.parts] == [T1]
    assert again.recovering.abandoned([T0]) == [T0]
    plan = again.recovering.begin(T0, NOW_MS)
    assert plan is not None
    recover_all(disk, [plan], meter)
    assert meter.parts[-1].restored is not None


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_nor_is_one_for_which_there_is_no_descriptor_or_memory(
    opener: Opener, store: LogStore, number: int
) -> None:
    disk = FaultyDisk()
    plan = one_crashed(opener, store, disk)
    disk.faults = [("pread", number)]
    meter = Meter()
    assert recover_all(disk, [plan], meter) == number
    assert (meter.parts, disk.faults) == ([], [])
    assert recover_all(disk, [plan], meter) == 0
    assert meter.parts[-1].restored is not None


def test_one_that_could_not_be_opened_to_be_synced_waits_but_one_whose_sync_failed_is_offline(
    opener: Opener, store: LogStore
) -> None:
    disk = FaultyDisk()
    plan = one_crashed(opener, store, disk)
    disk.faults = [("sync", 0), ("sync_folder", errno.EMFILE)]
    meter = Meter()
    assert recover_all(disk, [plan], meter) == errno.EMFILE
    assert meter.parts == []
    disk.faults = [("sync", errno.ENOMEM)]
    assert recover_all(disk, [plan], meter) == 0
    assert meter.parts[-1].error is not None


def many(opener: Opener, store: LogStore, disk: FaultyDisk) -> list[RecoverPlan]:
    partitions = [TopicPartition("t", number) for number in range(SYNC_FILE_SYSTEM_FROM)]
    for partition in partitions:
        append(make_log(store, partition=partition), b"v")
    crash(store)
    again = opener(disk, at_once_bytes=0)
    plans = [again.recovering.begin(partition, NOW_MS) for partition in partitions]
    disk.calls.clear()
    return [plan for plan in plans if plan is not None]


def test_small_logs_are_synced_together(opener: Opener, store: LogStore) -> None:
    disk, meter = FaultyDisk(), Meter()
    plans = many(opener, store, disk)
    recover_all(disk, plans, meter)
    assert [part.error for part in meter.parts] == [None] * SYNC_FILE_SYSTEM_FROM
    assert disk.calls.count("sync_file_system") == 1
    assert "sync" not in disk.calls


def test_when_that_fails_each_is_synced_by_itself(opener: Opener, store: LogStore) -> None:
    disk, meter = FaultyDisk(), Meter()
    plans = many(opener, store, disk)
    disk.faults = [("sync_file_system", errno.EIO), ("sync", 0), ("sync", errno.EIO)]
    recover_all(disk, plans, meter)
    assert [part.error is None for part in meter.parts] == [False] + [True] * (SYNC_FILE_SYSTEM_FROM - 1)
