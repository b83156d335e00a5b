from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic, PartitionData
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.records.batch import iterate_batches
from tests.unit.broker.harness import Harness, batch
from tests.unit.broker.test_produce import only, produce


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = Harness(tmp_path, num_partitions="3")
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    return harness


def fetch(*offsets: int, max_bytes: int = 1 << 20, each: int = 1 << 20, **fields: object) -> FetchRequest:
    partitions = [
        FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=each)
        for index, offset in enumerate(offsets)
    ]
    fields = {"session_epoch": -1, "max_bytes": max_bytes, **fields}
    return FetchRequest(topics=[FetchTopic(topic="t", partitions=partitions)], **fields)  # type: ignore[arg-type]


def partitions(response: object) -> list[PartitionData]:
    return [one for topic in response.responses for one in topic.partitions]  # type: ignore[attr-defined]


def base_offsets(data: PartitionData) -> list[int]:
    return [header.base_offset for _, header in iterate_batches(data.records)]


def fill(harness: Harness, *batches: bytes, partition: int = 0) -> None:
    for one in batches:
        assert only(harness.call(produce(one, partition=partition), 9)).error_code == 0
    harness.flush()


@pytest.mark.parametrize("version", range(4, 13))
def test_reads_what_was_produced_in_every_version(harness: Harness, version: int) -> None:
    fill(harness, batch(b"a", b"b"), batch(b"c"))
    (data,) = partitions(harness.call(fetch(0), version))
    assert base_offsets(data) == [0, 2]
    assert (data.high_watermark, data.last_stable_offset) == (3, 3)


@pytest.mark.parametrize("version", range(13, 19))
def test_later_versions_name_topics_by_id(harness: Harness, version: int) -> None:
    fill(harness, batch(b"a"))
    request = fetch(0)
    request.topics[0].topic_id = harness.broker.image.topics["t"].topic_id
    (data,) = partitions(harness.call(request, version))
    assert base_offsets(data) == [0]
    request.topics[0].topic_id = b"\x01" * 16
    (data,) = partitions(harness.call(request, version))
    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_an_offset_in_the_middle_of_a_batch_gives_that_batch(harness: Harness) -> None:
    fill(harness, batch(b"a", b"b", b"c"), batch(b"d"))
    (data,) = partitions(harness.call(fetch(1), 11))
    assert base_offsets(data) == [0, 3]


def test_the_first_batch_comes_whole_even_above_every_limit(harness: Harness) -> None:
    fill(harness, batch(b"x" * 5_000), batch(b"y"))
    (data,) = partitions(harness.call(fetch(0, max_bytes=10, each=10), 11))
    assert base_offsets(data) == [0]


def test_only_the_first_partition_may_exceed_the_limit(harness: Harness) -> None:
    fill(harness, batch(b"x" * 5_000))
    fill(harness, batch(b"y" * 5_000), partition=1)
    first, second = partitions(harness.call(fetch(0, 0, max_bytes=10), 11))
    assert base_offsets(first) == [0]
    assert len(second.records) == 0


@pytest.mark.parametrize("offset", [-1, 4])
def test_outside_of_the_log_is_out_of_range(harness: Harness, offset: int) -> None:
    fill(harness, batch(b"a", b"b", b"c"))
    (data,) = partitions(harness.call(fetch(offset), 11))
    assert data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert data.high_watermark == -1


def test_a_fetch_hastens_the_flush_of_what_it_waits_for_but_has_written_nothing_itself(
    harness: Harness,
) -> None:
    wishes = harness.broker.urgent_wishes
    harness.send(produce(batch(b"a"), acks=1), 9)
    assert (harness.broker.flush_is_urgent, harness.broker.urgent_wishes) == (False, wishes)
    pending = harness.send(fetch(0, min_bytes=1, max_wait_ms=500), 11)
    assert (harness.broker.flush_is_urgent, harness.broker.urgent_wishes) == (True, wishes)
    harness.flush()
    assert base_offsets(partitions(pending.response())[0]) == [0]


def test_a_parked_fetch_is_answered_when_something_is_durable(harness: Harness) -> None:
    pending = harness.send(fetch(0, min_bytes=1, max_wait_ms=500), 11)
    assert not pending.is_answered
    harness.send(produce(batch(b"a")), 9)
    assert not pending.is_answered
    assert harness.broker.flush_is_urgent, "somebody waits for it"
    harness.flush()
    (data,) = partitions(pending.response())
    assert base_offsets(data) == [0]
    assert len(harness.broker.timers) == 0


def test_a_parked_fetch_waits_for_min_bytes_or_its_time(harness: Harness) -> None:
    pending = harness.send(fetch(0, min_bytes=100_000, max_wait_ms=500), 11)
    fill(harness, batch(b"a"))
    assert not pending.is_answered
    harness.advance(500)
    (data,) = partitions(pending.response())
    assert base_offsets(data) == [0]


def test_a_session_answers_with_news_only(harness: Harness) -> None:
    fill(harness, batch(b"a"))
    opened = harness.call(fetch(0, 0, session_epoch=0), 11)
    assert opened.session_id > 0
    assert len(partitions(opened)) == 2
    again = FetchRequest(
        session_id=opened.session_id,
        session_epoch=1,
        max_bytes=1_000_000,
        topics=fetch(1).topics,
    )
    assert partitions(harness.call(again, 11)) == []
    fill(harness, batch(b"b"), partition=1)
    again = FetchRequest(session_id=opened.session_id, session_epoch=2, max_bytes=1_000_000, topics=[])
    (news,) = partitions(harness.call(again, 11))
    assert news.partition_index == 1
    refused = harness.call(again, 11)
    assert refused.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH


@pytest.mark.parametrize(
    ("change", "code"),
    [(1, ErrorCode.UNKNOWN_LEADER_EPOCH), (-1, ErrorCode.FENCED_LEADER_EPOCH)],
)
def test_leader_epochs_are_fenced(harness: Harness, change: int, code: ErrorCode) -> None:
    partition = harness.broker.topics.partition("t", 0)
    assert partition is not None
    partition.leader_epoch = 5
    request = fetch(0)
    request.topics[0].partitions[0].current_leader_epoch = 5 + change
    (data,) = partitions(harness.call(request, 11))
    assert data.error_code == code


def test_read_committed_tells_of_aborted_transactions_and_others_do_not(harness: Harness) -> None:
    fill(harness, batch(b"a"))
    (committed,) = partitions(harness.call(fetch(0, isolation_level=1), 11))
    (uncommitted,) = partitions(harness.call(fetch(0), 11))
    assert committed.aborted_transactions == []
    assert uncommitted.aborted_transactions is None


def test_a_deleted_topic_wakes_who_waits_there(harness: Harness) -> None:
    pending = harness.send(fetch(0, min_bytes=1, max_wait_ms=60_000), 11)
    topic = harness.broker.topics.by_name["t"]
    harness.broker.topics._remove(topic)
    (data,) = partitions(pending.response())
    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
