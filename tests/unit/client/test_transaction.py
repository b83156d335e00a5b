"""A transactional producer against the in-process broker."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from odradek.client.client import Client
from odradek.client.fetcher import Fetcher
from odradek.client.offsets import LATEST, Isolation, list_offsets
from odradek.client.producer import Producer
from odradek.client.transaction import Transaction
from odradek.client.transactions import describe_transaction
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.testing import Broker


def run(broker: Broker, work: Callable[[Client], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with Client(broker.bootstrap_servers) as client:
            await work(client)

    asyncio.run(scenario())


async def started(client: Client, topic: str) -> tuple[Transaction, Producer]:
    transaction = Transaction(client, f"{topic}-id", 60_000)
    producer = Producer(client, topic, transaction=transaction)
    await producer.start()
    return transaction, producer


async def read(client: Client, topic: str, isolation: Isolation) -> list[bytes | None]:
    key = TopicPartition(topic, 0)
    end = (await list_offsets(client, {key: LATEST}, isolation))[key].offset
    fetcher = Fetcher(client, {key: 0}, isolation=isolation)
    values: list[bytes | None] = []
    while fetcher.positions[key] < end:
        for fetched in await fetcher.poll(100):
            values += [record.value for record in fetched.records]
    fetcher.close()
    return values


def test_what_is_committed_is_read_and_what_is_aborted_is_not(
    odradek_broker: Broker, odradek_topic: str
) -> None:
    async def work(client: Client) -> None:
        for value, commit in ((b"a", True), (b"b", False), (b"c", True)):
            transaction, producer = await started(client, odradek_topic)
            await producer.send(value)
            await producer.flush()
            await transaction.end(commit=commit)
        assert await read(client, odradek_topic, Isolation.READ_COMMITTED) == [b"a", b"c"]
        assert await read(client, odradek_topic, Isolation.READ_UNCOMMITTED) == [b"a", b"b", b"c"]

    run(odradek_broker, work)


def test_an_open_transaction_holds_up_committed_readers(odradek_broker: Broker, odradek_topic: str) -> None:
    async def work(client: Client) -> None:
        transaction, producer = await started(client, odradek_topic)
        await producer.send(b"a")
        await producer.flush()
        found = await describe_transaction(client, transaction.transactional_id)
        assert (found.state, found.partitions) == ("Ongoing", [TopicPartition(odradek_topic, 0)])
        assert await read(client, odradek_topic, Isolation.READ_COMMITTED) == []
        await transaction.end(commit=True)
        assert await read(client, odradek_topic, Isolation.READ_COMMITTED) == [b"a"]

    run(odradek_broker, work)


def test_who_begins_shuts_out_who_was_there(odradek_broker: Broker, odradek_topic: str) -> None:
    async def work(client: Client) -> None:
        old, producer = await started(client, odradek_topic)
        await producer.send(b"a")
        await producer.flush()
        new, _ = await started(client, odradek_topic)
        assert new.producer_epoch > old.producer_epoch
        with pytest.raises(ApiError, match="another producer has taken the id") as caught:
            await old.end(commit=True)
        assert caught.value.code in (ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH)
        assert await read(client, odradek_topic, Isolation.READ_COMMITTED) == []

    run(odradek_broker, work)


def test_ending_what_was_never_written_to_asks_nobody(odradek_broker: Broker, odradek_topic: str) -> None:
    async def work(client: Client) -> None:
        transaction, _ = await started(client, odradek_topic)
        await transaction.end(commit=True)
        assert (await describe_transaction(client, transaction.transactional_id)).state == "Empty"

    run(odradek_broker, work)
