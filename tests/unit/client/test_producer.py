import asyncio
from collections.abc import Callable

import pytest

from odradek.client.client import Client
from odradek.client.producer import Producer
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.protocol.generated.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from odradek.records.batch import read_header
from odradek.records.record import Record, read_records
from tests.unit.client.fake import FakeBroker

PRODUCE, INIT_PRODUCER_ID = 0, 22


def partition_of(request: ProduceRequest) -> tuple[int, memoryview]:
    (data,) = request.topic_data[0].partition_data
    assert isinstance(data.records, memoryview)
    return data.index, data.records


def accept(request: ProduceRequest, code: ErrorCode = ErrorCode.NONE) -> ProduceResponse | None:
    if request.acks == 0:
        return None
    answer = PartitionProduceResponse(index=partition_of(request)[0], error_code=code)
    return ProduceResponse(responses=[TopicProduceResponse(name="t", partition_responses=[answer])])


def init(request: InitProducerIdRequest) -> InitProducerIdResponse:
    return InitProducerIdResponse(producer_id=77, producer_epoch=2)


def fake(partitions: int, produce: Callable[[ProduceRequest], object] = accept) -> FakeBroker:
    return FakeBroker({"t": partitions}, {PRODUCE: produce, INIT_PRODUCER_ID: init})


def batches(broker: FakeBroker) -> list[tuple[int, list[Record]]]:
    found = [partition_of(request) for request in broker.asked if isinstance(request, ProduceRequest)]
    return [(partition, read_records(records)) for partition, records in found]


def test_records_sent_together_share_a_batch_and_sequences_go_on() -> None:
    async def scenario() -> None:
        async with fake(1) as broker, Client(broker.address) as client:
            producer = Producer(client, "t")
            await producer.start()
            for number in range(3):
                await producer.send(b"v%d" % number, b"k", (("h", b"x"),), timestamp=1000 + number)
            await producer.flush()
            await producer.send(b"last")
            await producer.flush()
            assert producer.acknowledged == 4
            (_, first), (_, second) = batches(broker)
            assert first[2] == Record(2, 1002, b"k", b"v2", (("h", b"x"),))
            assert [record.value for record in second] == [b"last"]
            headers = [read_header(partition_of(request)[1]) for request in broker.asked[1:]]
            assert [(header.producer_id, header.base_sequence) for header in headers] == [(77, 0), (77, 3)]

    asyncio.run(scenario())


def test_a_batch_ends_at_its_size() -> None:
    async def scenario() -> None:
        async with fake(1) as broker, Client(broker.address) as client:
            producer = Producer(client, "t", batch_bytes=100)
            await producer.start()
            for _ in range(5):
                await producer.send(b"x" * 20, partition=0)
            await producer.flush()
            assert [len(records) for _, records in batches(broker)] == [2, 2, 1]

    asyncio.run(scenario())


def test_keys_decide_and_keyless_records_stay_together() -> None:
    async def scenario() -> None:
        async with fake(4) as broker, Client(broker.address) as client:
            producer = Producer(client, "t", acks=1)
            await producer.start()
            for _ in range(3):
                await producer.send(b"a", b"foobar")
                await producer.send(b"b")
            await producer.flush()
            found = batches(broker)
            assert (2, [b"a"] * 3) in [
                (partition, [record.value for record in records if record.key])
                for partition, records in found
            ]
            assert sum(1 for _, records in found if any(record.key is None for record in records)) == 1

    asyncio.run(scenario())


def test_a_retriable_refusal_is_tried_again_with_the_same_sequence() -> None:
    codes = [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.DUPLICATE_SEQUENCE_NUMBER]

    async def scenario() -> None:
        async with fake(1, lambda request: accept(request, codes.pop(0))) as broker:
            async with Client(broker.address) as client:
                producer = Producer(client, "t")
                await producer.start()
                await producer.send(b"v")
                await producer.flush()
            first, second = (bytes(partition_of(request)[1]) for request in broker.asked[1:])
            assert first == second

    asyncio.run(scenario())


def test_a_refused_record_fails_the_flush_and_what_follows() -> None:
    async def scenario() -> None:
        async with (
            fake(1, lambda request: accept(request, ErrorCode.INVALID_RECORD)) as broker,
            Client(broker.address) as client,
        ):
            producer = Producer(client, "t")
            await producer.start()
            await producer.send(b"v")
            with pytest.raises(ApiError, match="t-0 refused"):
                await producer.flush()
            with pytest.raises(ApiError):
                await producer.send(b"w")
            assert producer.acknowledged == 0

    asyncio.run(scenario())


def test_a_batch_that_is_too_large_is_halved() -> None:
    def accept_two(request: ProduceRequest) -> ProduceResponse | None:
        count = len(read_records(partition_of(request)[1]))
        return accept(request, ErrorCode.MESSAGE_TOO_LARGE if count > 2 else ErrorCode.NONE)

    async def scenario() -> None:
        async with fake(1, accept_two) as broker, Client(broker.address) as client:
            producer = Producer(client, "t")
            await producer.start()
            for number in range(5):
                await producer.send(b"%d" % number)
            await producer.flush()
            taken = [
                [record.value for record in records] for _, records in batches(broker) if len(records) < 3
            ]
            assert [value for values in taken for value in values] == [b"0", b"1", b"2", b"3", b"4"]
            assert producer.acknowledged == 5

    asyncio.run(scenario())


def test_without_acks_a_flush_still_waits_for_the_broker_to_have_read() -> None:
    async def scenario() -> None:
        async with fake(1) as broker, Client(broker.address) as client:
            producer = Producer(client, "t", acks=0)
            await producer.start()
            await producer.send(b"v")
            await producer.flush()
            assert [len(records) for _, records in batches(broker)] == [1]

    asyncio.run(scenario())


def test_a_partition_that_is_not_there() -> None:
    async def scenario() -> None:
        async with fake(2) as broker, Client(broker.address) as client:
            producer = Producer(client, "t", acks=1)
            await producer.start()
            with pytest.raises(ApiError, match="there is no 2"):
                await producer.send(b"v", partition=2)

    asyncio.run(scenario())
