"""Logs that are recovered while others are served: what state each is in, and what a second kill finds."""

import errno
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import ZERO_ID, TopicPartition, new_id
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage import names
from odradek.storage.config import UNLIMITED, LogConfig
from odradek.storage.disk import Bytes
from odradek.storage.flush_journal import read_facts
from odradek.storage.jobs import Job, Unmetered, perform
from odradek.storage.log import Log
from odradek.storage.recover_job import LogRecovered, recover_all
from odradek.storage.store import LogStore
from tests.support.disks import QuickDisk

from .conftest import NOW_MS, SMALL, T0, FaultyDisk, Opener, append, crash, make_log, stop, values_of

T1, T2 = TopicPartition("t", 1), TopicPartition("u", 0)
LAZY = LogConfig(segment_bytes=4096, index_interval_bytes=256, flush_messages=UNLIMITED)


def recover(store: LogStore, *partitions: TopicPartition) -> list[Log | None]:
    """Does by hand what a job does, and takes over what it finds."""
    plans = [plan for one in partitions if (plan := store.recovering.begin(one, NOW_MS)) is not None]
    found: list[Log | None] = []
    perform(
        store.disk,
        Job("recover", plans),
        Unmetered(lambda part: found.append(store.recovered(part, NOW_MS))),
    )
    return found


def fill(log: Log, count: int = 90) -> list[bytes]:
    values = [b"%03d" % number * 20 for number in range(count)]
    for number, value in enumerate(values):
        append(log, value, producer_id=4, producer_epoch=0, base_sequence=number)
    return values


@pytest.fixture
def crashed(store: LogStore) -> list[bytes]:
    """T0 and T1 hold 90 records, 50 of T0 are checkpointed, T2 is empty; then the broker was killed."""
    log = make_log(store)
    values = fill(log, 50)
    store.create(T2, new_id(store.volume.randomness), SMALL, NOW_MS)
    store.flush(NOW_MS)
    store.write_checkpoints()
    values += [b"more"] * 40
    for number in range(50, 90):
        append(log, b"more", producer_id=4, producer_epoch=0, base_sequence=number)
    fill(make_log(store, partition=T1))
    store.flush(NOW_MS)
    crash(store)
    return values


def test_what_is_little_is_recovered_at_once(opener: Opener, crashed: list[bytes]) -> None:
    again = opener(at_once_bytes=10 << 20)
    assert not again.recovering.sizes
    assert values_of(again.logs[T0]) == crashed


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOSPC])
def test_a_log_for_which_there_is_no_descriptor_or_no_room_waits_for_one(
    opener: Opener,
    crashed: list[bytes],
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    stop(opener())
    disk = FaultyDisk()
    disk.faults = [("read_file partition.metadata", 0), ("read_file partition.metadata", number)]
    again = opener(disk, at_once_bytes=0)
    assert set(again.recovering.sizes) == {T1}
    assert "t-1 cannot be opened yet" in caplog.text
    assert again.logs[T0].offline is None
    assert again.logs[T1].is_recovering
    (log,) = recover(again, T1)
    assert log is not None
    assert len(values_of(log)) == 90
    assert append(log, b"goes on").base_offset == 90
    stop(again)
    assert opener().was_clean


def test_after_a_crash_too(opener: Opener, crashed: list[bytes]) -> None:
    disk = FaultyDisk()
    disk.faults = [("read_file partition.metadata", errno.EMFILE)] * 2
    again = opener(disk)
    assert again.logs[T0].topic_id == ZERO_ID
    (log,) = recover(again, *again.recovering.sizes)
    assert log is not None
    assert values_of(log) == crashed
    assert log.topic_id == new_id(random.Random(3))
    crash(again)
    assert values_of(opener().logs[T0]) == crashed


def test_more_than_that_waits_and_serves_nothing_meanwhile(opener: Opener, crashed: list[bytes]) -> None:
    again = opener(at_once_bytes=0)
    assert set(again.recovering.sizes) == {T0, T1}
    assert again.logs[T2].offline is None, "there is nothing to recover"
    log = again.logs[T0]
    assert log.is_recovering
    for ask in (lambda: append(log, b"no"), lambda: log.producers, lambda: log.epochs, log.check_online):
        with pytest.raises(ApiError) as refusal:
            ask()
        assert refusal.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert append(again.logs[T2], b"yes").base_offset == 0


def test_a_recovered_log_takes_the_place_of_the_one_that_stood_in(
    opener: Opener, crashed: list[bytes]
) -> None:
    again = opener(at_once_bytes=0)
    (log,) = recover(again, T0)
    assert log is again.logs[T0]
    assert log is not None
    assert not log.is_recovering
    assert (log.log_end_offset, log.high_watermark, log.flushed_offset) == (90, 90, 90)
    assert values_of(log) == crashed
    assert log.producers.by_id[4].last_sequence == 89
    assert len(log.producers.by_id[4].batches) == 5, "all that may come again is known"
    assert set(again.recovering.sizes) == {T1}
    assert append(log, b"next", producer_id=4, producer_epoch=0, base_sequence=90).base_offset == 90


def test_damage_takes_that_log_offline_and_no_other(opener: Opener, crashed: list[bytes]) -> None:
    again = opener(at_once_bytes=0)
    path = sorted(Path(again.folder, "t-0").glob("*.log"))[-1]
    content = bytearray(path.read_bytes())
    content[70] ^= 1
    path.write_bytes(content)
    damaged, sound = recover(again, T0, T1)
    assert damaged is again.logs[T0]
    assert damaged is not None
    assert sound is not None
    assert "CRC" in str(damaged.offline)
    assert not damaged.is_recovering
    with pytest.raises(ApiError) as refusal:
        damaged.check_online()
    assert refusal.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert sound.offline is None
    assert path.read_bytes() == content


def test_a_second_kill_finds_what_the_first_one_left(opener: Opener, crashed: list[bytes]) -> None:
    first = opener(at_once_bytes=0)
    path = f"{first.folder}/{names.FLUSHED_OFFSETS}"
    known = read_facts(first.disk, path)
    places = {one: (first.logs[one].topic_id, one.partition) for one in (T0, T1)}
    assert {one: known.facts[place] for one, place in places.items()} == {T0: 90, T1: 90}
    first.write_checkpoints()
    crash(first)
    second = opener(at_once_bytes=0)
    assert read_facts(second.disk, path) == known
    recover(second, T0)
    crash(second)
    third = opener(at_once_bytes=0)
    recover(third, T0, T1)
    assert values_of(third.logs[T0]) == crashed
    assert len(values_of(third.logs[T1])) == 90


def test_a_clean_stop_before_the_end_does_not_count_as_one(opener: Opener, crashed: list[bytes]) -> None:
    again = opener(at_once_bytes=0)
    recover(again, T0)
    stop(again)
    last = opener(at_once_bytes=0)
    assert not last.was_clean
    recover(last, *list(last.recovering.sizes))
    assert values_of(last.logs[T0]) == crashed
    assert len(values_of(last.logs[T1])) == 90
    stop(last)
    assert opener().was_clean


def test_a_log_is_deleted_while_it_waits(opener: Opener, crashed: list[bytes]) -> None:
    again = opener(at_once_bytes=0)
    again.delete(T0)
    assert recover(again, T0) == []
    assert make_log(again).log_end_offset == 0


def test_a_log_is_deleted_under_way_and_its_name_is_free_when_the_job_is_done(
    opener: Opener, crashed: list[bytes]
) -> None:
    again = opener(at_once_bytes=0)
    plan = again.recovering.begin(T0, NOW_MS)
    again.delete(T0)
    with pytest.raises(OSError, match="deleted") as refusal:
        make_log(again)
    assert refusal.value.errno == errno.EBUSY
    found: list[Log | None] = []
    meter = Unmetered(lambda part: found.append(again.recovered(part, NOW_MS)))
    perform(again.disk, Job("recover", [plan]), meter)
    assert found == [None]
    assert not Path(again.folder, "t-0").exists()
    assert make_log(again).log_end_offset == 0


def test_logs_whose_job_told_nothing_of_them_wait_again(opener: Opener, crashed: list[bytes]) -> None:
    again = opener(at_once_bytes=0)
    again.recovering.begin(T0, NOW_MS)
    again.recovering.begin(T1, NOW_MS)
    again.delete(T1)
    assert again.recovering.abandoned([T0, T1]) == [T0]
    assert not again.recovering.busy
    (log,) = recover(again, T0)
    assert log is not None
    assert log.log_end_offset == 90


def test_without_a_descriptor_to_take_it_over_a_log_waits_again(
    opener: Opener, crashed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk()
    again = opener(disk, at_once_bytes=0)
    plan = again.recovering.begin(T0, NOW_MS)
    assert plan is not None
    parts: list[LogRecovered] = []
    recover_all(disk, [plan], Unmetered(parts.append))

    def refuse(path: str) -> NoReturn:
        raise OSError(errno.EMFILE, "EMFILE", path)

    with monkeypatch.context() as patched:
        patched.setattr(FaultyDisk, "entries", staticmethod(refuse))
        with pytest.raises(OSError, match="EMFILE"):
            again.recovered(parts[0], NOW_MS)
    assert again.recovering.abandoned([T0]) == [T0]
    assert again.logs[T0].is_recovering
    (log,) = recover(again, T0)
    assert log is not None
    assert values_of(log) == crashed


def test_without_a_descriptor_to_tell_whose_it_is_a_log_waits_too(
    opener: Opener, crashed: list[bytes]
) -> None:
    disk = FaultyDisk()
    disk.faults = [("read_file partition.metadata", errno.EMFILE)] * 2
    again = opener(disk, at_once_bytes=0)
    assert again.logs[T0].topic_id == ZERO_ID
    disk.faults = [("read_file partition.metadata", errno.EMFILE)]
    with pytest.raises(OSError, match="EMFILE"):
        again.recovering.begin(T0, NOW_MS)
    plan = again.recovering.begin(T0, NOW_MS)
    assert plan is not None
    assert plan.found.flushed.facts


def test_one_that_fails_for_ever_is_offline(opener: Opener, crashed: list[bytes]) -> None:
    again = opener(at_once_bytes=0)
    log = again.recovering.give_up(T0, "the process died")
    assert "the process died" in str(log.offline)
    assert T0 not in again.recovering.sizes


def test_what_need_not_be_flushed_is_not_synced_until_the_next_flush(opener: Opener) -> None:
    store = opener(config=LAZY)
    fill(make_log(store, LAZY))
    crash(store)
    disk = FaultyDisk()
    again = opener(disk, LAZY, at_once_bytes=0)
    disk.calls.clear()
    (log,) = recover(again, T0)
    assert "sync" not in disk.calls
    assert log is not None
    assert (log.log_end_offset, log.high_watermark, log.flushed_offset, log.recovery_point) == (90, 90, 0, 0)
    log.request_flush()
    again.flush(NOW_MS)
    assert disk.calls.count("sync") >= len(log.segments) * 3
    assert (log.flushed_offset, log.recovery_point) == (90, 90)


def test_when_that_flush_fails_the_log_goes_offline(opener: Opener) -> None:
    store = opener(config=LAZY)
    fill(make_log(store, LAZY))
    crash(store)
    disk = FaultyDisk()
    again = opener(disk, LAZY, at_once_bytes=0)
    (log,) = recover(again, T0)
    assert log is not None
    disk.faults = [("sync", 0), ("sync", errno.EIO)]  # the leader epochs, and then the segments
    log.request_flush()
    again.flush(NOW_MS)
    assert "flush failed" in str(log.offline)


def test_flush_ms_counts_for_what_was_recovered(opener: Opener) -> None:
    config = replace(LAZY, flush_ms=1_000)
    store = opener(config=config)
    fill(make_log(store, config))
    crash(store)
    again = opener(config=config, at_once_bytes=0)
    recover(again, T0)
    again.flush(NOW_MS)
    assert again.logs[T0].flushed_offset == 90


def test_a_clean_stop_flushes_what_was_not_synced(opener: Opener) -> None:
    store = opener(config=LAZY)
    fill(make_log(store, LAZY))
    crash(store)
    again = opener(config=LAZY, at_once_bytes=0)
    recover(again, T0)
    stop(again)
    last = opener(config=LAZY)
    assert last.was_clean
    assert len(values_of(last.logs[T0])) == 90


def test_what_a_producer_has_in_flight_behind_a_refused_batch_does_not_get_in(
    opener: Opener, store: LogStore
) -> None:
    append(make_log(store), b"old")
    crash(store)
    again = opener(at_once_bytes=0)
    with pytest.raises(ApiError):
        append(again.logs[T0], b"first", producer_id=8, producer_epoch=0, base_sequence=0)
    again.logs[T0].refused(batch_of(8, 0))
    again.logs[T0].refused(batch_of(8, 1))
    (log,) = recover(again, T0)
    assert log is not None
    with pytest.raises(ApiError) as refusal:
        append(log, b"second", producer_id=8, producer_epoch=0, base_sequence=1)
    assert refusal.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert append(log, b"first", producer_id=8, producer_epoch=0, base_sequence=0).base_offset == 1


def batch_of(producer_id: int, sequence: int) -> memoryview:
    records = [Record(0, NOW_MS, None, b"v", [])]
    batch = build_batch(records, producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
    return memoryview(batch)


def test_the_config_of_the_one_that_stood_in_is_kept(opener: Opener, crashed: list[bytes]) -> None:
    again = opener(at_once_bytes=0)
    again.logs[T0].config = changed = replace(SMALL, retention_ms=7)
    (log,) = recover(again, T0)
    assert log is not None
    assert log.config is changed


def test_clean_offsets_of_logs_that_wait_are_kept_and_checked_in_the_end(
    opener: Opener, store: LogStore
) -> None:
    for partition in (T0, T1):
        fill(store.create(partition, new_id(store.volume.randomness), SMALL, NOW_MS))
    store.flush(NOW_MS)
    store.cleaner_points = {T0: 80, T1: 95}
    store.cleaner_checkpoint_write()()
    crash(store)
    again = opener(at_once_bytes=0)
    assert again.cleaner_points == {T0: 80, T1: 95}
    recover(again, T0, T1)
    assert again.cleaner_points == {T0: 80}


def test_with_the_log_starts_lost_all_logs_are_recovered_first(opener: Opener, crashed: list[bytes]) -> None:
    store = opener(at_once_bytes=0)
    path = Path(store.folder, names.LOG_STARTS)
    crash(store)
    path.write_bytes(b"rubbish")
    again = opener(at_once_bytes=0)
    assert not again.recovering.sizes
    assert values_of(again.logs[T0]) == crashed


class Killed(BaseException):
    """The process ends here."""


class DyingDisk(QuickDisk):
    """Ends the process when ``calls_left`` calls that change something are done."""

    __slots__ = ("calls_left",)

    def __init__(self, calls_left: int) -> None:
        super().__init__()
        self.calls_left = calls_left

    def _count(self) -> None:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise Killed

    def pwrite(self, fd: int, data: Bytes, position: int, /) -> int:  # type: ignore[override]
        self._count()
        return super().pwrite(fd, data, position)

    def truncate(self, fd: int, length: int, /) -> None:  # type: ignore[override]
        self._count()
        super().truncate(fd, length)

    def rename(self, old: str, new: str, /) -> None:  # type: ignore[override]
        self._count()
        super().rename(old, new)

    def remove(self, path: str) -> None:
        self._count()
        super().remove(path)


def test_a_kill_at_any_change_of_a_recovery_is_made_good_by_the_next(
    opener: Opener, crashed: list[bytes], tmp_path: Path
) -> None:
    left = tmp_path / "left"
    shutil.copytree(tmp_path / "data", left)
    torn = sorted(left.glob("t-0/*.log"))[-1]
    torn.write_bytes(torn.read_bytes() + b"torn")
    calls, is_over = 0, False
    while not is_over:
        folder = tmp_path / f"killed-{calls}"
        shutil.copytree(left, folder)
        disk = DyingDisk(1_000)
        killed = opener(disk, folder=folder, at_once_bytes=0)
        disk.calls_left = calls
        try:
            recover(killed, T0, T1)
            is_over = True
        except Killed:
            calls += 1
        disk.calls_left = 1_000
        crash(killed)
        again = opener(folder=folder, at_once_bytes=0)
        recover(again, *again.recovering.sizes)
        assert values_of(again.logs[T0]) == crashed
        assert len(values_of(again.logs[T1])) == 90
        assert again.logs[T0].producers.by_id[4].last_sequence == 89
    assert calls > 20


def test_rooms_for_indexes_that_kafka_left_are_no_clean_end(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    store.flush(NOW_MS)
    store.write_checkpoints()
    crash(store)
    again = opener(at_once_bytes=0)
    assert not again.recovering.sizes
    crash(again)
    Path(log.folder, "00000000000000000000.index").write_bytes(bytes(80))
    assert set(opener(at_once_bytes=0).recovering.sizes) == {T0}
