"""Topics that the disk refuses to make, and folders that cannot be read."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.testing.clock import FakeClock

from .harness import Harness, batch


def create(harness: Harness, name: str) -> None:
    request = CreateTopicsRequest(
        topics=[CreatableTopic(name=name, num_partitions=1, replication_factor=1, assignments=[], configs=[])]
    )
    (result,) = harness.call(request).topics
    assert result.error_code == 0


def produce(harness: Harness, topic: str, **numbered: int) -> int:
    data = TopicProduceData(
        name=topic,
        partition_data=[PartitionProduceData(index=0, records=memoryview(batch(b"v", **numbered)))],
    )
    response = harness.call(ProduceRequest(acks=-1, timeout_ms=1_000, topic_data=[data]), 9)
    return int(response.responses[0].partition_responses[0].error_code)


def test_a_topic_that_finds_no_room_disturbs_no_other_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness(tmp_path)
    create(harness, "before")
    store = harness.broker.store

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(type(store), "create", refuse)
        create(harness, "a")
        create(harness, "b")
        assert produce(harness, "a") == ErrorCode.KAFKA_STORAGE_ERROR
        assert produce(harness, "before") == 0
        harness.broker.housekeep()
    harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="b")]))
    harness.broker.housekeep()
    assert produce(harness, "a") == 0
    assert produce(harness, "b") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    harness.restart()
    assert produce(harness, "a") == 0


def test_what_a_producer_has_in_flight_behind_a_batch_that_found_no_log_does_not_get_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness(tmp_path)
    store = harness.broker.store

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def send(sequence: int) -> int:
        return produce(harness, "a", producer_id=7, producer_epoch=0, base_sequence=sequence)

    with monkeypatch.context() as full:
        full.setattr(type(store), "create", refuse)
        create(harness, "a")
        assert send(0) == ErrorCode.KAFKA_STORAGE_ERROR
        harness.broker.housekeep()  # in vain: what takes the place of one stand-in is another
        assert send(1) == ErrorCode.KAFKA_STORAGE_ERROR
    harness.broker.housekeep()
    assert send(2) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert [send(sequence) for sequence in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    "garble", [lambda text: b"version: 9", lambda text: text[:-1] + b"?", lambda text: b""]
)
def test_a_folder_that_does_not_say_whose_it_is_is_kept(
    tmp_path: Path, garble: Callable[[bytes], bytes]
) -> None:
    harness = Harness(tmp_path)
    create(harness, "a")
    assert produce(harness, "a") == 0
    harness.stop()
    path = tmp_path / "a-0" / "partition.metadata"
    whole = path.read_bytes()
    path.write_bytes(garble(whole))
    harness.start()
    assert produce(harness, "a") == 0
    assert harness.broker.store.logs[TopicPartition("a", 0)].log_end_offset == 2
    harness.flush()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_folder_that_was_taken_away_is_not_made_anew(
    tmp_path: Path, is_clean: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With it went what was acknowledged, and its offsets would be given to others."""

    def end() -> None:
        if is_clean:
            harness.stop()
        else:
            harness.broker.close(is_clean=False)

    harness = Harness(tmp_path)
    for topic in ("a", "b", "empty"):
        create(harness, topic)
    assert [produce(harness, topic) for topic in ("a", "b")] == [0, 0]
    end()
    (tmp_path / "a-0").rename(tmp_path / "aside")
    (tmp_path / "empty-0").rename(tmp_path / "aside too")
    for _ in range(3):  # it is not forgotten over restarts
        harness.start()
        harness.broker.housekeep()
        assert produce(harness, "a") == ErrorCode.KAFKA_STORAGE_ERROR
        assert [produce(harness, topic) for topic in ("b", "empty")] == [0, 0]
        assert not (tmp_path / "a-0").exists()
        end()
    assert "a-0 is offline" in caplog.text
    assert "all records below offset 1" in caplog.text
    (tmp_path / "aside").rename(tmp_path / "a-0")
    harness.start()
    partition = harness.broker.topics.partition("a", 0)
    assert partition is not None
    assert partition.log.log_end_offset == 1
    assert produce(harness, "a") == 0
    harness.broker.close(is_clean=is_clean)
    (tmp_path / "a-0").rename(tmp_path / "aside")
    harness.start()
    harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="a")]))
    create(harness, "a")
    assert produce(harness, "a") == 0
    harness.stop()


def test_one_wrong_character_does_not_make_a_folder_another_topics(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    create(harness, "a")
    assert produce(harness, "a") == 0
    harness.stop()
    path = tmp_path / "a-0" / "partition.metadata"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + (b"A" if whole[-4:-3] != b"A" else b"B") + whole[-3:])
    harness.start()
    assert harness.broker.store.logs[TopicPartition("a", 0)].log_end_offset == 1
    harness.flush()
    assert path.read_bytes() == whole


def test_a_fault_in_a_flush_fails_who_waits_and_only_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness(tmp_path)
    create(harness, "a")
    create(harness, "b")
    with monkeypatch.context() as broken:
        broken.setattr("odradek.storage.flush.FlushTicket._sync_each", lambda ticket: {}["a bug"])
        assert produce(harness, "a") == ErrorCode.KAFKA_STORAGE_ERROR
    assert produce(harness, "b") == 0


def test_very_many_partitions_are_made_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class BusyClock(FakeClock):
        """Each look at it takes a millisecond."""

        def monotonic_ms(self) -> int:
            self._monotonic_ms += 1
            return super().monotonic_ms()

    monkeypatch.setattr("tests.unit.broker.harness.FakeClock", BusyClock)
    harness = Harness(tmp_path)
    topic = CreatableTopic(name="many", num_partitions=40, replication_factor=1, assignments=[], configs=[])
    request = CreateTopicsRequest(topics=[topic], timeout_ms=1, validate_only=False)
    pending = harness.send(request)
    harness.flush()
    made = harness.broker.topics.by_name["many"].partitions
    assert len(made) == 40
    assert 0 < sum(partition.log.offline is None for partition in made) < 40
    assert not pending.is_answered, "not before all of them can be used"
    slices = 0
    while not pending.is_answered:
        harness.advance(10)
        slices += 1
    assert slices > 3
    assert pending.response().topics[0].error_code == 0
    assert all(partition.log.offline is None for partition in made)
    assert len(harness.broker.store.logs) == 40

    topic.name = "gone"
    harness.send(CreateTopicsRequest(topics=[topic], timeout_ms=1, validate_only=False))
    harness.flush()
    harness.send(DeleteTopicsRequest(topics=[DeleteTopicState(name="gone")], topic_names=[], timeout_ms=1))
    harness.flush()
    for _ in range(40):
        harness.advance(10)
    assert len(harness.broker.store.logs) == 40
    assert not [name for name in os.listdir(tmp_path) if name.startswith("gone-") and "delete" not in name]
