"""kill -9 in a loop, under load: after each restart every acknowledged record is there once, in order.
The same for SIGTERM, as in rolling restarts.

``ODRADEK_KILL_ROUNDS`` asks for an exact number of rounds; else it is 50, or what a busy machine gets done in
80 s. ``ODRADEK_KILL_SEED`` sets the seed of the waits before a kill.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.faults.checker import Entry, problems_of
from tests.faults.load import AiokafkaLoad, ConfluentLoad, KafkaPythonLoad, Load
from tests.support.broker_process import BrokerProcess

pytestmark = [pytest.mark.clients, pytest.mark.slow]

ROUNDS = int(os.environ.get("ODRADEK_KILL_ROUNDS", "50"))
SECONDS = float("inf") if "ODRADEK_KILL_ROUNDS" in os.environ else 80
CLEAN_STOPS = 8
READ_ALL_EVERY = 10
"""Rounds; in between only what is new is read, as what was read once rarely changes."""
SEED = int(os.environ.get("ODRADEK_KILL_SEED", str(time.time_ns() % 1_000_000)))
TOPIC = "acknowledged"
GROUP = "followers"
Log = dict[int, list[Entry]]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    broker = BrokerProcess(tmp_path / "data", {"group.initial.rebalance.delay.ms": "0"}).start()
    yield broker
    broker.kill()


def client_of(bootstrap: str) -> dict[str, Any]:
    """The connection settings of a client that is not to tell of every refused connection."""
    return {"bootstrap.servers": bootstrap, "log_level": 0}


class Follower:
    """A member of a group that reads along and commits; it remembers the commits that were answered."""

    def __init__(self, bootstrap: str, partitions: int, settings: Mapping[str, Any] | None = None) -> None:
        self._settings = dict(settings or {})
        self.committed = dict.fromkeys(range(partitions), 0)
        self.failure: str | None = None
        self._stopping = threading.Event()
        self._bootstrap = bootstrap
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(60)

    def _run(self) -> None:
        consumer = Consumer(
            {
                **client_of(self._bootstrap),
                **self._settings,
                "group.id": GROUP,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([TOPIC])
        while not self._stopping.is_set():
            for raw in consumer.consume(100, 0.2):
                if raw.error() is not None and raw.error().fatal():
                    self.failure = raw.error().str()
            try:
                answered = consumer.commit(asynchronous=False)
            except KafkaException:
                continue  # nothing new, or nobody there
            for one in answered:
                if one.error is None and one.offset >= 0:
                    self.committed[one.partition] = one.offset
        consumer.close()


def read_on(bootstrap: str, known: Log) -> Log:
    """``known`` and every record that a reader is shown behind it."""
    consumer = Consumer({**client_of(bootstrap), "group.id": "nobody", "enable.auto.commit": False})
    try:
        log = {partition: list(entries) for partition, entries in known.items()}
        ends, starts = {}, []
        for partition, entries in log.items():
            where = TopicPartition(TOPIC, partition, entries[-1].offset + 1 if entries else 0)
            ends[partition] = eventually(
                lambda where=where: consumer.get_watermark_offsets(where, timeout=10)
            )[1]
            starts.append(where)
        consumer.assign(starts)
        deadline = time.monotonic() + 60
        while any(ends[number] > (log[number][-1].offset + 1 if log[number] else 0) for number in log):
            assert time.monotonic() < deadline, "the log could not be read to its end"
            for raw in consumer.consume(5_000, 0.05):
                if raw.error() is None:
                    log[raw.partition()].append(Entry.parse(raw.offset(), raw.value()))
        return log
    finally:
        consumer.close()


def eventually(ask: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """The answer of ``ask``, asked again while the client says that the broker is not there (yet)."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def committed_offsets(bootstrap: str, partitions: int) -> dict[int, int]:
    consumer = Consumer({**client_of(bootstrap), "group.id": GROUP, "enable.auto.commit": False})
    try:
        asked = [TopicPartition(TOPIC, partition) for partition in range(partitions)]
        answer = eventually(lambda: consumer.committed(asked, timeout=10))
        return {one.partition: max(one.offset, 0) for one in answer}
    finally:
        consumer.close()


def wait_for_progress(loads: list[Load], broker: BrokerProcess) -> None:
    """Until every producer got acknowledgements from the broker as it runs now."""
    before = [len(load.acknowledged) for load in loads]
    deadline = time.monotonic() + 90
    while any(len(load.acknowledged) <= count for load, count in zip(loads, before, strict=True)):
        stuck = [
            load.name for load, count in zip(loads, before, strict=True) if len(load.acknowledged) <= count
        ]
        assert time.monotonic() < deadline, f"no acknowledgements for {stuck}:\n{broker.log_tail()}"
        assert broker.is_running, broker.log_tail()
        time.sleep(0.005)


@pytest.mark.timeout(300 + ROUNDS * 15)
def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9(broker: BrokerProcess) -> None:
    restart_under_load(broker, broker.kill, ROUNDS)


@pytest.mark.timeout(300 + CLEAN_STOPS * 15)
def test_nothing_acknowledged_is_lost_or_doubled_by_sigterm(broker: BrokerProcess) -> None:
    restart_under_load(broker, broker.stop, CLEAN_STOPS)


def restart_under_load(broker: BrokerProcess, end: Callable[[], object], rounds: int) -> None:
    """Ends the broker ``rounds`` times while five producers and a group are at work, and checks each time."""
    chance = random.Random(SEED)
    admin = AdminClient(client_of(broker.bootstrap))
    loads: list[Load] = [
        ConfluentLoad("confluent-small", broker.bootstrap, TOPIC, 0, 100),
        ConfluentLoad("confluent-large", broker.bootstrap, TOPIC, 1, 8_000),
        KafkaPythonLoad("kafka-python", broker.bootstrap, TOPIC, 2, 100),
        AiokafkaLoad("aiokafka", broker.bootstrap, TOPIC, 3, 100),
        ConfluentLoad("confluent-shared", broker.bootstrap, TOPIC, 0, 300),
    ]
    partitions = 4
    admin.create_topics([NewTopic(TOPIC, partitions, 1)])[TOPIC].result(60)
    for load in loads:
        load.start()
    follower = Follower(broker.bootstrap, partitions)
    created: set[str] = set()
    nothing: Log = {partition: [] for partition in range(partitions)}
    log = nothing
    began = time.monotonic()
    number = -1
    try:
        while number + 1 < rounds and time.monotonic() - began < SECONDS:
            number += 1
            wait_for_progress(loads, broker)
            topic = f"made-in-round-{number}"
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
            created.add(topic)
            time.sleep(chance.random() * 0.3)
            end()
            acknowledged: dict[int, list[Entry]] = {partition: [] for partition in range(partitions)}
            for load in loads:
                acknowledged[load.partition] += load.acknowledged[:]
            commits = dict(follower.committed)
            broker.start()
            log = read_on(broker.bootstrap, nothing if number % READ_ALL_EVERY == 0 else log)
            problems = problems_of(acknowledged, log)
            assert not problems, f"seed {SEED}, round {number}: {len(problems)} problems: {problems[:10]}"
            topics = set(eventually(lambda: admin.list_topics(timeout=10)).topics)
            assert created <= topics, f"seed {SEED}, round {number}: lost topics {created - topics}"
            kept = committed_offsets(broker.bootstrap, partitions)
            for partition, offset in commits.items():
                assert kept[partition] >= offset, (
                    f"seed {SEED}, round {number}: a commit of {offset} was lost"
                )
    finally:
        follower.stop()
        for load in loads:
            load.stop()
    assert follower.failure is None
    assert not [failure for load in loads for failure in load.failures], f"seed {SEED}"
    acknowledged = {partition: [] for partition in range(partitions)}
    for load in loads:
        assert len(load.acknowledged) == load.sent, load.name
        acknowledged[load.partition] += load.acknowledged
    assert problems_of(acknowledged, read_on(broker.bootstrap, nothing)) == []
    print(f"{number + 1} rounds, {sum(len(entries) for entries in acknowledged.values())} records")
