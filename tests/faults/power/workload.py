"""Clients of every kind at work on one broker for some seconds, who tell the trace what they do and are told.

``Told`` events, with what they mean:
    acked topic partition offset producer sequence     a record with acks=all
    read topic partition offset producer sequence      what a reader was shown
    kept key offset sequence                           a record of the compacted topic, acknowledged
    commit-asked / committed group partition offset    of the topic ``plain``
    trim-asked / trimmed partition offset              DeleteRecords of the topic ``plain``
    commit-txn / committed-txn number                  a transaction of TXN_RECORDS records in each partition
    abort-txn number
    created topic, delete-asked topic, deleted topic
"""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from odradek.client import admin as client_admin
from odradek.client.client import Client
from odradek.client.fetcher import Fetcher
from odradek.client.group_offsets import commit_offsets
from odradek.client.producer import Producer as OwnProducer
from odradek.core import ids
from odradek.testing import Broker
from tests.faults.checker import Entry, value_of
from tests.faults.power.recorder import RecordingDisk, Trace

PLAIN, COMPACTED, EXACT = "plain", "compacted", "exact"
GROUP, COPIERS = "readers", "copiers"
TRANSACTIONAL_ID = "copier"
TXN_RECORDS = 2
KEYS = 20
OUTSTANDING = 40
PATIENCE_S = 120.0
SETTINGS: dict[str, object] = {
    "log.flush.interval.messages": 1,
    "log.cleaner.backoff.ms": 100,
    "log.cleaner.min.cleanable.ratio": 0.01,
    "log.retention.check.interval.ms": 1_000,
    "log.roll.ms": 300,
    "transaction.state.log.num.partitions": 1,
    "auto.create.topics.enable": False,
}
TOPICS = {
    PLAIN: {"segment.ms": "400", "index.interval.bytes": "1000", "file.delete.delay.ms": "200"},
    COMPACTED: {"segment.ms": "150", "cleanup.policy": "compact", "file.delete.delay.ms": "200"},
    EXACT: {"segment.ms": "400"},
}


class Workload:
    """Everybody at once; :meth:`failures` is empty unless the broker did not do what it should."""

    def __init__(self, bootstrap: str, trace: Trace, seed: int) -> None:
        self.failures: list[str] = []
        self._bootstrap = bootstrap
        self._trace = trace
        self._seed = seed
        self._stopping = threading.Event()
        self._known_end = 0
        """Of the partition that is trimmed."""
        self._settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, "linger.ms": 1}

    def run(self, seconds: float, is_enough: Callable[[Trace], bool]) -> None:
        """For so long, and on until it is enough; then the power goes: nobody ends anything."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        topics = [NewTopic(name, 2 if name != COMPACTED else 1, 1, config=TOPICS[name]) for name in TOPICS]
        for future in admin.create_topics(topics).values():
            future.result(60)
        for name in TOPICS:
            self._trace.tell("created", name)
        work: list[Callable[[], None]] = [
            lambda: self._produce("p0", 0, 300),
            lambda: self._produce("p1", 1, 3_000),
            self._produce_keys,
            self._transact,
            self._trim,
            lambda: asyncio.run(self._with_client(self._commit)),
            lambda: asyncio.run(self._with_client(self._read)),
            lambda: asyncio.run(self._with_client(self._come_and_go)),
        ]
        threads = [threading.Thread(target=self._guard, args=(each,), daemon=True) for each in work]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        deadline = time.monotonic() + PATIENCE_S
        while not (is_enough(self._trace) or self.failures):
            assert time.monotonic() < deadline, "the clients do not get everything done"
            time.sleep(0.2)
        self._trace.end()
        self._stopping.set()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a client does not end"

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.failures.append(repr(error))

    # -- records

    def _produce(self, name: str, partition: int, size: int) -> None:
        def delivered(sequence: int) -> Callable[[Any, Any], None]:
            def call(error: Any, raw: Any) -> None:
                if error is None:
                    self._trace.tell("acked", PLAIN, partition, raw.offset(), name, sequence)
                    self._known_end = raw.offset() + 1 if partition == 1 else self._known_end
                else:
                    self.failures.append(f"{name}: {error}")

            return call

        self._send(
            name,
            lambda producer, rng, sequence: producer.produce(
                PLAIN,
                value_of(name, sequence, rng.randrange(size)),
                partition=partition,
                on_delivery=delivered(sequence),
            ),
        )

    def _produce_keys(self) -> None:
        def delivered(key: bytes, sequence: int) -> Callable[[Any, Any], None]:
            def call(error: Any, raw: Any) -> None:
                if error is None:
                    self._trace.tell("kept", key, raw.offset(), sequence)
                else:
                    self.failures.append(f"keys: {error}")

            return call

        def send(producer: Producer, rng: random.Random, sequence: int) -> None:
            key = b"key %d" % rng.randrange(KEYS)
            value = value_of("keys", sequence, rng.randrange(400))
            producer.produce(COMPACTED, value, key, on_delivery=delivered(key, sequence))

        self._send("keys", send)

    def _send(self, name: str, send: Callable[[Producer, random.Random, int], None]) -> None:
        producer = Producer({**self._settings, "enable.idempotence": True})
        rng = random.Random(f"{name} {self._seed}")
        sequence = 0
        while not self._stopping.is_set():
            while len(producer) >= OUTSTANDING and not self._stopping.is_set():
                producer.poll(0.01)
            send(producer, rng, sequence)
            sequence += 1
            producer.poll(0.001)
        producer.flush(60)

    def _transact(self) -> None:
        rng = random.Random(f"transactions {self._seed}")
        producer = Producer({**self._settings, "transactional.id": TRANSACTIONAL_ID})
        copier = Consumer({"bootstrap.servers": self._bootstrap, "group.id": COPIERS, "log_level": 0})
        producer.init_transactions(60)
        number = 0
        while not self._stopping.is_set():
            producer.begin_transaction()
            for partition in (0, 1):
                for index in range(TXN_RECORDS):
                    producer.produce(
                        EXACT, value_of("txn", TXN_RECORDS * number + index), partition=partition
                    )
            if rng.random() < 0.2:
                producer.flush(60)
                self._trace.tell("abort-txn", number)
                producer.abort_transaction(60)
            else:
                where = TopicPartition(PLAIN, 0, number + 1)
                producer.send_offsets_to_transaction([where], copier.consumer_group_metadata(), 60)
                self._trace.tell("commit-asked", COPIERS, 0, number + 1)
                self._trace.tell("commit-txn", number)
                producer.commit_transaction(60)
                self._trace.tell("committed-txn", number)
                self._trace.tell("committed", COPIERS, 0, number + 1)
            number += 1
            time.sleep(0.005)
        copier.close()

    def _trim(self) -> None:
        admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        offset = 0
        while not self._stopping.wait(0.3):
            offset = min(offset + 5, self._known_end)
            self._trace.tell("trim-asked", 1, offset)
            where = TopicPartition(PLAIN, 1, offset)
            for future in admin.delete_records([where]).values():
                self._trace.tell("trimmed", 1, future.result(60).low_watermark)

    # -- with a client of our own

    async def _with_client(self, work: Callable[[Client], Awaitable[None]]) -> None:
        async with Client(self._bootstrap) as client:
            await work(client)

    async def _commit(self, client: Client) -> None:
        offset = 0
        while not self._stopping.is_set():
            offset += 1
            for partition in (0, 1):
                self._trace.tell("commit-asked", GROUP, partition, offset)
            where = {ids.TopicPartition(PLAIN, partition): offset for partition in (0, 1)}
            await commit_offsets(client, GROUP, where)
            for partition in (0, 1):
                self._trace.tell("committed", GROUP, partition, offset)
            await asyncio.sleep(0.002)

    async def _read(self, client: Client) -> None:
        fetcher = Fetcher(client, {ids.TopicPartition(PLAIN, 0): 0})
        while not self._stopping.is_set():
            for fetched in await fetcher.poll(50):
                for record in fetched.records:
                    entry = Entry.parse(record.offset, record.value or b"")
                    self._trace.tell("read", PLAIN, 0, *entry)
        fetcher.close()

    async def _come_and_go(self, client: Client) -> None:
        rng = random.Random(f"topics {self._seed}")
        there: list[str] = []
        number = 0
        while not self._stopping.is_set():
            name = f"t{number}"
            await client_admin.create_topic(client, name, partitions=1, configs={"segment.ms": "100"})
            self._trace.tell("created", name)
            there.append(name)
            number += 1
            producer = OwnProducer(client, name)
            await producer.start()
            for offset in range(3):
                await producer.send(value_of("own", offset))
                await producer.flush()
                self._trace.tell("acked", name, 0, offset, "own", offset)
            if len(there) > 3:
                gone = there.pop(rng.randrange(len(there)))
                self._trace.tell("delete-asked", gone)
                await client_admin.delete_topic(client, gone)
                self._trace.tell("deleted", gone)
            await asyncio.sleep(0.03)


def record(
    folder: Path,
    seconds: float,
    seed: int,
    patch: pytest.MonkeyPatch,
    *,
    is_sound: bool = True,
    is_enough: Callable[[Trace], bool] = lambda trace: True,
) -> Trace:
    """What a broker on real files in ``folder`` does while everybody works for ``seconds``, and on until it
    ``is_enough``. One that ``is_sound`` gives nobody an error."""
    trace = Trace(str(folder))
    disk = RecordingDisk(trace)
    patch.setattr("odradek.app.SystemDisk", lambda: disk)
    patch.setattr("odradek.server.worker.SystemDisk", lambda: disk)
    with Broker(config={**SETTINGS, "log.dirs": folder}) as broker:
        workload = Workload(broker.bootstrap_servers, trace, seed)
        workload.run(seconds, is_enough)
        broker.kill()
    assert not (is_sound and workload.failures), workload.failures
    return trace
