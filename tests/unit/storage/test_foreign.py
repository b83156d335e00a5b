"""Another broker's folder, looked at and copied from."""

import random
from pathlib import Path

import pytest

from odradek.core.errors import DamageError, StartupError
from odradek.core.ids import TopicId, TopicPartition
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage import names
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.foreign import ForeignFolder, copy_partition
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock

NOW_MS = 1_790_000_000_000
KEY = TopicPartition("orders", 0)
TOPIC_ID = TopicId(b"o" * 16)


def open_store(folder: Path) -> LogStore:
    return LogStore.open(str(folder), SystemDisk(), FakeClock(NOW_MS), random.Random(5))


def make_source(folder: Path, *, cleanly: bool = True) -> int:
    """A folder with a log of several segments, its first batches gone; returns its end."""
    store = open_store(folder)
    log = store.create(KEY, TOPIC_ID, LogConfig(segment_bytes=1 << 20), NOW_MS)
    for number in range(30):
        value = bytes([number]) * 100_000
        batch = build_batch(
            [Record(0, NOW_MS + number, None, value)], producer_id=7, producer_epoch=0, base_sequence=number
        )
        log.append(memoryview(bytearray(batch)), NOW_MS, leader_epoch=3)
    store.flush(NOW_MS)
    log.advance_log_start(5)
    end = log.log_end_offset
    if not cleanly:
        store.write_checkpoints()
    store.close(NOW_MS, clean=cleanly)
    return end


@pytest.mark.parametrize("cleanly", [True, False])
def test_a_copy_has_all_that_the_original_has(tmp_path: Path, cleanly: bool) -> None:
    end = make_source(tmp_path / "source", cleanly=cleanly)
    before = {path.name: path.read_bytes() for path in (tmp_path / "source").glob("orders-0/*")}
    folder = ForeignFolder(SystemDisk(), str(tmp_path / "source") + "/")
    assert folder.is_clean == cleanly
    (foreign,) = folder.partitions
    assert (foreign.partition, foreign.topic_id, foreign.first_offset) == (KEY, TOPIC_ID, 5)
    assert foreign.size > 3_000_000
    store = open_store(tmp_path / "target")
    log = copy_partition(store, foreign, LogConfig(), NOW_MS)
    folder.close()
    store.close(NOW_MS)
    assert {path.name: path.read_bytes() for path in (tmp_path / "source").glob("orders-0/*")} == before
    store = open_store(tmp_path / "target")
    log = store.logs[KEY]
    assert store.was_clean
    assert (log.log_start_offset, log.log_end_offset, log.topic_id) == (5, end, TOPIC_ID)
    assert len(log.segments) > 1
    assert log.leader_epoch == 3
    assert log.producers.by_id[7].last_sequence == end - 1
    assert bytes(log.read(5, 1, end).records)[-10:-1] == bytes([5]) * 9
    store.close(NOW_MS)


def test_a_folder_in_use_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no data folder"):
        ForeignFolder(SystemDisk(), str(tmp_path))
    store = open_store(tmp_path / "source")
    with pytest.raises(StartupError, match="in use"):
        ForeignFolder(SystemDisk(), str(tmp_path / "source"))
    store.close(NOW_MS)
    folder = ForeignFolder(SystemDisk(), str(tmp_path / "source"))
    with pytest.raises(StartupError, match="in use"):
        open_store(tmp_path / "source")
    folder.close()
    open_store(tmp_path / "source").close(NOW_MS)


def test_damage_is_not_copied(tmp_path: Path) -> None:
    make_source(tmp_path / "source")
    segment = sorted((tmp_path / "source" / "orders-0").glob("*.log"))[0]
    content = bytearray(segment.read_bytes())
    content[100_000] ^= 1
    segment.write_bytes(content)
    folder = ForeignFolder(SystemDisk(), str(tmp_path / "source"))
    store = open_store(tmp_path / "target")
    with pytest.raises(DamageError, match="CRC"):
        copy_partition(store, folder.partitions[0], LogConfig(), NOW_MS)
    assert store.logs == {}
    folder.close()
    store.close(NOW_MS)
    assert not [path.name for path in (tmp_path / "target").iterdir() if path.name.startswith("orders")]


@pytest.mark.parametrize("harm", ["a flipped bit", "a lost end"])
def test_damage_below_what_the_flush_journal_tells_is_not_taken_for_a_torn_tail(
    tmp_path: Path, harm: str
) -> None:
    source = open_store(tmp_path / "source")
    log = source.create(KEY, TOPIC_ID, LogConfig(), NOW_MS)
    for value in (b"one", b"two", b"three"):
        log.append(memoryview(build_batch([Record(0, NOW_MS, None, value)])), NOW_MS, leader_epoch=0)
    source.flush(NOW_MS)
    source.close(NOW_MS, clean=False)  # killed, with no checkpoint written since
    segment = tmp_path / "source" / "orders-0" / names.file_name(0, names.LOG)
    content = bytearray(segment.read_bytes())
    if harm == "a flipped bit":
        content[-1] ^= 1
    else:
        del content[-len(build_batch([Record(0, NOW_MS, None, b"three")])) :]
    segment.write_bytes(content)
    folder = ForeignFolder(SystemDisk(), str(tmp_path / "source"))
    store = open_store(tmp_path / "target")
    with pytest.raises(DamageError):
        copy_partition(store, folder.partitions[0], LogConfig(), NOW_MS)
    assert store.logs == {}
    folder.close()
    store.close(NOW_MS)
    assert not [path.name for path in (tmp_path / "target").iterdir() if path.name.startswith("orders")]


def test_other_folders_are_named(tmp_path: Path) -> None:
    make_source(tmp_path / "source")
    for name in ("orders-1.0123456789abcdef0123456789abcdef-delete", "__cluster_metadata-0", "notes"):
        (tmp_path / "source" / name).mkdir()
    (tmp_path / "source" / "__cluster_metadata-0" / "00000000000000000000.log").write_bytes(b"x")
    folder = ForeignFolder(SystemDisk(), str(tmp_path / "source"))
    assert len(folder.partitions) == 1
    assert len(folder.others) == 3
    assert list(folder.metadata_files()) == [("00000000000000000000.log", b"x")]
    folder.close()
