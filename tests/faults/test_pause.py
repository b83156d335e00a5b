"""The broker stops for longer than every timeout (SIGSTOP, as a paused machine does) and goes on."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.faults.checker import problems_of
from tests.faults.load import ConfluentLoad, Load
from tests.faults.test_kill_loop import TOPIC, Follower, committed_offsets, read_on, wait_for_progress
from tests.support.broker_process import BrokerProcess

pytestmark = [pytest.mark.clients, pytest.mark.slow]

TIMEOUT_MS = 4_000
PAUSE_S = 11
"""Longer than sockets, requests, group sessions, transactions and idle connections wait."""
TRANSACTION_TIMEOUT_MS = 5_000
PAUSES = 3


class ImpatientLoad(ConfluentLoad):
    """A producer whose requests time out soon, and whose records do not."""

    settings: ClassVar[dict[str, Any]] = {
        "socket.timeout.ms": TIMEOUT_MS,
        "request.timeout.ms": TIMEOUT_MS,
        "message.timeout.ms": 120_000,
    }


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    settings = {"group.initial.rebalance.delay.ms": "0", "connections.max.idle.ms": "8000"}
    broker = BrokerProcess(tmp_path / "data", settings).start()
    yield broker
    broker.kill()


@pytest.mark.timeout(600)
def test_a_broker_that_is_stopped_for_a_while_takes_nothing_back(broker: BrokerProcess) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result(60)
    loads: list[Load] = [
        ImpatientLoad("small", broker.bootstrap, TOPIC, 0, 100),
        ImpatientLoad("large", broker.bootstrap, TOPIC, 1, 8_000),
    ]
    for load in loads:
        load.start()
    follower = Follower(broker.bootstrap, 2, {"session.timeout.ms": 6_000, "socket.timeout.ms": TIMEOUT_MS})
    try:
        for _ in range(PAUSES):
            wait_for_progress(loads, broker)
            os.kill(broker.pid, signal.SIGSTOP)
            time.sleep(PAUSE_S)
            os.kill(broker.pid, signal.SIGCONT)
        paused = dict(follower.committed)
        wait_for_progress(loads, broker)
        deadline = time.monotonic() + 90
        while follower.committed == paused:
            assert time.monotonic() < deadline, "the group does not come back"
            time.sleep(0.05)
        for load in loads:
            load.stop()
        committed = dict(follower.committed)
    finally:
        follower.stop()
    assert not [failure for load in loads for failure in load.failures]
    acknowledged = {load.partition: load.acknowledged for load in loads}
    assert problems_of(acknowledged, read_on(broker.bootstrap, {0: [], 1: []})) == []
    kept = committed_offsets(broker.bootstrap, 2)
    assert all(kept[partition] >= offset for partition, offset in committed.items())


def transactional(broker: BrokerProcess, timeout_ms: int) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": broker.bootstrap,
            "transactional.id": "t",
            "transaction.timeout.ms": timeout_ms,
            "socket.timeout.ms": TIMEOUT_MS,
        }
    )
    producer.init_transactions(60)
    producer.begin_transaction()
    return producer


def committed_values(broker: BrokerProcess, count: int) -> list[bytes]:
    """The first ``count`` committed records of partition 0."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, 60) if not message.error()]
    finally:
        consumer.close()


@pytest.mark.timeout(600)
def test_a_transaction_that_a_pause_outlives_is_there_whole_or_not_at_all(broker: BrokerProcess) -> None:
    """Who comes first after the pause, the client's commit or the coordinator's timeout, decides."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(60)
    outlived = transactional(broker, TRANSACTION_TIMEOUT_MS)
    for value in (b"first", b"second"):
        outlived.produce(TOPIC, value, partition=0)
    assert outlived.flush(60) == 0
    os.kill(broker.pid, signal.SIGSTOP)
    time.sleep(PAUSE_S)
    os.kill(broker.pid, signal.SIGCONT)
    refusal: Any = None
    try:
        outlived.commit_transaction(60)
    except KafkaException as error:
        refusal = error.args[0]
    assert refusal is None or not refusal.retriable()
    expected = [b"first", b"second"] if refusal is None else []
    successor = transactional(broker, 60_000)
    successor.produce(TOPIC, b"third", partition=0)
    successor.commit_transaction(60)
    expected.append(b"third")
    assert committed_values(broker, len(expected)) == expected
