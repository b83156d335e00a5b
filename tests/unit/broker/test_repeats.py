"""What is answered without being decoded is what would have been answered, and only then."""

import errno
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from odradek.broker.gathered import Gathered
from odradek.broker.repeats import Repeats
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.fetch import FetchRequest
from odradek.protocol.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.protocol.generated.produce import ProduceRequest
from tests.unit.broker.harness import Closed, Harness, batch
from tests.unit.broker.repeating import from_scratch, is_known, learn
from tests.unit.broker.test_fetch import base_offsets, fetch, fill, partitions
from tests.unit.broker.test_produce import only, produce
from tests.unit.broker.transaction_client import TransactionalProducer


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = Harness(tmp_path, num_partitions="3")
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    fill(harness, batch(b"a", b"b"), batch(b"c" * 5_000), batch(b"d"))
    return harness


def fetch_in(harness: Harness, version: int, offset: int = 0, **fields: Any) -> FetchRequest:
    request = fetch(offset, **fields)
    if version >= 13:
        request.topics[0].topic_id = harness.broker.image.topics["t"].topic_id
    return request


@pytest.mark.parametrize("version", range(5, 19))
def test_a_fetch_is_answered_as_if_it_were_the_first(harness: Harness, version: int) -> None:
    if version < 7:
        for _ in range(8):
            harness.call(fetch_in(harness, version), version)
        assert not harness.session.repeats.known, "no session epoch: such old requests are not learnt"
        return
    learn(harness, fetch_in(harness, version), version)
    for offset in (0, 1, 2, 3):
        request = fetch_in(harness, version, offset)
        assert is_known(harness, request, version)
        assert harness.call(request, version) == from_scratch(harness, request, version)


@pytest.mark.parametrize("version", range(7, 19))
def test_a_read_committed_fetch_is_answered_as_if_it_were_the_first(harness: Harness, version: int) -> None:
    learn(harness, fetch_in(harness, version, isolation_level=1), version)
    for offset in (0, 1, 2, 3):
        request = fetch_in(harness, version, offset, isolation_level=1)
        assert is_known(harness, request, version)
        assert harness.call(request, version) == from_scratch(harness, request, version)


def test_what_is_read_committed_ends_at_an_open_transaction(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    learn(harness, fetch_in(harness, 12, isolation_level=1), 12)
    assert producer.produce(0, b"open")[0] == ErrorCode.NONE
    fill(harness, batch(b"behind it"))
    request = fetch_in(harness, 12, 2, isolation_level=1)
    assert is_known(harness, request, 12)
    response = harness.call(request, 12)
    assert response == from_scratch(harness, request, 12)
    assert base_offsets(partitions(response)[0]) == [2, 3]
    request = fetch_in(harness, 12, 4, isolation_level=1)
    assert not is_known(harness, request, 12)


def test_aborted_transactions_take_the_long_way(harness: Harness) -> None:
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0, b"aborted")
    producer.end(committed=False)
    fill(harness, batch(b"behind it"))
    learn(harness, fetch_in(harness, 12, isolation_level=1), 12)
    # records at 4, their marker at 5
    for offset, is_plain in ((3, False), (4, False), (5, False), (6, True)):
        request = fetch_in(harness, 12, offset, isolation_level=1)
        assert is_known(harness, request, 12) == is_plain
        response = harness.call(request, 12)
        assert response == from_scratch(harness, request, 12)
        assert bool(partitions(response)[0].aborted_transactions) != is_plain


@pytest.mark.parametrize("offset", [-1, 4, 5])
def test_a_fetch_without_data_takes_the_long_way(harness: Harness, offset: int) -> None:
    learn(harness, fetch_in(harness, 12), 12)
    request = fetch_in(harness, 12, offset)
    assert not is_known(harness, request, 12)
    assert harness.call(request, 12) == from_scratch(harness, request, 12)


def test_what_is_not_the_same_is_not_known(harness: Harness) -> None:
    learn(harness, fetch_in(harness, 12), 12)
    for other in (
        fetch_in(harness, 12, each=100),
        fetch_in(harness, 12, min_bytes=1 << 20),
        fetch_in(harness, 12, isolation_level=1),
        fetch(0, 0),
    ):
        assert not is_known(harness, other, 12)
        assert harness.call(other, 12) == from_scratch(harness, other, 12)


def test_too_little_for_min_bytes_parks(harness: Harness) -> None:
    request = fetch_in(harness, 12, min_bytes=1_000, max_wait_ms=500)
    learn(harness, request, 12)
    request.topics[0].partitions[0].fetch_offset = 3
    assert not harness.send(request, 12).is_answered


def test_a_deleted_topic_is_not_known_any_more(harness: Harness) -> None:
    request = fetch_in(harness, 12)
    learn(harness, request, 12)
    harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000), 6)
    (data,) = partitions(harness.call(request, 12))
    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    fill(harness, batch(b"of the second topic"))
    (data,) = partitions(harness.call(request, 12))
    assert (base_offsets(data), data.high_watermark) == ([0], 1)


@pytest.mark.parametrize("version", [11, 12, 17])
def test_in_a_session_the_epochs_go_on(harness: Harness, version: int) -> None:
    opened = harness.call(fetch_in(harness, version, session_epoch=0), version)
    request = fetch_in(harness, version, session_id=opened.session_id)
    for epoch in range(1, 9):
        request.session_epoch = epoch
        harness.call(request, version)
    request.session_epoch = 9
    assert is_known(harness, request, version)
    for epoch in (9, 11):
        request.session_epoch = epoch
        refused = harness.call(request, version)
        assert refused.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    request.session_epoch = 10
    (data,) = partitions(harness.call(request, version))
    assert base_offsets(data) == [0, 2, 3]
    # what the session told is remembered: nothing new, nothing said
    nothing = FetchRequest(session_id=opened.session_id, session_epoch=11, max_bytes=1 << 20)
    request.session_epoch, request.topics[0].partitions[0].fetch_offset = 11, 4
    assert partitions(harness.call(request, version)) == []
    nothing.session_epoch = 12
    assert partitions(harness.call(nothing, version)) == []


def test_a_session_that_grew_is_not_known(harness: Harness) -> None:
    opened = harness.call(fetch(0, session_epoch=0), 12)
    request = fetch(0, session_id=opened.session_id)
    for epoch in range(1, 9):
        request.session_epoch = epoch
        harness.call(request, 12)
    grown = fetch(0, 0, session_id=opened.session_id, session_epoch=9)
    assert len(partitions(harness.call(grown, 12))) == 2
    request.session_epoch = 10
    assert not is_known(harness, request, 12)


def test_learning_waits_and_waits_longer_each_time() -> None:
    repeats = Repeats()
    learnt = [number for number in range(1, 2_000) if repeats.is_time_to_learn(1)]
    assert learnt[:4] == [4, 12, 28, 60]
    assert max(after - before for before, after in pairwise(learnt)) <= 1_024


def test_requests_that_take_turns_are_all_learnt() -> None:
    repeats = Repeats()
    learnt = [number for number in range(1, 100) if repeats.is_time_to_learn(number % 3)]
    assert learnt == [10, 11, 12, 34, 35, 36, 82, 83, 84]


def learn_to_produce(
    harness: Harness, version: int = 12, acks: int = 1, partition: int = 0
) -> ProduceRequest:
    request = produce(batch(b"v"), partition=partition, acks=acks)
    if version >= 13:
        request.topic_data[0].topic_id = harness.broker.image.topics["t"].topic_id
    for _ in range(8):
        assert only(harness.call(renewed(request), version)).error_code == 0
    assert version in harness.session.repeats.known
    return request


def renewed(request: ProduceRequest, *values: bytes, **fields: int) -> ProduceRequest:
    """The request with another batch in it."""
    (data,) = request.topic_data[0].partition_data
    data.records = batch(*(values or (b"v",)), **fields)
    return request


@pytest.fixture
def gathered(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many batches each write brought together."""
    sizes: list[int] = []
    write = Gathered.write

    def watched(self: Gathered) -> None:
        sizes.append(len(self.entries))
        write(self)

    monkeypatch.setattr(Gathered, "write", watched)
    return sizes


@pytest.mark.parametrize("version", range(9, 14))
def test_a_produce_is_answered_as_if_it_were_the_first(
    harness: Harness, gathered: list[int], version: int
) -> None:
    request = learn_to_produce(harness, version)
    del gathered[:]
    end = harness.broker.topics.by_name["t"].partitions[0].log.log_end_offset
    known = harness.call(renewed(request, b"a", b"b", b"c" * 300), version)
    assert gathered == [1]
    unknown = from_scratch(harness, renewed(request, b"a"), version)
    assert gathered == [1]
    assert only(known).base_offset == end
    assert only(unknown).base_offset == end + 3
    only(known).base_offset = only(unknown).base_offset
    assert known == unknown


def test_every_partition_of_a_topic_is_known(harness: Harness, gathered: list[int]) -> None:
    for partition in (0, 1, 2):
        learn_to_produce(harness, partition=partition)
        for _ in range(40):
            harness.call(produce(batch(b"v"), partition=partition), 12)
    del gathered[:]
    for partition in (0, 1, 2):
        harness.call(produce(batch(b"v"), partition=partition), 12)
    assert gathered == [1, 1, 1]


def test_acks_all_waits_until_it_is_on_disk(harness: Harness, gathered: list[int]) -> None:
    request = learn_to_produce(harness, acks=-1)
    del gathered[:]
    pending = harness.send(renewed(request), 12)
    assert gathered == [1]
    assert not pending.is_answered
    assert harness.broker.flush_is_urgent
    harness.flush()
    assert only(pending.response()).error_code == 0


def test_acks_all_times_out(harness: Harness) -> None:
    request = learn_to_produce(harness, acks=-1)
    pending = harness.send(renewed(request), 12)
    harness.advance(2_000)
    answer = only(pending.response())
    assert (answer.error_code, answer.base_offset) == (ErrorCode.REQUEST_TIMED_OUT, -1)


def test_a_producer_in_a_loop_wakes_a_parked_fetch(harness: Harness) -> None:
    request = learn_to_produce(harness, partition=1)
    harness.flush()
    end = harness.broker.topics.by_name["t"].partitions[1].log.log_end_offset
    waiting = fetch(0, end, min_bytes=1, max_wait_ms=500)
    del waiting.topics[0].partitions[0]
    pending = harness.send(waiting, 12)
    assert not pending.is_answered
    harness.send(renewed(request), 12)
    harness.flush()
    assert base_offsets(partitions(pending.response())[0]) == [end]


@pytest.mark.parametrize("acks", [1, -1])
def test_what_the_disk_refuses_is_answered_so(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, acks: int
) -> None:
    request = learn_to_produce(harness, acks=acks)
    log = harness.broker.topics.by_name["t"].partitions[0].log
    end = log.log_end_offset

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk_is_full:
        disk_is_full.setattr(log, "_pwrite", full)
        answer = only(harness.send(renewed(request), 12).response())
    assert (answer.error_code, answer.base_offset) == (ErrorCode.KAFKA_STORAGE_ERROR, -1)
    assert "No space left" in (answer.error_message or "") or acks == -1
    assert log.log_end_offset == end
    assert only(harness.call(renewed(request), 12)).base_offset == end


@pytest.mark.parametrize("bad", ["crc", "empty", "cut"])
def test_a_bad_batch_takes_the_long_way(harness: Harness, gathered: list[int], bad: str) -> None:
    request = learn_to_produce(harness)
    del gathered[:]
    records = bytearray(batch(b"v"))
    if bad == "crc":
        records[-1] ^= 1
    (data,) = request.topic_data[0].partition_data
    data.records = {"crc": bytes(records), "empty": b"", "cut": bytes(records[:-1])}[bad]
    known = harness.call(request, 12)
    assert gathered == []
    assert only(known).error_code != 0
    assert known == from_scratch(harness, request, 12)


def test_produce_to_a_deleted_topic(harness: Harness) -> None:
    request = learn_to_produce(harness)
    harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000), 6)
    assert only(harness.call(renewed(request), 12)).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    assert only(harness.call(renewed(request), 12)).base_offset == 0


def test_whatever_else_is_asked_sees_what_was_gathered(harness: Harness, gathered: list[int]) -> None:
    request = learn_to_produce(harness)
    harness.flush()
    del gathered[:]
    harness.broker.handle = harness.broker.handle_gathering  # type: ignore[method-assign]
    end = harness.broker.topics.by_name["t"].partitions[0].log.log_end_offset
    first, second = harness.send(renewed(request), 12), harness.send(renewed(request), 12)
    assert gathered == []
    asked = ListOffsetsRequest(
        replica_id=-1,
        topics=[
            ListOffsetsTopic(name="t", partitions=[ListOffsetsPartition(partition_index=0, timestamp=-1)])
        ],
    )
    harness.send(asked, 6)
    assert gathered == [2]
    assert [only(pending.response()).base_offset for pending in (first, second)] == [end, end + 1]


def test_a_fault_behind_the_gathering_leaves_no_batch_in_a_buffer_that_is_used_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(list[Any]):
        def append(self, _: Any) -> None:
            raise MemoryError

    learn(harness, produce(batch(b"a")), 12)
    gathered = harness.broker.gathered
    partition = harness.broker.topics.partition("t", 0)
    assert partition is not None
    end_offset = partition.log.log_end_offset
    monkeypatch.setattr(gathered, "entries", Broken())
    with pytest.raises(Closed):
        harness.call(produce(batch(b"b")), 12)
    assert harness.broker.store.volume.gathering == []
    assert partition.log.log_end_offset == end_offset + 1
