import asyncio
from typing import Any

import pytest

from odradek.client.client import Client, parse_address
from odradek.client.errors import ConnectError
from odradek.client.offsets import EARLIEST, FoundOffset, list_offsets
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from odradek.protocol.generated.metadata import MetadataResponse
from tests.unit.client.fake import METADATA, FakeBroker

LIST_OFFSETS = 2


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:9092", ("localhost", 9092)),
        (" broker ", ("broker", 9092)),
        ("[::1]:1234", ("::1", 1234)),
        ("[::1]", ("::1", 9092)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":9092", "a:b", "a:0", "a:70000"])
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(ConnectError, match="is no address"):
        parse_address(text)


def test_one_connection_serves_bootstrap_and_broker() -> None:
    async def scenario() -> None:
        async with FakeBroker({"t": 2}) as fake, Client(fake.address) as client:
            (topic,) = await client.topics(["t"])
            assert [partition.partition for partition in topic.partitions] == [0, 1]
            assert await client.broker(1) is await client.controller()
            assert await client.coordinator("g") is await client.any_broker()
            assert fake.connections == 1

    asyncio.run(scenario())


def test_the_second_bootstrap_address_is_tried() -> None:
    async def scenario() -> None:
        async with FakeBroker() as gone:
            pass
        async with FakeBroker() as fake, Client(f"{gone.address},{fake.address}") as client:
            assert (await client.cluster([])).cluster_id == "fake"

    asyncio.run(scenario())


def test_a_missing_topic_is_not_asked_for_again() -> None:
    async def scenario() -> None:
        async with FakeBroker() as fake, Client(fake.address) as client:
            with pytest.raises(ApiError, match="there is no topic t") as caught:
                await client.topics(["t"])
            assert caught.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    asyncio.run(scenario())


def test_a_topic_in_the_making_is_waited_for() -> None:
    async def scenario() -> None:
        async with FakeBroker() as fake:
            asked = 0

            def answer(request: Any) -> MetadataResponse:
                nonlocal asked
                asked += 1
                if asked == 2:
                    fake.topics["t"] = 1
                return fake.metadata(request)

            fake._answers[METADATA] = answer
            async with Client(fake.address) as client:
                (topic,) = await client.topics(["t"], create_missing=True)
                assert len(topic.partitions) == 1

    asyncio.run(scenario())


def test_a_partition_that_is_not_there() -> None:
    async def scenario() -> None:
        async with FakeBroker({"t": 1}) as fake, Client(fake.address) as client:
            with pytest.raises(ApiError, match="has no partition 5"):
                await client.leader(TopicPartition("t", 5))

    asyncio.run(scenario())


def test_a_dropped_connection_is_opened_again() -> None:
    async def scenario() -> None:
        async with FakeBroker() as fake, Client(fake.address) as client:
            fake.drop()
            await client.retrying(lambda: client.cluster([]))
            assert fake.connections == 2

    asyncio.run(scenario())


def test_offsets_are_asked_again_when_the_leader_moved() -> None:
    async def scenario() -> None:
        codes = [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NONE]

        def answer(request: ListOffsetsRequest) -> ListOffsetsResponse:
            partition = ListOffsetsPartitionResponse(
                error_code=codes.pop(0), offset=7, timestamp=-1, leader_epoch=3
            )
            return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=[partition])])

        async with FakeBroker({"t": 1}, {LIST_OFFSETS: answer}) as fake, Client(fake.address) as client:
            key = TopicPartition("t", 0)
            assert await list_offsets(client, {key: EARLIEST}) == {key: FoundOffset(7, -1, 3)}
            assert not codes

    asyncio.run(scenario())


def test_an_error_that_stays_is_raised_at_once() -> None:
    async def scenario() -> None:
        def answer(request: ListOffsetsRequest) -> ListOffsetsResponse:
            partition = ListOffsetsPartitionResponse(error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
            return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=[partition])])

        async with FakeBroker({"t": 1}, {LIST_OFFSETS: answer}) as fake, Client(fake.address) as client:
            with pytest.raises(ApiError, match="t-0"):
                await list_offsets(client, {TopicPartition("t", 0): EARLIEST})
            assert len(fake.asked) == 1

    asyncio.run(scenario())
