"""The internal topics under much churn: they are compacted while it goes on, and a broker that is killed and
started again knows what it knew before.
"""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from odradek.client.client import Client
from odradek.client.group_offsets import commit_offsets, fetch_offsets
from odradek.client.groups import delete_group, list_groups
from odradek.client.transactions import describe_transaction
from odradek.core.ids import TopicPartition
from tests.support.broker_process import BrokerProcess

pytestmark = [pytest.mark.clients, pytest.mark.slow]

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "log.roll.ms": "300",
    "log.cleaner.backoff.ms": "100",
    "log.cleaner.min.cleanable.ratio": "0.01",
}
GROUPS = [f"g{number}" for number in range(8)]
DELETED = GROUPS[:3]
TRANSACTIONAL_IDS = [f"x{number}" for number in range(4)]
PARTITIONS = 4
ROUNDS = 60
INTERNAL = ("__consumer_offsets-0", "__transaction_state-0")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    broker = BrokerProcess(tmp_path / "data", SETTINGS).start()
    yield broker
    broker.kill()


@pytest.mark.timeout(600)
def test_internal_topics_are_compacted_and_their_state_survives_kill_9(broker: BrokerProcess) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("t", PARTITIONS, 1)])["t"].result(60)
    producers = [_producer(broker, name) for name in TRANSACTIONAL_IDS]
    for producer in producers:
        producer.init_transactions(60)
    for number in range(ROUNDS):
        asyncio.run(_commit(broker, number))
        for producer in producers:
            _transact(producer, is_committed=number % 3 != 0)
    asyncio.run(_delete_groups(broker))
    for _ in range(3):  # what is sealed last is compacted, too
        _wait_for_compaction(broker)
        asyncio.run(_commit(broker, ROUNDS))
        for producer in producers:
            _transact(producer, is_committed=True)
    before = asyncio.run(_state(broker))
    for round_number in range(2):
        broker.kill()
        broker.start()
        assert asyncio.run(_state(broker)) == before, f"after kill {round_number}"
    for name in TRANSACTIONAL_IDS:
        producer = _producer(broker, name)
        producer.init_transactions(60)
        _transact(producer, is_committed=True)
    assert set(asyncio.run(_state(broker))["groups"]) == set(GROUPS) - set(DELETED)


def _producer(broker: BrokerProcess, name: str) -> Producer:
    return Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name, "log_level": 0})


def _transact(producer: Producer, *, is_committed: bool) -> None:
    producer.begin_transaction()
    for partition in range(PARTITIONS):
        producer.produce("t", b"v", partition=partition)
    if is_committed:
        producer.commit_transaction(60)
    else:
        producer.flush(60)
        producer.abort_transaction(60)


async def _commit(broker: BrokerProcess, number: int) -> None:
    async with Client(broker.bootstrap) as client:
        for group in GROUPS if number < ROUNDS else GROUPS[len(DELETED) :]:
            where = {TopicPartition("t", partition): number + 1 for partition in range(PARTITIONS)}
            await commit_offsets(client, group, where)


async def _delete_groups(broker: BrokerProcess) -> None:
    async with Client(broker.bootstrap) as client:
        for group in DELETED:
            await delete_group(client, group)


def _compactions(broker: BrokerProcess) -> list[tuple[str, int, int]]:
    """Which log was compacted, from how many records to how many."""
    told = broker.log_path.read_text()
    found = re.findall(r"compacted (\S+) up to .*?, (\d+) → (\d+) records", told)
    return [(name, int(read), int(kept)) for name, read, kept in found]


def _wait_for_compaction(broker: BrokerProcess) -> None:
    """One pass more over each of the internal topics, which has made it smaller."""
    seen = len(_compactions(broker))
    deadline = time.monotonic() + 120
    while True:
        smaller = {name for name, read, kept in _compactions(broker)[seen:] if kept < read}
        if smaller >= set(INTERNAL):
            return
        assert time.monotonic() < deadline, broker.log_tail()
        asyncio.run(_commit(broker, ROUNDS))  # rolls are noticed by who appends
        producer = _producer(broker, "roller")
        producer.init_transactions(60)
        _transact(producer, is_committed=True)
        time.sleep(0.2)


async def _state(broker: BrokerProcess) -> dict[str, Any]:
    async with Client(broker.bootstrap) as client:
        groups = {
            group.group: {
                partition: committed.offset
                for partition, committed in (await fetch_offsets(client, group.group)).items()
            }
            for group in await list_groups(client)
        }
        transactions = {}
        for name in TRANSACTIONAL_IDS:
            deadline = time.monotonic() + 60
            while (found := await describe_transaction(client, name)).state.startswith("Prepare"):
                assert time.monotonic() < deadline, f"{name} stays {found.state}"
                await asyncio.sleep(0.02)  # the markers come a moment after the answer
            transactions[name] = (found.state, found.producer_id, found.producer_epoch, found.partitions)
        return {"groups": groups, "transactions": transactions}
