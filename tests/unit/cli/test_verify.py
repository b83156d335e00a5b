"""``odradek log verify`` finds what is wrong and puts right what can be made anew."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odradek.cli import verify as verify_module
from odradek.cluster.file_store import FOLDER, FileMetadataStore
from odradek.cluster.records import PartitionCreated, TopicCreated
from odradek.core.errors import ApiError
from odradek.core.ids import TopicPartition, new_id
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage import names
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.flush_journal import ASIDE
from odradek.storage.log import Log
from odradek.storage.segment_file import SegmentFile
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock
from tests.unit.cli.conftest import Run

NOW_MS = 1_700_000_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one partition of two segments, cleanly closed."""
    folder = tmp_path / "data"
    disk, rng = SystemDisk(), random.Random(1)
    store = LogStore.open(str(folder), disk, FakeClock(NOW_MS), rng)
    log = store.create(TopicPartition("t", 0), new_id(rng), LogConfig(index_interval_bytes=100), NOW_MS)
    for number in range(40):
        if number == 20:
            log.roll(NOW_MS)
        records = [Record(0, NOW_MS + number, None, b"%02d" % number * 30)]
        batch = build_batch(records, producer_id=3, producer_epoch=0, base_sequence=number)
        log.append(memoryview(batch), NOW_MS, leader_epoch=0)
    metadata = FileMetadataStore.open(folder, disk, store.cluster_id, node_id=1)
    metadata.close()
    store.close(NOW_MS)
    return folder


def append(log: Log, value: bytes) -> None:
    log.append(memoryview(build_batch([Record(0, NOW_MS, None, value)])), NOW_MS, leader_epoch=0)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(bytes(content))


def test_all_is_well(run_offline: Run, data: Path) -> None:
    assert run_offline("log", "verify", data, "-o", "json").json == []
    assert "All is well" in run_offline("log", "verify", data).err


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("t-0/00000000000000000000.log", 300),
        ("t-0/00000000000000000020.log", 300),
        ("t-0/00000000000000000000.index", 9),
        ("t-0/00000000000000000000.timeindex", 6),
        ("t-0/00000000000000000020.snapshot", 20),
        ("t-0/leader-epoch-checkpoint", 0),
        ("recovery-point-offset-checkpoint", 7),
        ("__odradek_metadata/00000000000000000001.log", 30),
        ("meta.properties", 0),
    ],
)
def test_a_flipped_bit_is_found(run_offline: Run, data: Path, name: str, position: int) -> None:
    path = data / name
    if name == "meta.properties":
        path.write_bytes(b"cluster.id\n")
    else:
        flip(path, position)
    (found,) = run_offline("log", "verify", data, "-o", "json", code=1).json
    assert found["file"] == str(path)
    for alone in (path.parent, path):
        found = run_offline("log", "verify", alone, "-o", "json", code=1).json
        assert [each["file"] for each in found] == [str(path)]


def test_all_that_can_be_asked_about_is_well(run_offline: Run, data: Path) -> None:
    for path in [data / "t-0", data / "__odradek_metadata", *data.rglob("*")]:
        if path.name not in (".lock", names.FLUSHED_OFFSETS):
            assert run_offline("log", "verify", path, "-o", "json").json == []
    assert "nothing that could be checked" in run_offline("log", "verify", data / ".lock", code=2).err
    assert "neither" in run_offline("log", "verify", data.parent, code=2).err


def retain(folder: Path) -> None:
    """As a broker's retention does: out of the way first, then cut shorter, then gone."""
    for path in sorted(folder.glob("00000000000000000000.*")):
        path.rename(f"{path}.deleted")
        os.truncate(f"{path}.deleted", 10)
    (folder / "leader-epoch-checkpoint.tmp").write_bytes(b"0\n1\n0 20\n")
    (folder / "leader-epoch-checkpoint.tmp").rename(folder / "leader-epoch-checkpoint")


def delete_index(folder: Path) -> None:
    (folder / "00000000000000000000.index").unlink()


def delete_topic(folder: Path) -> None:
    folder.rename(f"{folder}.0000-delete")


@pytest.mark.parametrize(
    ("change", "place", "is_well"),
    [
        (retain, "read", True),
        (delete_topic, "read", True),
        (retain, "start", True),
        (delete_topic, "start", True),
        (delete_index, "read", False),
    ],
)
def test_what_a_broker_removes_meanwhile_is_no_damage(
    run_offline: Run,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    place: str,
    is_well: bool,
) -> None:
    folder = data / "t-0"
    read, verify = SegmentFile.read, verify_module.verify
    changes = [change]

    def reading(segment: SegmentFile, position: int, length: int) -> bytes:
        segment.open()
        if changes:
            changes.pop()(folder)
        return read(segment, position, length)

    def starting(*arguments: Any) -> Any:
        if changes:
            changes.pop()(folder)
        return verify(*arguments)

    if place == "read":
        monkeypatch.setattr(SegmentFile, "read", reading)
    else:
        monkeypatch.setattr(verify_module, "verify", starting)
    found = run_offline("log", "verify", data, "-o", "json", code=not is_well).json
    assert not changes
    assert (found == []) == is_well


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_an_index_is_made_anew(run_offline: Run, data: Path, suffix: str) -> None:
    path = data / "t-0" / f"00000000000000000000{suffix}"
    flip(path, 3)
    (found,) = run_offline("log", "verify", "--repair", data, "-o", "json").json
    assert found["outcome"] == "made anew from the log"
    assert run_offline("log", "verify", data, "-o", "json").json == []
    assert not list(data.rglob("*.tmp"))


@pytest.fixture(params=["", ASIDE])
def killed(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, int]:
    """The folder of a broker that was killed: offsets below 20 flushed, which only a journal tells, perhaps
    one that was set aside, and as much that was not. Also where the latter begins in the segment."""
    folder = tmp_path / "data"
    disk, rng = SystemDisk(), random.Random(1)
    store = LogStore.open(str(folder), disk, FakeClock(NOW_MS), rng)
    topic_id = new_id(rng)
    log = store.create(TopicPartition("t", 0), topic_id, LogConfig(), NOW_MS)
    for number in range(40):
        if number == 20:
            store.flush(NOW_MS)
            flushed_bytes = log.active.size
        append(log, b"%02d" % number * 30)
    metadata = FileMetadataStore.open(folder, disk, store.cluster_id, node_id=1)
    metadata.append([TopicCreated("t", topic_id), PartitionCreated(topic_id, 0, 1, (1,), (1,))])
    metadata.close()
    disk.close(store.lock)
    if request.param:
        (folder / names.FLUSHED_OFFSETS).rename(folder / (names.FLUSHED_OFFSETS + request.param))
    return folder, flushed_bytes


@pytest.mark.parametrize("is_alone", [False, True])
def test_what_was_not_flushed_may_be_torn(run_offline: Run, killed: tuple[Path, int], is_alone: bool) -> None:
    folder, flushed_bytes = killed
    segment = folder / "t-0" / "00000000000000000000.log"
    flip(segment, flushed_bytes + 70)
    path = segment if is_alone else folder
    (found,) = run_offline("log", "verify", path, "-o", "json").json
    assert (found["position"], found["outcome"].startswith("not flushed")) == (flushed_bytes, True)
    run_offline("log", "verify", "--repair", path)
    assert opened(folder).log_end_offset == 20


def test_what_was_flushed_is_damaged_as_a_start_will_find(run_offline: Run, killed: tuple[Path, int]) -> None:
    folder, flushed_bytes = killed
    flip(folder / "t-0" / "00000000000000000000.log", flushed_bytes - 20)
    (found,) = run_offline("log", "verify", folder, "-o", "json", code=1).json
    assert found["outcome"].startswith("damaged")
    offline = opened(folder).offline
    assert offline is not None
    assert (offline.path, offline.position, offline.reason) == (
        found["file"],
        found["position"],
        found["problem"],
    )


@pytest.mark.parametrize("what", ["short", "empty", "gone"])
def test_a_flushed_end_that_is_not_there_is_damage(
    run_offline: Run, killed: tuple[Path, int], what: str
) -> None:
    folder, _ = killed
    segment = folder / "t-0" / "00000000000000000000.log"
    first_batch = 12 + int.from_bytes(segment.read_bytes()[8:12], "big")
    if what == "gone":
        segment.unlink()
    else:
        os.truncate(segment, first_batch if what == "short" else 0)
    (found,) = run_offline("log", "verify", folder, "-o", "json", code=1).json
    assert "everything below offset 20 had been flushed" in found["problem"]
    assert opened(folder).offline is not None


@pytest.mark.parametrize("is_clean", [False, True])
def test_a_folder_that_is_gone_with_its_records_is_told_of(
    run_offline: Run, killed: tuple[Path, int], is_clean: bool
) -> None:
    folder, _ = killed
    if is_clean:
        rng = random.Random(1)
        LogStore.open(str(folder), SystemDisk(), FakeClock(NOW_MS), rng).close(NOW_MS)
        assert run_offline("log", "verify", folder, "-o", "json").json == []
    shutil.rmtree(folder / "t-0")
    (found,) = run_offline("log", "verify", folder, "-o", "json", code=1).json
    assert found["file"] == str(folder / "t-0")
    assert found["problem"] == f"it is gone, and with it all records below offset {40 if is_clean else 20}"
    assert found["outcome"].startswith("the broker takes this partition offline")


def test_partitions_without_the_metadata_folder_do_not_start(run_offline: Run, data: Path) -> None:
    shutil.rmtree(data / FOLDER)
    (found,) = run_offline("log", "verify", data, "-o", "json", code=1).json
    assert (found["file"], found["problem"]) == (str(data / FOLDER), "it is gone")
    assert found["outcome"].startswith("the broker will not start")
    (data / names.KAFKA_METADATA_FOLDER).mkdir()
    assert run_offline("log", "verify", data, "-o", "json").json == [], "the folder of a Kafka has none"


def test_after_a_clean_stop_nothing_may_be_torn(run_offline: Run, data: Path) -> None:
    segment = data / "t-0" / "00000000000000000020.log"
    os.truncate(segment, segment.stat().st_size - 1)
    (found,) = run_offline("log", "verify", data, "-o", "json", code=1).json
    assert found["outcome"].startswith("damaged")
    (data / names.CLEAN_SHUTDOWN).unlink()
    (found,) = run_offline("log", "verify", data, "-o", "json", code=1).json
    assert "everything below offset 40 had been flushed" in found["problem"], "the recovery point tells"


def test_a_transaction_index_that_a_start_makes_anew_is_no_damage(
    run_offline: Run, killed: tuple[Path, int]
) -> None:
    folder, _ = killed
    store = LogStore.open(str(folder), SystemDisk(), FakeClock(NOW_MS), random.Random(1))
    log = store.logs[TopicPartition("t", 0)]
    log.roll(NOW_MS)
    append(log, b"next")
    SystemDisk().close(store.lock)
    (folder / "t-0" / "00000000000000000000.txnindex").write_bytes(b"torn")
    (found,) = run_offline("log", "verify", folder, "-o", "json", code=1).json
    assert found["outcome"].startswith("damaged"), "a start begins behind it"
    (folder / names.RECOVERY_POINTS).unlink()
    (found,) = run_offline("log", "verify", folder, "-o", "json", code=1).json
    assert found["outcome"] == "the broker makes it anew"
    assert opened(folder).offline is None


def opened(folder: Path) -> Log:
    """The partition as a start finds it."""
    store = LogStore.open(str(folder), SystemDisk(), FakeClock(NOW_MS), random.Random(2))
    SystemDisk().close(store.lock)
    return store.logs[TopicPartition("t", 0)]


def test_leader_epochs_are_known_to_a_broker_that_runs_only(run_offline: Run, data: Path) -> None:
    (data / "t-0" / "leader-epoch-checkpoint").write_bytes(b"garbled")
    (found,) = run_offline("log", "verify", data, "-o", "json", code=1).json
    assert found["outcome"].startswith("a start takes this partition offline")
    log = opened(data)
    with pytest.raises(ApiError, match="leader-epoch-checkpoint"):
        _ = log.epochs


def test_a_journal_none_of_which_can_be_read_is_named(run_offline: Run, killed: tuple[Path, int]) -> None:
    folder, _ = killed
    (journal,) = folder.glob("odradek-flushed-offsets*")
    flip(journal, 5)
    (found,) = run_offline("log", "verify", folder, "-o", "json", code=1).json
    assert (found["file"], found["outcome"]) == (str(journal), "the broker makes it anew")


def test_the_metadata_log_may_be_torn_behind_what_was_durable(run_offline: Run, data: Path) -> None:
    log = data / "__odradek_metadata" / "00000000000000000001.log"
    size = log.stat().st_size
    with log.open("ab") as file:
        file.write(b"torn")
    (found,) = run_offline("log", "verify", data, "-o", "json").json
    assert (found["position"], found["outcome"].startswith("not flushed")) == (size, True)
    os.truncate(log, size - 1)
    (found,) = run_offline("log", "verify", data, "-o", "json", code=1).json
    assert found["outcome"] == "the broker will not start: restore it"
    log.with_name("durable").unlink()
    run_offline("log", "verify", data, "-o", "json")  # an empty entry says that all before it was durable


def test_what_cannot_be_made_anew_is_said(run_offline: Run, data: Path) -> None:
    flip(data / "t-0" / "00000000000000000000.log", 300)
    (found,) = run_offline("log", "verify", "--repair", data, "-o", "json", code=1).json
    assert "offline" in found["outcome"]


def test_a_running_broker_is_not_repaired(run_offline: Run, data: Path) -> None:
    disk = SystemDisk()
    lock = disk.lock(str(data / ".lock"))
    done = run_offline("log", "verify", "--repair", data, code=1)
    assert "Stop the broker" in done.err
    disk.close(lock)
    run_offline("log", "verify", data / "nothing", code=3)
