"""The metadata log on a disk that crashes, tears, flips bits and fills up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.cluster import file_store
from odradek.cluster.entry import FIRST_HASH, encode_entry
from odradek.cluster.file_store import FOLDER, FileMetadataStore, read_image
from odradek.cluster.fold import fold_all
from odradek.cluster.image import ClusterImage
from odradek.cluster.records import ProducerIdsAllocated, Record
from odradek.core.errors import DamageError, StartupError
from tests.unit.cluster.support import MemoryDisk, topic_records

LOG = f"data/{FOLDER}/{1:020d}.log"


def opened(disk: MemoryDisk, *, was_clean: bool = True) -> FileMetadataStore:
    return FileMetadataStore.open("data", disk, "cluster", node_id=1, was_clean=was_clean)


def commit(store: FileMetadataStore, image: ClusterImage, records: list[Record]) -> ClusterImage:
    index = store.append(records)
    store.flush()
    image = fold_all(image, records, index)
    store.applied(image)
    return image


def test_a_new_log_knows_its_cluster_and_broker() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    assert store.image.cluster_id == "cluster"
    assert store.image.brokers[1].epoch == 1
    assert disk.syncs == 1


def test_a_log_is_read_without_being_opened() -> None:
    disk = MemoryDisk()
    assert read_image("data", disk).cluster_id == ""
    store = opened(disk)
    image = commit(store, store.image, topic_records("a", 1, 3))
    store.close()
    before = {path: bytes(content) for path, content in disk.files.items()}
    assert read_image("data", disk).topics == image.topics
    assert {path: bytes(content) for path, content in disk.files.items()} == before
    disk.files[LOG][-1] ^= 1
    assert read_image("data", disk).topics == image.topics, "up to what is damaged"
    disk.files[LOG][20] ^= 1
    assert read_image("data", disk).cluster_id == ""


def test_a_clean_start_writes_nothing() -> None:
    disk = MemoryDisk()
    opened(disk).close()
    before = dict(disk.synced)
    opened(disk).close()
    assert disk.synced == before
    assert disk.leaked() == []


def test_what_was_flushed_is_there_after_a_power_cut() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    image = commit(store, store.image, topic_records("a", 1, 3))
    store.append(topic_records("b", 2))
    disk.cut_power()
    again = opened(disk)
    assert again.image.topics == image.topics
    assert again.image.index == image.index


def test_an_unclean_start_raises_leader_epochs() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    commit(store, store.image, topic_records("a", 1))
    disk.cut_power()
    again = opened(disk, was_clean=False)
    assert again.image.topics["a"].partitions[0].leader_epoch == 1
    assert again.image.brokers[1].epoch == again.image.index


def test_flush_failure_is_told() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    store.append(topic_records("a", 1))
    disk.fail_syncs = True
    with pytest.raises(OSError, match="Input/output"):
        store.flush()


def test_a_failed_append_is_overwritten_by_the_next() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    disk.room = 0
    with pytest.raises(OSError, match="No space"):
        store.append(topic_records("a", 1))
    disk.room = None
    commit(store, store.image, topic_records("b", 2))
    disk.cut_power()
    assert list(opened(disk).image.topics) == ["b"]


@settings(deadline=None)
@given(st.data())
def test_a_torn_tail_is_cut_and_kept_aside(data: st.DataObject) -> None:
    disk = MemoryDisk()
    store = opened(disk)
    image = commit(store, store.image, topic_records("a", 1))
    end = len(disk.files[LOG])
    store.append(topic_records("b", 2, 5))
    whole = len(disk.files[LOG])
    kept = data.draw(st.integers(min_value=end + 1, max_value=whole - 1))
    del disk.files[LOG][kept:]
    torn = bytes(disk.files[LOG][end:])
    again = opened(disk)
    assert again.image.topics == image.topics
    assert len(disk.files[LOG]) == end
    (aside,) = [path for path in disk.files if path.endswith(".torn")]
    assert bytes(disk.files[aside]) == torn
    commit(again, again.image, topic_records("c", 3))
    assert sorted(opened(disk).image.topics) == ["a", "c"]


def test_pages_written_out_of_order_are_a_torn_tail() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    commit(store, store.image, topic_records("a", 1))
    hole = len(disk.files[LOG])
    store.append(topic_records("b", 2))
    store.append(topic_records("c", 3))
    disk.files[LOG][hole : hole + 30] = bytes(30)
    assert list(opened(disk).image.topics) == ["a"]


@settings(deadline=None)
@given(st.data())
def test_damage_in_the_middle_is_refused(data: st.DataObject) -> None:
    disk = MemoryDisk()
    store = opened(disk)
    start = len(disk.files[LOG])
    image = commit(store, store.image, topic_records("a", 1))
    end = len(disk.files[LOG])
    commit(store, image, topic_records("b", 2))
    commit(store, image, [ProducerIdsAllocated(1, 1000)])
    disk.files[LOG][data.draw(st.integers(min_value=start, max_value=end - 1))] ^= 0x10
    before = bytes(disk.files[LOG])
    with pytest.raises(DamageError) as caught:
        opened(disk)
    assert (caught.value.path, caught.value.position) == (LOG, start)
    assert bytes(disk.files[LOG]) == before


def test_damage_to_the_last_change_before_a_clean_stop_is_refused() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    position = len(disk.files[LOG])
    commit(store, store.image, topic_records("a", 1))
    store.close()
    disk.files[LOG][position + 60] ^= 1
    with pytest.raises(DamageError):
        opened(disk)


def test_an_entry_of_another_history_is_refused() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    store.close()
    foreign, _ = encode_entry(store.image.index + 2, 0, 0, FIRST_HASH, topic_records("x", 9))
    disk.files[LOG] += foreign
    with pytest.raises(DamageError, match="does not continue"):
        opened(disk)


def test_another_cluster_is_refused() -> None:
    disk = MemoryDisk()
    opened(disk).close()
    with pytest.raises(StartupError, match="belongs to cluster cluster"):
        FileMetadataStore.open("data", disk, "other", node_id=1)


def test_a_newer_level_stops_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    with monkeypatch.context() as patch:
        patch.setattr("odradek.cluster.entry.LEVEL", 3)
        opened(disk).close()
    with pytest.raises(StartupError, match="metadata level 3"):
        opened(disk)


@pytest.fixture
def small_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_store, "ROLL_BYTES", 1_000)


@pytest.mark.usefixtures("small_logs")
def test_long_logs_become_snapshots() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    store._roll_bytes = 1_000
    image = store.image
    for number in range(1, 60):
        image = commit(store, image, topic_records(f"t{number}", number, 2))
    image = commit(store, image, [ProducerIdsAllocated(1, 1000)])
    names = sorted(path.rpartition("/")[2] for path in disk.files)
    assert len([name for name in names if name.endswith(".snapshot")]) == 2
    assert len([name for name in names if name.endswith(".log")]) <= 2
    again = opened(disk)
    for part in ("cluster_id", "index", "topics", "topics_by_id", "brokers", "next_producer_id"):
        assert getattr(again.image, part) == getattr(image, part)
    read = read_image("data", disk)
    assert (read.cluster_id, read.index, read.topics) == (image.cluster_id, again._index, image.topics)
    image = commit(again, again.image, topic_records("more", 100))
    disk.cut_power()
    assert opened(disk).image.topics == image.topics


@pytest.mark.usefixtures("small_logs")
def test_a_damaged_snapshot_is_refused() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    store._roll_bytes = 1_000
    image = store.image
    for number in range(1, 30):
        image = commit(store, image, topic_records(f"t{number}", number))
    newest = max(path for path in disk.files if path.endswith(".snapshot"))
    disk.files[newest][-1] ^= 1
    with pytest.raises(DamageError) as caught:
        opened(disk)
    assert caught.value.path == newest


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["topic", "flush", "cut", "close"]), max_size=25))
def test_nothing_flushed_is_ever_lost(steps: list[str]) -> None:
    """Any mix of changes, flushes and power cuts; small logs, so that snapshots and rolls come in between."""
    disk = MemoryDisk()
    roll, file_store.ROLL_BYTES = file_store.ROLL_BYTES, 300
    try:
        store = opened(disk)
        store._roll_bytes = 300
        durable = proposed = store.image
        for number, step in enumerate(steps, 1):
            if step == "topic":
                records = topic_records(f"t{number}", number)
                proposed = fold_all(proposed, records, store.append(records))
                continue
            if step == "flush":
                store.flush()
                durable = proposed
                store.applied(durable)
                continue
            if step == "close":
                store.close()
                durable = proposed
            disk.cut_power()
            store = opened(disk)
            assert store.image.topics == durable.topics
            durable = proposed = store.image
    finally:
        file_store.ROLL_BYTES = roll


@pytest.mark.usefixtures("small_logs")
def test_a_snapshot_that_finds_no_room_is_taken_later(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    store = opened(disk)
    image = store.image
    with monkeypatch.context() as full:
        full.setattr(FileMetadataStore, "_write_file", refuse)
        for number in range(1, 30):
            image = commit(store, image, topic_records(f"t{number}", number, 2))
    assert not [path for path in disk.files if path.endswith(".snapshot")]
    image = commit(store, image, topic_records("more", 100))
    assert [path for path in disk.files if path.endswith(".snapshot")]
    disk.cut_power()
    assert opened(disk).image.topics == image.topics


def refuse(store: FileMetadataStore, path: str, content: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_the_new_folders_name_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    synced: list[str] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    opened(disk)
    assert "data" in synced


def test_a_failed_flush_is_the_last() -> None:
    """The kernel may have dropped what it could not write: that a later sync succeeds proves nothing."""
    disk = MemoryDisk()
    store = opened(disk)
    store.append(topic_records("a", 1))
    disk.fail_syncs = True
    with pytest.raises(OSError, match="Input/output"):
        store.flush()
    disk.fail_syncs = False
    with pytest.raises(OSError, match="Input/output"):
        store.flush()
    with pytest.raises(OSError, match="Input/output"):
        store.close()
    disk.cut_power()
    assert "a" not in opened(disk).image.topics


def test_harm_to_the_last_entry_after_a_kill_is_no_torn_end() -> None:
    disk = MemoryDisk()
    store = opened(disk)
    commit(store, store.image, topic_records("a", 1))
    (path,) = [name for name in disk.files if name.endswith(".log")]
    disk.files[path][-1] ^= 1
    with pytest.raises(DamageError):
        opened(disk)
    del disk.files[f"{path.rpartition('/')[0]}/durable"]
    assert "a" not in opened(disk).image.topics, "nobody knows whether it was on disk"
