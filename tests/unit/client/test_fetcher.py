import asyncio

import pytest

from odradek.client.client import Client
from odradek.client.fetcher import Fetched, Fetcher
from odradek.client.offsets import EARLIEST
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
from odradek.records.errors import CorruptBatchError
from odradek.records.record import Record
from tests.unit.client.fake import FakeBroker

FETCH, LIST_OFFSETS = 1, 2
KEY = TopicPartition("t", 0)


def batch(base_offset: int, count: int) -> bytearray:
    return build_batch([Record(0, 0, None, b"v%d" % (base_offset + n)) for n in range(count)], base_offset)


def answer(records: bytes = b"", code: ErrorCode = ErrorCode.NONE) -> FetchResponse:
    data = PartitionData(partition_index=0, error_code=code, high_watermark=100, records=records)
    return FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[data])])


class Log:
    """Answers fetches from ``batches`` by the base offset asked for, and waits where there is nothing."""

    def __init__(self, batches: dict[int, bytes]) -> None:
        self.batches = batches

    async def fetch(self, request: FetchRequest) -> FetchResponse:
        (partition,) = request.topics[0].partitions
        if partition.fetch_offset not in self.batches:
            await asyncio.sleep(request.max_wait_ms / 1000)
        return answer(self.batches.get(partition.fetch_offset, b""))


async def poll(broker: FakeBroker, offset: int, count: int, reset: int | None = None) -> list[Fetched]:
    async with Client(broker.address) as client:
        fetcher = Fetcher(client, {KEY: offset}, reset=reset)
        try:
            found: list[Fetched] = []
            while sum(len(fetched.records) for fetched in found) < count:
                found += await fetcher.poll(20)
            return found
        finally:
            fetcher.close()


def test_reading_goes_on_where_the_last_batch_ended() -> None:
    async def scenario() -> None:
        log = Log({0: bytes(batch(0, 2)) + bytes(batch(2, 1)), 3: bytes(batch(3, 1))})
        async with FakeBroker({"t": 1}, {FETCH: log.fetch}) as broker:
            found = await poll(broker, 0, 4)
            assert [record.value for fetched in found for record in fetched.records] == [
                b"v0",
                b"v1",
                b"v2",
                b"v3",
            ]
            assert (found[0].next_offset, found[0].high_watermark) == (3, 100)

    asyncio.run(scenario())


def test_records_before_the_asked_offset_and_markers_are_left_out() -> None:
    async def scenario() -> None:
        marker = build_marker(1, 0, True, 0, 0)
        marker[:8] = (3).to_bytes(8, "big")
        log = Log({2: bytes(batch(0, 3)) + bytes(marker) + bytes(batch(4, 1))})
        async with FakeBroker({"t": 1}, {FETCH: log.fetch}) as broker:
            (found,) = await poll(broker, 2, 2)
            assert [record.offset for record in found.records] == [2, 4]
            assert found.next_offset == 5

    asyncio.run(scenario())


def test_a_batch_that_was_changed_on_the_way_is_not_handed_out() -> None:
    async def scenario() -> None:
        broken = batch(0, 1)
        broken[-2] ^= 1
        async with FakeBroker({"t": 1}, {FETCH: lambda request: answer(bytes(broken))}) as broker:
            with pytest.raises(CorruptBatchError):
                await poll(broker, 0, 1)

    asyncio.run(scenario())


def test_an_offset_that_is_not_there_is_an_error_or_a_reset() -> None:
    async def scenario() -> None:
        def fetch(request: FetchRequest) -> FetchResponse:
            offset = request.topics[0].partitions[0].fetch_offset
            return answer(bytes(batch(7, 1))) if offset == 7 else answer(code=ErrorCode.OFFSET_OUT_OF_RANGE)

        def offsets(request: ListOffsetsRequest) -> ListOffsetsResponse:
            partition = ListOffsetsPartitionResponse(offset=7)
            return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=[partition])])

        async with FakeBroker({"t": 1}, {FETCH: fetch, LIST_OFFSETS: offsets}) as broker:
            with pytest.raises(ApiError) as caught:
                await poll(broker, 3, 1)
            assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
            found = await poll(broker, 3, 1, reset=EARLIEST)
            assert found[-1].records[0].offset == 7

    asyncio.run(scenario())


def test_what_was_in_flight_for_another_assignment_is_dropped() -> None:
    async def scenario() -> None:
        log = Log({0: bytes(batch(0, 1)), 5: bytes(batch(5, 1))})
        async with FakeBroker({"t": 1}, {FETCH: log.fetch}) as broker, Client(broker.address) as client:
            fetcher = Fetcher(client, {KEY: 0})
            await fetcher.poll(0)
            fetcher.assign({KEY: 5})
            found: list[Fetched] = []
            while not found:
                found = await fetcher.poll(20)
            assert found[0].records[0].offset == 5
            fetcher.drop([KEY])
            assert await fetcher.poll(1) == []
            fetcher.close()

    asyncio.run(scenario())
