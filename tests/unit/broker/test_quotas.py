"""Quotas at work: who is throttled, how long, and that the others are not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.alter_client_quotas import (
    AlterClientQuotasRequest,
    OpData,
    RequestEntityData,
    RequestEntryData,
)
from odradek.protocol.generated.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.describe_client_quotas import (
    ComponentData,
    DescribeClientQuotasRequest,
)
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.protocol.generated.list_groups import ListGroupsRequest
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.protocol.generated.write_txn_markers import WriteTxnMarkersRequest
from tests.unit.broker.harness import Harness, batch
from tests.unit.broker.test_traffic import create

TEN_KB = batch(b"x" * 10_000)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path, quota_window_num="3")
    create(harness, "t")
    yield harness
    harness.stop()


def set_quota(harness: Harness, entity: dict[str, str | None], **limits: float | None) -> Any:
    entry = RequestEntryData(
        entity=[RequestEntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()],
        ops=[OpData(key=key, value=value or 0, remove=value is None) for key, value in limits.items()],
    )
    (result,) = harness.call(AlterClientQuotasRequest(entries=[entry])).entries
    assert result.error_code == 0, result.error_message
    return result


def produce(harness: Harness, *, acks: int = -1) -> Any:
    data = TopicProduceData(name="t", partition_data=[PartitionProduceData(index=0, records=TEN_KB)])
    return harness.call(ProduceRequest(acks=acks, timeout_ms=1000, topic_data=[data]), version=12)


def fetch(harness: Harness, *, epoch: int = -1, session: int = 0, max_wait_ms: int = 0) -> Any:
    partition = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    topics = [FetchTopic(topic="t", partitions=[partition])] if epoch < 1 else []
    request = FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=1,
        max_bytes=1 << 20,
        topics=topics,
        session_epoch=epoch,
        session_id=session,
    )
    return harness.call(request, version=11)


def found_bytes(response: Any) -> int:
    return sum(len(p.records or b"") for topic in response.responses for p in topic.partitions)


def test_a_producer_beyond_its_rate_is_told_and_left_alone(harness: Harness) -> None:
    muted: list[bool] = []
    harness.session.on_muted = muted.append
    set_quota(harness, {"client-id": "tester"}, producer_byte_rate=10_000)
    # Two windows of a second each are taken for granted: twice the rate goes through.
    assert produce(harness).throttle_time_ms == 0
    assert muted == []
    throttle_ms = produce(harness).throttle_time_ms
    assert 0 < throttle_ms < 100
    assert harness.broker.topics.by_name["t"].partitions[0].log.log_end_offset == 2
    assert muted == [True]
    harness.advance(throttle_ms - 1)
    assert muted == [True]
    harness.advance(1)
    assert muted == [True, False]
    assert harness.broker.quotas.throttled_ms == throttle_ms


def test_without_an_answer_only_the_connection_can_be_left_alone(harness: Harness) -> None:
    muted: list[bool] = []
    harness.session.on_muted = muted.append
    set_quota(harness, {"user": None}, producer_byte_rate=1_000)
    assert produce(harness, acks=0) is None
    assert muted == [True]


def test_others_and_removed_quotas_throttle_nobody(harness: Harness) -> None:
    set_quota(harness, {"client-id": "somebody else"}, producer_byte_rate=1)
    assert [produce(harness).throttle_time_ms for _ in range(5)] == [0] * 5
    set_quota(harness, {"client-id": "tester"}, producer_byte_rate=1)
    assert produce(harness).throttle_time_ms > 0
    set_quota(harness, {"client-id": "tester"}, producer_byte_rate=None)
    assert produce(harness).throttle_time_ms == 0


def test_nothing_is_wrapped_while_no_quota_is_set(harness: Harness) -> None:
    produce(harness)
    api = harness.broker.apis[0]
    plain = api.handle
    set_quota(harness, {"client-id": "c"}, producer_byte_rate=1)
    assert api.handle is not plain
    set_quota(harness, {"client-id": "c"}, producer_byte_rate=None)
    assert api.handle is plain
    set_quota(harness, {"ip": None}, connection_creation_rate=1)
    assert api.handle is plain


def test_a_throttled_fetch_is_empty_and_comes_again(harness: Harness) -> None:
    for _ in range(3):
        produce(harness)
    set_quota(harness, {"user": "ANONYMOUS"}, consumer_byte_rate=10_000)
    first = fetch(harness)
    # No more than the windows hold: two batches of ten thousand bytes would be too much.
    assert (first.throttle_time_ms, 10_000 < found_bytes(first) < 20_000) == (0, True)
    second = fetch(harness)
    assert second.throttle_time_ms > 0
    assert found_bytes(second) == 0
    harness.advance(4_000)
    third = fetch(harness)
    assert (third.throttle_time_ms, found_bytes(third)) == (0, found_bytes(first))


def test_a_throttled_session_is_told_later_what_it_missed(harness: Harness) -> None:
    session = fetch(harness, epoch=0).session_id
    set_quota(harness, {"user": None}, consumer_byte_rate=10_000)
    produce(harness)
    assert found_bytes(fetch(harness, epoch=1, session=session)) > 10_000
    throttled = fetch(harness, epoch=2, session=session)
    assert (throttled.session_id, throttled.responses) == (session, [])
    assert throttled.throttle_time_ms > 0
    harness.advance(4_000)
    again = fetch(harness, epoch=3, session=session)
    assert again.responses[0].partitions[0].high_watermark == 1


def test_a_parked_fetch_is_throttled_when_it_is_answered(harness: Harness) -> None:
    set_quota(harness, {"user": None}, consumer_byte_rate=1)
    partition = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    request = FetchRequest(
        max_wait_ms=500,
        min_bytes=1,
        max_bytes=1 << 20,
        topics=[FetchTopic(topic="t", partitions=[partition])],
    )
    waiting = harness.send(request, version=11)
    assert not waiting.is_answered
    produce(harness)
    response = waiting.response()
    assert response.throttle_time_ms > 0
    assert found_bytes(response) == 0


def test_time_of_the_thread(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    set_quota(harness, {"user": None}, request_percentage=1)
    harness.call(ListGroupsRequest())
    ticks = iter(range(0, 10**12, 5 * 10**8))  # each request takes half a second
    monkeypatch.setattr(harness.clock, "monotonic_ns", lambda: next(ticks))
    # 50 %·s, at 1 % over a window of two seconds; never longer than a window of one second.
    assert harness.call(ListGroupsRequest()).throttle_time_ms == 1_000


def test_answers_that_cannot_tell_are_given_all_the_same(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    muted: list[bool] = []
    harness.session.on_muted = muted.append
    set_quota(harness, {"user": None}, request_percentage=1)
    ticks = iter(range(0, 10**12, 5 * 10**8))
    monkeypatch.setattr(harness.clock, "monotonic_ns", lambda: next(ticks))
    assert harness.call(WriteTxnMarkersRequest(markers=[])).markers == []
    assert muted == [True]


def test_refusals_are_throttled_and_counted_too(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    set_quota(harness, {"user": None}, request_percentage=1)
    ticks = iter(range(0, 10**12, 5 * 10**8))
    monkeypatch.setattr(harness.clock, "monotonic_ns", lambda: next(ticks))
    asked = [ComponentData(entity_type="team", match_type=2, match=None)]
    refused = harness.call(DescribeClientQuotasRequest(components=asked))
    assert (refused.error_code, refused.throttle_time_ms) == (ErrorCode.UNSUPPORTED_VERSION, 1_000)
    assert harness.broker.apis[48].failures == 1


def test_mutations(harness: Harness) -> None:
    set_quota(harness, {"user": None}, controller_mutation_rate=1)

    def make(name: str, count: int, version: int = 7) -> Any:
        topic = CreatableTopic(
            name=name, num_partitions=count, replication_factor=1, assignments=[], configs=[]
        )
        response = harness.call(CreateTopicsRequest(topics=[topic], timeout_ms=0), version=version)
        return response.topics[0].error_code, response.throttle_time_ms

    # Eleven seconds are saved up; what goes beyond is lent once.
    assert make("a", 14) == (0, 0)
    assert make("b", 1) == (ErrorCode.THROTTLING_QUOTA_EXCEEDED, 3_000)
    assert "b" not in harness.broker.topics.by_name
    # Older clients cannot be told: they are held up.
    assert make("c", 1, version=4) == (0, 4_000)
    grow = CreatePartitionsTopic(name="a", count=15, assignments=None)
    grown = harness.call(CreatePartitionsRequest(topics=[grow], timeout_ms=0), version=3)
    assert grown.results[0].error_code == ErrorCode.THROTTLING_QUOTA_EXCEEDED
    gone = harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="a")], timeout_ms=0))
    assert gone.responses[0].error_code == ErrorCode.THROTTLING_QUOTA_EXCEEDED
    assert gone.throttle_time_ms == 4_000
    harness.advance(4_000)
    gone = harness.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="a")], timeout_ms=0))
    assert (gone.responses[0].error_code, gone.throttle_time_ms) == (0, 0)


def test_quotas_survive_a_restart(harness: Harness) -> None:
    set_quota(harness, {"client-id": "tester"}, producer_byte_rate=1)
    harness.restart()
    assert produce(harness).throttle_time_ms > 0


def test_describe(harness: Harness) -> None:
    set_quota(harness, {"user": "u", "client-id": None}, consumer_byte_rate=7)
    asked = [ComponentData(entity_type="user", match_type=0, match="u")]
    (entry,) = harness.call(DescribeClientQuotasRequest(components=asked)).entries
    assert [(part.entity_type, part.entity_name) for part in entry.entity] == [
        ("client-id", None),
        ("user", "u"),
    ]
    assert [(value.key, value.value) for value in entry.values] == [("consumer_byte_rate", 7)]
    asked = [ComponentData(entity_type="team", match_type=2, match=None)]
    refused = harness.call(DescribeClientQuotasRequest(components=asked))
    assert refused.error_code == ErrorCode.UNSUPPORTED_VERSION


def test_connections_of_an_address(harness: Harness) -> None:
    quotas = harness.broker.quotas
    assert quotas.connection_throttle_ms("10.0.0.1") == 0
    set_quota(harness, {"ip": "10.0.0.1"}, connection_creation_rate=1)
    assert [quotas.connection_throttle_ms("10.0.0.1") for _ in range(3)] == [0, 0, 1_000]
    assert quotas.connection_throttle_ms("10.0.0.2") == 0
    harness.advance(3_000)
    assert quotas.connection_throttle_ms("10.0.0.1") == 0
