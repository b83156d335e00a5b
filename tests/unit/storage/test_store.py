"""The logs of a data folder: checkpoints, clean and unclean stops, deletion."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from odradek.core.errors import DamageError
from odradek.core.ids import TopicPartition, id_text
from odradek.storage.config import LogConfig
from odradek.storage.log import Log
from odradek.storage.store import LogStore
from tests.support.disks import QuickDisk

from .conftest import NOW_MS, SMALL, T0, FaultyDisk, Opener, append, crash, make_log, stop, values_of


def test_a_clean_stop_leaves_its_marker_and_nothing_is_scanned(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    for number in range(100):
        append(log, b"%d" % number * 20)
    store.broker_epoch = 42
    stop(store)
    marker = Path(store.folder, ".kafka_cleanshutdown")
    assert json.loads(marker.read_bytes()) == {"version": 0, "brokerEpoch": 42}
    again = opener()
    assert not marker.exists()
    assert (again.was_clean, again.previous_broker_epoch) == (True, 42)
    log = again.logs[T0]
    assert (log.log_end_offset, log.high_watermark, log.flushed_offset) == (100, 100, 100)
    assert all(segment.fd < 0 for segment in log.segments), "nothing was opened"
    assert append(log, b"next").base_offset == 100
    again.flush(NOW_MS)
    assert len(values_of(log)) == 101


def test_after_a_crash_everything_in_the_files_is_there_and_flushed(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    for number in range(100):
        append(log, b"%d" % number * 20)
    crash(store)
    seen: list[tuple[int, int, TopicPartition]] = []
    again = opener(progress=lambda *step: seen.append(step))
    assert not again.was_clean
    assert seen == [(1, 1, T0)]
    log = again.logs[T0]
    assert (log.log_end_offset, log.high_watermark, log.flushed_offset) == (100, 100, 100)
    assert len(values_of(log)) == 100
    assert log.topic_id


def test_a_start_tells_of_what_it_had_to_check(
    opener: Opener, store: LogStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    large = LogConfig()
    append(make_log(store, large), bytes(300_000))
    make_log(store, large, TopicPartition("empty", 1))
    stop(store)
    again = opener(config=large)
    assert "recovery" not in caplog.text
    append(again.logs[T0], bytes(700_000))
    crash(again)
    again = opener()
    (told,) = [record.getMessage() for record in caplog.records if "recovery" in record.getMessage()]
    assert told.startswith(
        "recovery: the last stop was not clean; 1 of 2 partitions had something to check, 1.0 MB"
    )
    crash(again)
    opener(at_once_bytes=0)
    assert caplog.text.count("recovery") == 1, "what goes on in the background tells of itself"


def test_a_log_that_cannot_be_closed_keeps_no_other_from_it(
    opener: Opener, store: LogStore, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make_log(store), make_log(store, partition=TopicPartition("u", 1))
    for log in (first, second):
        append(log, b"a")
    store.flush(NOW_MS)
    shutil.rmtree(first.folder)
    stop(store)
    assert f"{first.folder} cannot be closed" in caplog.text
    assert not store.has_ended_cleanly
    again = opener()
    assert not again.was_clean
    assert values_of(again.logs[second.topic_partition]) == [b"a"]
    assert again.logs[second.topic_partition].recovery_point == 1
    stop(again)
    assert again.has_ended_cleanly


def test_damage_that_a_start_finds_is_told_of_with_file_and_position(
    opener: Opener, store: LogStore, caplog: pytest.LogCaptureFixture
) -> None:
    log = make_log(store)
    append(log, bytes(200))
    store.flush(NOW_MS)
    crash(store)
    path = Path(log.active.path())
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    caplog.set_level("INFO")
    again = opener()
    assert f"t-0 is offline: {path} at byte 0: CRC" in caplog.text
    assert "1 are damaged" in caplog.text
    assert not again.volume.journal.is_dirty, "what was known to be flushed survives a power cut from now on"


def test_leader_epochs_that_only_the_log_knew_are_kept(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    append(log, b"a", leader_epoch=3)
    append(log, b"b", leader_epoch=5)
    crash(store)
    again = opener()
    again.write_checkpoints()
    crash(again)
    again = opener()
    stop(again)
    log = opener().logs[T0]
    assert log.epochs.entries == [(3, 0), (5, 1)]
    assert Path(log.folder, "leader-epoch-checkpoint").read_text() == "0\n2\n3 0\n5 1\n"


def test_sealed_segments_are_not_all_kept_open(store: LogStore) -> None:
    log = make_log(store, SMALL.with_changes(segment_bytes=200))
    for _ in range(100):
        append(log, b"v" * 100)
    store.flush(NOW_MS)
    assert len(log.segments) == 100
    assert len(values_of(log)) == 100
    assert sum(segment.fd >= 0 for segment in log.segments) <= 65
    assert log.find_offset_by_timestamp(0, 100) is not None
    assert values_of(log) == [b"v" * 100] * 100


def test_checkpoints_are_kafkas(store: LogStore) -> None:
    one, two = make_log(store), make_log(store, partition=TopicPartition("u.v_w-x", 12))
    append(one, b"a", b"b")
    append(two, b"c")
    store.flush(NOW_MS)
    append(two, b"d")
    one.advance_log_start(1)
    store.write_checkpoints()
    folder = Path(store.folder)
    points = (folder / "recovery-point-offset-checkpoint").read_text()
    assert points.startswith("0\n3\nt 0 2\nu.v_w-x 12 1\nodradek/crc32c 0 ")
    assert (folder / "replication-offset-checkpoint").read_text() == points
    assert (folder / "log-start-offset-checkpoint").read_text().startswith("0\n2\nt 0 1\nodradek/crc32c 0 ")
    assert (
        folder / "t-0" / "partition.metadata"
    ).read_text() == f"version: 0\ntopic_id: {id_text(one.topic_id)}"


def test_the_log_start_survives(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    for _ in range(50):
        append(log, b"v" * 100)
    store.flush(NOW_MS)
    log.advance_log_start(20)
    store.flush(NOW_MS)
    crash(store)
    log = opener().logs[T0]
    assert log.log_start_offset == 20
    assert len(values_of(log)) == 30


def test_a_log_start_above_everything_needs_a_second_word(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    append(log, b"a")
    store.flush(NOW_MS)
    store.write_checkpoints()
    crash(store)
    Path(store.folder, "log-start-offset-checkpoint").write_text("0\n1\nt 0 77\n")
    again = opener()
    assert "log-start-offset-checkpoint" in str(again.logs[T0].offline)
    crash(again)
    Path(store.folder, "t-0", "leader-epoch-checkpoint").write_text("0\n1\n0 77\n")
    log = opener().logs[T0]
    assert (log.log_start_offset, log.log_end_offset) == (77, 77)
    assert append(log, b"b").base_offset == 77


@pytest.mark.parametrize("change", [(b"t 0 ", b"t 0 7"), (b"t 0 ", b"t 1 "), (b"t 0 ", b"t 0"), (b"0", b"1")])
@pytest.mark.parametrize("name", ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint"])
def test_a_checkpoint_that_was_damaged_after_a_clean_stop(
    opener: Opener, store: LogStore, name: str, change: tuple[bytes, bytes]
) -> None:
    log = make_log(store)
    for value in (b"a", b"b", b"c", b"d"):
        append(log, value)
    store.flush(NOW_MS)
    log.advance_log_start(3)
    stop(store)
    path = Path(store.folder, name)
    path.write_bytes(path.read_bytes().replace(*change, 1))
    again = opener()
    log = again.logs[T0]
    assert log.offline is None
    assert (log.log_start_offset, log.log_end_offset) == (3, 4)
    assert values_of(log) == [b"d"]
    assert append(log, b"e").base_offset == 4


def test_deleting(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    append(log, b"a")
    result = (store.flush(NOW_MS), log.read(0, 100, 1))[1]
    store.delete(T0)
    assert T0 not in store.logs
    (renamed,) = [name for name in os.listdir(store.folder) if name.endswith("-delete")]
    assert renamed.startswith("t-0.")
    assert b"a" in bytes(result.records), "whoever reads still may"
    make_log(store)
    assert store.collect_garbage(0) is None
    assert store.collect_garbage(59_999) is None, "file.delete.delay.ms"
    remove = store.collect_garbage(60_000)
    assert remove is not None
    remove()
    assert store.collect_garbage(60_000) is None
    assert not os.path.exists(f"{store.folder}/{renamed}")


def test_a_deletion_that_was_interrupted_is_finished(opener: Opener, store: LogStore) -> None:
    append(make_log(store), b"a")
    store.delete(T0)
    crash(store)
    again = opener()
    assert again.logs == {}
    remove = again.collect_garbage(0)
    assert remove is not None
    remove()
    assert not [name for name in os.listdir(again.folder) if "delete" in name]


def test_long_topic_names_are_shortened_when_deleted(store: LogStore) -> None:
    partition = TopicPartition("x" * 249, 3)
    make_log(store, partition=partition)
    store.delete(partition)
    assert max(len(name) for name in os.listdir(store.folder)) == 255


def test_creating_what_exists(store: LogStore) -> None:
    make_log(store)
    with pytest.raises(ValueError, match="exists"):
        make_log(store)


def test_kafkas_metadata_folder_and_strangers_are_left_alone(opener: Opener, store: LogStore) -> None:
    for name in ("__cluster_metadata-0", "lost+found", "no number"):
        os.mkdir(f"{store.folder}/{name}")
    crash(store)
    assert opener().logs == {}


def test_a_volume_with_an_offline_log_gets_no_clean_marker(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    append(log, b"a")
    store.flush(NOW_MS)
    log.go_offline(DamageError("x", 0, "y"))
    stop(store)
    again = opener()
    assert not again.was_clean
    assert again.logs[T0].log_end_offset == 1


def test_a_stop_that_finds_no_room_is_no_clean_one(opener: Opener) -> None:
    disk = FaultyDisk()
    store = opener(disk)
    append(make_log(store), b"a")
    store.flush(NOW_MS)
    store.write_checkpoints()
    append(store.logs[T0], b"b")
    store.flush(NOW_MS)
    calls = [("pwrite", 0)] * 3 + [("pwrite", errno.ENOSPC)]  # two indexes and a snapshot fit
    disk.faults = calls
    with pytest.raises(OSError, match="ENOSPC"):
        store.close(NOW_MS)
    store._lock = -1
    again = opener()
    assert not again.was_clean
    assert again.logs[T0].log_end_offset == 2


def test_unused_folders_of_segments(opener: Opener, store: LogStore) -> None:
    """Leftovers go, an orphaned index goes, an interrupted compaction is finished."""
    log = make_log(store, SMALL)
    for number in range(60):
        append(log, b"%d" % number * 40)
    bases = [segment.base_offset for segment in log.segments]
    assert len(bases) == 3
    stop(store)
    folder = Path(store.folder, "t-0")
    for name in ("00000000000000000000.log.deleted", "x.tmp", "00000000000000000000.log.cleaned"):
        (folder / name).write_text("left over")
    (folder / "00000000000000099999.index").write_bytes(bytes(8))
    first = folder / f"{bases[0]:020d}"
    second = folder / f"{bases[1]:020d}"
    merged = first.with_suffix(".log").read_bytes() + second.with_suffix(".log").read_bytes()
    Path(f"{first}.log.swap").write_bytes(merged)
    log = opener().logs[T0]
    assert [segment.base_offset for segment in log.segments] == [bases[0], *bases[2:]]
    assert values_of(log) == [b"%d" % number * 40 for number in range(60)]
    assert not [name for name in os.listdir(folder) if not name.startswith(("0", "leader", "partition"))]
    assert not (folder / "00000000000000099999.index").exists()


def test_checkpoints_of_a_deleted_topic_say_nothing_of_its_successor(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    for value in (b"a", b"b", b"c"):
        append(log, value)
    store.flush(NOW_MS)
    log.advance_log_start(2)
    store.flush(NOW_MS)
    store.write_checkpoints()
    late = store.checkpoint_writes()
    store.delete(T0)
    successor = make_log(store)
    append(successor, b"new")
    store.flush(NOW_MS)
    for write in late:
        write()  # taken before the deletion, run by a thread that was late
    crash(store)
    again = opener()
    assert again.logs[T0].offline is None
    assert values_of(again.logs[T0]) == [b"new"]


def test_checkpoints_of_a_topic_deleted_before_a_restart_neither(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    append(log, b"a")
    append(log, b"b")
    store.flush(NOW_MS)
    store.write_checkpoints()
    store.delete(T0)
    crash(store)
    again = opener()
    append(make_log(again), b"new")
    again.flush(NOW_MS)
    crash(again)
    assert values_of(opener().logs[T0]) == [b"new"]


def test_partitions_without_records_hold_no_descriptors(store: LogStore) -> None:
    before = len(os.listdir("/dev/fd"))
    for number in range(20):
        make_log(store, partition=TopicPartition("t", number))
    store.flush(NOW_MS)
    assert len(os.listdir("/dev/fd")) == before


def test_a_stop_needs_few_descriptors_at_once(
    opener: Opener, store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odradek.storage.store.CLOSED_AT_ONCE", 2)
    for number in range(9):
        append(make_log(store, partition=TopicPartition("t", number)), b"a")
    flushed: list[int] = []
    flush = LogStore.flush

    def counting(store: LogStore, now_ms: int) -> list[Log]:
        flushed.append(len(store.volume.dirty))
        return flush(store, now_ms)

    store.flush(NOW_MS)
    monkeypatch.setattr(LogStore, "flush", counting)
    stop(store)
    assert max(flushed) == 2
    assert opener().was_clean


@pytest.mark.parametrize("is_restarted", [False, True])
def test_how_far_a_deleted_topic_was_compacted_says_nothing_of_its_successor(
    opener: Opener, store: LogStore, is_restarted: bool
) -> None:
    append(make_log(store), b"a")
    store.flush(NOW_MS)
    store.cleaner_points[T0] = 1
    store.cleaner_checkpoint_write()()
    store.delete(T0)
    if is_restarted:
        crash(store)
        store = opener()
    for value in (b"b", b"c"):
        append(make_log(store) if T0 not in store.logs else store.logs[T0], value)
    store.flush(NOW_MS)
    assert T0 not in store.cleaner_points
    crash(store)
    assert T0 not in opener().cleaner_points


class NoRename(QuickDisk):
    """A disk that is too full for a name."""

    is_full = False

    def rename(self, old: str, new: str, /) -> None:  # type: ignore[override]
        if self.is_full and new.endswith("-delete"):
            raise OSError(errno.ENOSPC, "no space")
        super().rename(old, new)


def test_a_folder_that_could_not_be_set_aside_gives_its_successor_nothing(opener: Opener) -> None:
    disk = NoRename()
    store = opener(disk)
    log = make_log(store)
    for value in (b"old 1", b"old 2"):
        append(log, value)
        log.roll(NOW_MS)
    store.flush(NOW_MS)
    disk.is_full = True
    with pytest.raises(OSError, match="no space"):
        store.delete(T0)
    with pytest.raises(OSError, match="no space"):
        make_log(store)
    disk.is_full = False
    append(make_log(store), b"new")
    store.flush(NOW_MS)
    crash(store)
    assert values_of(opener().logs[T0]) == [b"new"]
