"""``odradek log verify`` finds what is wrong and puts right what can be made anew."""

import random
from pathlib import Path

import pytest

from odradek.cluster.file_store import FileMetadataStore
from odradek.core.ids import TopicPartition, new_id
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
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
    alone = run_offline("log", "verify", path.parent, "-o", "json", code=1).json
    assert [each["file"] for each in alone] == [str(path)]


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_an_index_is_made_anew(run_offline: Run, data: Path, suffix: str) -> None:
    path = data / "t-0" / f"00000000000000000000{suffix}"
    flip(path, 3)
    (found,) = run_offline("log", "verify", "--repair", data, "-o", "json").json
    assert found["outcome"] == "made anew from the log"
    assert run_offline("log", "verify", data, "-o", "json").json == []
    assert not list(data.rglob("*.tmp"))


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
