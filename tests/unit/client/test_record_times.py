import asyncio

import pytest

from odradek.client.client import Client
from odradek.client.record_times import record_times
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)
from odradek.protocol.generated.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from odradek.records.builder import build_batch
from odradek.records.control import build_marker
from odradek.records.record import Record
from tests.unit.client.fake import FakeBroker

FETCH, LIST_OFFSETS = 1, 2


def marker(offset: int) -> bytearray:
    found = build_marker(1, 0, True, 0, 5)
    found[:8] = offset.to_bytes(8, "big")
    return found


BATCHES = {
    0: build_batch([Record(0, 0, None, b"")], 2),
    2: build_batch([Record(2, 100, None, b""), Record(3, 101, None, b"")], 2),
    3: build_batch([Record(2, 100, None, b""), Record(3, 101, None, b"")], 2),
    4: marker(4),
    5: build_batch([Record(5, 102, None, b"")], 5),
}
START = 2
REFUSED = {70: ErrorCode.INVALID_TOPIC_EXCEPTION, 71: ErrorCode.TOPIC_AUTHORIZATION_FAILED}


def fetch(request: FetchRequest) -> FetchResponse:
    assert request.max_bytes == 1
    (topic,) = request.topics
    (asked,) = topic.partitions
    code = ErrorCode.OFFSET_OUT_OF_RANGE if asked.fetch_offset < START else ErrorCode.NONE
    records = bytes(BATCHES.get(asked.fetch_offset, b"")) if not code else None
    data = PartitionData(partition_index=asked.partition, error_code=code, records=records)
    return FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[data])])


def offsets(request: ListOffsetsRequest) -> ListOffsetsResponse:
    partition = ListOffsetsPartitionResponse(offset=START)
    return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=[partition])])


@pytest.mark.parametrize(
    ("offset", "timestamp"),
    [
        pytest.param(2, 100, id="first of a batch"),
        pytest.param(3, 101, id="inside a batch"),
        pytest.param(4, 102, id="a marker is passed over"),
        pytest.param(0, 100, id="deleted: the first that is left"),
        pytest.param(6, None, id="the end"),
    ],
)
def test_times(offset: int, timestamp: int | None) -> None:
    async def scenario() -> None:
        answers = {FETCH: fetch, LIST_OFFSETS: offsets}
        async with FakeBroker({"t": 1}, answers) as broker, Client(broker.address) as client:
            found = await record_times(client, {TopicPartition("t", 0): offset})
            assert found.get(TopicPartition("t", 0)) == timestamp

    asyncio.run(scenario())


def test_many_partitions_are_asked_at_once_and_a_refusal_is_raised() -> None:
    def refuse(request: FetchRequest) -> FetchResponse:
        (topic,) = request.topics
        partition = topic.partitions[0].partition
        code = REFUSED.get(partition, ErrorCode.NONE)
        if code:
            data = PartitionData(partition_index=partition, error_code=code)
            return FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[data])])
        return fetch(request)

    async def scenario() -> None:
        async with FakeBroker({"t": 72}, {FETCH: refuse}) as broker, Client(broker.address) as client:
            positions = {TopicPartition("t", number): 5 for number in range(70)}
            hidden = {TopicPartition("t", 71): 5}
            assert await record_times(client, positions | hidden) == dict.fromkeys(positions, 102)
            with pytest.raises(ApiError, match="t-70"):
                await record_times(client, {TopicPartition("t", 70): 5})

    asyncio.run(scenario())
