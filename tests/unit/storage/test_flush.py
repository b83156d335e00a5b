"""What a failing disk does: appends cut back, logs offline, nothing else touched."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.records.control import build_marker
from odradek.storage import flush, names
from odradek.storage.config import UNLIMITED, LogConfig
from odradek.storage.log import COORDINATOR, Log
from odradek.storage.producers import Vouched
from odradek.storage.store import LogStore

from .conftest import NOW_MS, T0, FaultyDisk, Opener, append, batch, crash, make_log, values_of

PRODUCER = 7


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def faulty(opener: Opener, disk: FaultyDisk) -> LogStore:
    return opener(disk)


def storage_error(log: Log, *values: bytes) -> str:
    with pytest.raises(ApiError) as caught:
        append(log, *values)
    assert caught.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    return str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failed_write_leaves_nothing_behind(faulty: LogStore, disk: FaultyDisk, number: int) -> None:
    log = make_log(faulty)
    append(log, b"a", producer_id=1, producer_epoch=0, base_sequence=0)
    disk.faults = [("pwrite", number)]
    with pytest.raises(ApiError) as caught:
        append(log, b"b", producer_id=1, producer_epoch=0, base_sequence=1)
    assert caught.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert log.offline is None
    assert log.log_end_offset == 1
    append(log, b"b", producer_id=1, producer_epoch=0, base_sequence=1)
    faulty.flush(NOW_MS)
    assert values_of(log) == [b"a", b"b"]


def test_a_short_write_is_finished_or_cut_back(faulty: LogStore, disk: FaultyDisk) -> None:
    log = make_log(faulty)
    append(log, b"a")
    disk.short_write = 20
    append(log, b"b" * 50)
    disk.short_write = 20
    disk.faults = [("pwrite", errno.ENOSPC)]
    size = log.size
    storage_error(log, b"c" * 50)
    assert disk.size(log.active.fd) == log.size == size
    append(log, b"d")
    faulty.flush(NOW_MS)
    assert values_of(log) == [b"a", b"b" * 50, b"d"]


def test_bytes_that_cannot_be_cut_off_take_the_log_offline(faulty: LogStore, disk: FaultyDisk) -> None:
    log, other = make_log(faulty), make_log(faulty, partition=TopicPartition("other", 0))
    went: list[Log] = []
    faulty.volume.on_offline = went.append  # type: ignore[assignment]
    append(log, b"a")
    faulty.flush(NOW_MS)
    disk.faults = [("pwrite", errno.EIO), ("truncate", errno.EIO)]
    storage_error(log, b"b")
    assert isinstance(log.offline, DamageError)
    assert log.offline.path.endswith(".log")
    assert went == [log]
    assert "offline" in storage_error(log, b"b")
    with pytest.raises(ApiError, match="offline"):
        log.read(0, 100, 1)
    assert append(other, b"fine").base_offset == 0
    assert faulty.flush(NOW_MS) == [other]


def test_a_failed_flush_takes_only_its_log_offline(faulty: LogStore, disk: FaultyDisk) -> None:
    logs = [make_log(faulty, partition=TopicPartition("t", number)) for number in range(3)]
    for log in logs:
        append(log, b"a")
    faulty.flush(NOW_MS)
    for log in logs:
        append(log, b"b")
    disk.faults = [("sync_data", errno.EIO)]
    assert faulty.flush(NOW_MS) == logs[1:]
    assert "flush failed" in str(logs[0].offline)
    assert (logs[0].high_watermark, logs[0].flushed_offset) == (1, 1)
    assert faulty.begin_flush(NOW_MS) is None, "never tried again as if nothing had happened"


def test_much_is_written_in_pieces_before_it_is_synced(
    faulty: LogStore, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "PIECE_BYTES", 1_000)
    log = make_log(faulty, LogConfig())
    append(log, b"a" * 800)
    faulty.flush(NOW_MS)
    assert "write_out" not in disk.calls
    append(log, b"b" * 3_500)
    disk.calls.clear()
    assert faulty.flush(NOW_MS) == [log]
    assert [call for call in disk.calls if "write_out" in call or "sync" in call] == ["write_out"] * 3 + [
        "sync_data"
    ]


def test_a_piece_that_cannot_be_written_counts_as_a_failed_flush(
    faulty: LogStore, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have told of it for the last time: the sync behind it succeeds."""
    monkeypatch.setattr(flush, "PIECE_BYTES", 1_000)
    one, other = make_log(faulty, LogConfig()), make_log(faulty, partition=TopicPartition("u", 0))
    append(one, b"a" * 3_500)
    append(other, b"a")
    disk.faults = [("write_out", errno.EIO)]
    assert faulty.flush(NOW_MS) == [other]
    assert "flush failed" in str(one.offline)
    assert one.flushed_offset == 0


def test_many_files_are_synced_at_once_and_one_by_one_when_that_fails(
    faulty: LogStore, disk: FaultyDisk
) -> None:
    logs = [make_log(faulty, partition=TopicPartition("t", number)) for number in range(20)]
    for log in logs:
        append(log, b"a")
    disk.calls.clear()
    assert faulty.flush(NOW_MS) == logs
    assert disk.calls.count("sync_file_system") == 2, "the leader epochs first, then everything"
    assert "sync_data" not in disk.calls
    assert "sync" not in disk.calls
    for log in logs:
        append(log, b"b")
    disk.faults = [("sync_file_system", errno.EIO), ("sync_data", errno.EIO)]
    assert faulty.flush(NOW_MS) == logs[1:]
    assert logs[0].offline is not None


def test_new_names_are_synced_before_their_data_counts(faulty: LogStore, disk: FaultyDisk) -> None:
    log = make_log(faulty)
    append(log, b"a")
    disk.faults = [("sync_folder", errno.EIO)]
    disk.faults.insert(0, ("sync_folder", errno.EIO))
    faulty.flush(NOW_MS)
    assert log.flushed_offset == 0
    assert log.offline is not None


def test_a_full_disk_keeps_small_files_for_later(faulty: LogStore, disk: FaultyDisk) -> None:
    log = make_log(faulty)
    append(log, b"a")
    disk.faults = [("pwrite", errno.ENOSPC)]
    assert faulty.flush(NOW_MS) == [log]
    assert log.offline is None
    assert (log.flushed_offset, log.recovery_point) == (1, 0)
    append(log, b"b")
    faulty.flush(NOW_MS)
    assert log.recovery_point == 2
    with open(f"{log.folder}/leader-epoch-checkpoint") as file:
        assert file.read() == "0\n1\n0 0\n"


def test_a_roll_that_finds_no_room_is_tried_again(faulty: LogStore, disk: FaultyDisk) -> None:
    log = make_log(faulty)
    append(log, bytes(3000))
    disk.faults = [("open", errno.ENOSPC)]
    storage_error(log, bytes(3000))
    disk.faults = [("pwrite", errno.ENOSPC)]
    storage_error(log, bytes(3000))
    assert len(log.segments) == 1
    append(log, bytes(3000))
    assert len(log.segments) == 2
    faulty.flush(NOW_MS)
    assert values_of(log) == [bytes(3000)] * 2


def test_a_snapshot_that_finds_no_room_is_done_without(
    faulty: LogStore, disk: FaultyDisk, opener: Opener
) -> None:
    log = make_log(faulty)
    append(log, bytes(3000), producer_id=1, producer_epoch=0, base_sequence=0)
    disk.faults = [("pwrite", 0), ("pwrite", 0), ("pwrite", errno.ENOSPC)]  # after the two indexes
    append(log, bytes(3000), producer_id=1, producer_epoch=0, base_sequence=1)
    faulty.flush(NOW_MS)
    assert log.snapshots == []
    crash(faulty)
    log = opener().logs[T0]
    assert append(log, bytes(3000), producer_id=1, producer_epoch=0, base_sequence=1).duplicate


def test_a_disk_that_cannot_be_read(faulty: LogStore, disk: FaultyDisk) -> None:
    log = make_log(faulty)
    append(log, b"a")
    faulty.flush(NOW_MS)
    disk.faults = [("pread", errno.EMFILE)]
    with pytest.raises(ApiError) as caught:
        log.read(0, 100, 1)
    assert caught.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert log.offline is None, "too many open files is nobody's damage"
    disk.faults = [("pread", errno.EIO)]
    with pytest.raises(ApiError):
        log.read(0, 100, 1)
    assert log.offline is not None


def test_a_log_deleted_while_its_flush_is_in_flight(faulty: LogStore) -> None:
    log = make_log(faulty)
    append(log, b"a")
    ticket = faulty.begin_flush(NOW_MS)
    assert ticket is not None
    faulty.delete(T0)
    ticket.run()
    assert faulty.finish_flush(ticket) == []
    again = make_log(faulty)
    append(again, b"b")
    assert faulty.flush(NOW_MS) == [again]


def test_a_flush_does_not_vouch_for_what_was_truncated(faulty: LogStore) -> None:
    log = make_log(faulty)
    append(log, b"a")
    append(log, b"b")
    ticket = faulty.begin_flush(NOW_MS)
    assert ticket is not None
    ticket.run()
    log.truncate_to(1)
    append(log, b"c")
    assert faulty.finish_flush(ticket) == []
    assert log.flushed_offset == 0
    faulty.flush(NOW_MS)
    assert values_of(log) == [b"a", b"c"]


def _truncate(store: LogStore, log: Log) -> None:
    log.truncate_to(1)
    append(log, b"c")


_MEANWHILE: dict[str, Callable[[LogStore, Log], object]] = {
    "nothing": lambda store, log: None,
    "rolled": lambda store, log: log.roll(NOW_MS),
    "truncated": _truncate,
    "deleted": lambda store, log: store.delete(T0),
}


@pytest.mark.parametrize("meanwhile", _MEANWHILE)
def test_a_flush_needs_no_descriptor_of_its_own_and_keeps_the_one_that_it_is_lent(
    faulty: LogStore, disk: FaultyDisk, meanwhile: str
) -> None:
    log = make_log(faulty)
    append(log, b"a")
    append(log, b"b")
    segment, lent = log.active, log.active.fd
    disk.calls.clear()
    ticket = faulty.begin_flush(NOW_MS)
    assert ticket is not None
    assert "duplicate" not in disk.calls
    _MEANWHILE[meanwhile](faulty, log)
    same_file = os.fstat(lent)
    ticket.run()
    assert os.fstat(lent) == same_file, "it was there for the thread all the time"
    faulty.finish_flush(ticket)
    if meanwhile == "nothing":
        assert segment.fd == lent
        assert log.high_watermark == 2
    else:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(lent)
    if log.offline is None:
        append(log, b"d")
        assert faulty.flush(NOW_MS) == [log]


def test_a_deleted_log_is_not_flushed_again(faulty: LogStore, disk: FaultyDisk) -> None:
    log = make_log(faulty)
    append(log, b"a")
    ticket = faulty.begin_flush(NOW_MS)
    assert ticket is not None
    faulty.delete(T0)
    ticket.run()
    assert ticket.items[0].file_error is not None
    assert faulty.finish_flush(ticket) == []
    assert faulty.begin_flush(NOW_MS) is None


def test_a_folder_is_synced_without_a_free_descriptor_too(faulty: LogStore, disk: FaultyDisk) -> None:
    log = make_log(faulty)
    append(log, b"a")
    disk.faults = [("sync_folder", 0), ("sync_folder", errno.EMFILE)]
    assert faulty.flush(NOW_MS) == [log]
    assert log.offline is None
    assert "sync_file_system" in disk.calls


def test_all_files_of_a_log_are_synced_without_a_free_descriptor_too(
    faulty: LogStore, disk: FaultyDisk
) -> None:
    log = make_log(faulty, LogConfig(flush_messages=UNLIMITED))
    append(log, b"a")
    log.request_flush()
    assert faulty.flush(NOW_MS) == [log]
    log.close()
    log.count_as_unflushed(0, 0)  # as after a recovery
    log.request_flush()
    disk.faults = [("open", errno.EMFILE)]
    assert faulty.flush(NOW_MS) == [log]
    assert log.offline is None
    assert "sync_file_system" in disk.calls


@pytest.mark.parametrize("call", ["open", "reserve"])
def test_an_abort_that_finds_no_room_for_its_entry_is_tried_again(
    faulty: LogStore, disk: FaultyDisk, call: str
) -> None:
    log = make_log(faulty)
    begin(log)
    size = log.active.size
    disk.faults = [(call, errno.ENOSPC)]
    with pytest.raises(ApiError) as caught:
        log.append(abort(), NOW_MS, leader_epoch=0, origin=COORDINATOR)
    assert caught.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert log.offline is None
    assert log.active.size == size
    log.append(abort(), NOW_MS, leader_epoch=0, origin=COORDINATOR)
    assert log.aborted_transactions(0, 2) == [(PRODUCER, 0)]


def test_an_abort_without_a_free_descriptor_is_synced_all_the_same(
    faulty: LogStore, disk: FaultyDisk
) -> None:
    log = make_log(faulty)
    begin(log)
    faulty.flush(NOW_MS)
    disk.faults = [("duplicate", errno.EMFILE)]
    log.append(abort(), NOW_MS, leader_epoch=0, origin=COORDINATOR)
    disk.calls.clear()
    assert faulty.flush(NOW_MS) == [log]
    assert log.offline is None
    assert "sync" in disk.calls
    assert log.aborted_transactions(0, 2) == [(PRODUCER, 0)]


def begin(log: Log) -> None:
    data = batch(b"a", producer_id=PRODUCER, producer_epoch=0, base_sequence=0, transactional=True)
    log.append(data, NOW_MS, leader_epoch=0, vouched=Vouched.VERIFIED)


def abort() -> memoryview:
    return memoryview(build_marker(PRODUCER, 0, False, 0, NOW_MS))


def test_what_a_new_producer_has_in_flight_behind_a_refused_batch_is_refused_too(
    faulty: LogStore, disk: FaultyDisk
) -> None:
    log = make_log(faulty)
    append(log, b"of another")
    numbered = {"producer_id": 7, "producer_epoch": 0}
    disk.faults = [("pwrite", errno.ENOSPC)]
    first = batch(b"a", base_sequence=0, **numbered)
    with pytest.raises(ApiError) as refusal:
        log.append(first, NOW_MS, leader_epoch=0)
    assert refusal.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    log.refused(first)
    with pytest.raises(ApiError) as refusal:
        append(log, b"b", base_sequence=1, **numbered)
    assert refusal.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert append(log, b"a", base_sequence=0, **numbered).base_offset == 1
    assert append(log, b"b", base_sequence=1, **numbered).base_offset == 2


def test_what_is_not_flushed_is_counted(opener: Opener) -> None:
    store = opener()
    one, other = make_log(store), make_log(store, partition=TopicPartition("u", 0))
    assert store.volume.unflushed_bytes() == 0
    append(one, b"a" * 100)
    append(other, b"b" * 1_000)
    assert store.volume.unflushed_bytes() == one.size + other.size
    ticket = store.begin_flush(NOW_MS)
    assert ticket is not None
    assert store.volume.unflushed_bytes() == 0, "it is on its way"
    flushed = one.size
    append(one, b"c" * 200)
    ticket.run()
    store.finish_flush(ticket)
    assert store.volume.unflushed_bytes() == one.size - flushed
    store.flush(NOW_MS)
    assert store.volume.unflushed_bytes() == 0


def test_a_log_start_is_written_when_all_else_is_on_disk(opener: Opener) -> None:
    disk = FaultyDisk()
    store = opener(disk)
    log = make_log(store, LogConfig(flush_messages=UNLIMITED))
    append(log, b"unflushed")
    store.flush(NOW_MS)
    append(log, b"unflushed")
    log.advance_log_start(2)
    path = Path(store.folder, names.LOG_STARTS)
    disk.faults = [("sync_data", errno.EIO)]
    ticket = store.begin_flush(NOW_MS)
    assert ticket is not None
    ticket.run()
    assert ticket.checkpoint_error is not None
    store.finish_flush(ticket)
    assert not path.exists(), "after a power cut the log could end below it"
