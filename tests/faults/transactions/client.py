"""``python -m tests.faults.transactions.client JSON``: one client of a run, in a process that can be killed.

It works until it gets a SIGTERM, finishes the transaction that it is in, and ends. Once the file :data:`CALM`
is in its folder it aborts nothing any more.
"""

import faulthandler
import json
import logging
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.faults.transactions.history import Copied, Entry, Place, Writer
from tests.faults.transactions.producers import (
    PRODUCERS,
    Aborted,
    ConfluentProducer,
    TransactionalProducer,
)

logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)
logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)

ABORTED_ON_PURPOSE = 0.2
CALM = "calm"
SLOW = 0.1
"""Of the transactions, that many stay open for a while, so that others end behind them."""
PADDING = 3_000
FETCH_WAIT_MS = 50
PROTOCOLS: dict[str, dict[str, Any]] = {
    "classic": {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500},
    "consumer": {"group.protocol": "consumer"},  # its times are the broker's
}
"""A copier rejoins after each abort, and the others learn of it by their next heartbeat."""


@dataclass(frozen=True)
class Settings:
    """``name`` is the transactional id, ``life`` counts the processes that had it."""

    role: str
    name: str
    life: int
    bootstrap: str
    folder: str
    partitions: int
    library: str = "confluent"
    topic: str = ""
    target: str = ""
    group: str = ""
    protocol: str = "classic"

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Unacknowledged(Exception):
    """The library says that it committed, but not that it delivered every record: who knows."""


class Client:
    """What all roles have in common: the history, and when to end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.who = f"{settings.name}.{settings.life}"
        self.history = Writer(Path(settings.folder) / f"{self.who}.jsonl", self.who)
        self.chance = random.Random(self.who)
        self.calm = Path(settings.folder) / CALM
        self.stopping = False
        self.number = 0
        self.producer: TransactionalProducer | None = None
        signal.signal(signal.SIGTERM, self._stop)
        faulthandler.register(signal.SIGUSR1)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def note(self, text: str) -> None:
        self.history.write("note", text=text)

    def consumer(self, **more: Any) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.settings.bootstrap,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
                **more,
            }
        )

    def transact(
        self,
        records: list[tuple[Place, Copied | None]],
        offsets: dict[int, int],
        send_offsets: Callable[[ConfluentProducer], None] | None = None,
    ) -> bool:
        """One transaction, written down before and after; returns whether it is committed for certain."""
        self.number += 1
        name = f"{self.who}.{self.number}"
        wanted = [[place.topic, place.partition, *(source or ())] for place, source in records]
        try:
            if self.producer is None:
                make = PRODUCERS[self.settings.library]
                self.producer = make(self.settings.bootstrap, self.settings.name)
            producer = self.producer
            self.history.write("begin", transaction=name, records=wanted, offsets=offsets)
            committed = self._write(producer, name, records, send_offsets)
            if committed and len(producer.acknowledged) < len(records):
                raise Unacknowledged(f"{sorted(producer.acknowledged)} of {len(records)} were acknowledged")
        except Aborted as error:
            self.history.write("aborted", transaction=name)
            self.note(f"{name} was aborted: {error}")
            return False
        except Exception as error:  # each library has its own; what came of the transaction is not known
            self.note(f"the end of {name} is not known: {error!r}")
            self.producer = None
            time.sleep(0.1)
            return False
        word = "committed" if committed else "aborted"
        self.history.write(word, transaction=name, acknowledged=dict(producer.acknowledged))
        return committed

    def _write(
        self,
        producer: TransactionalProducer,
        name: str,
        records: list[tuple[Place, Copied | None]],
        send_offsets: Callable[[ConfluentProducer], None] | None,
    ) -> bool:
        producer.begin()
        for index, (place, source) in enumerate(records):
            padding = self.chance.randrange(PADDING) if self.chance.random() < 0.2 else 0
            value = Entry(name, index, len(records), source).to_bytes(padding)
            producer.send(index, place.topic, place.partition, value)
        if self.chance.random() < SLOW:
            producer.flush()
            time.sleep(self.chance.random() * 0.4)
        if send_offsets is not None:
            assert isinstance(producer, ConfluentProducer)
            send_offsets(producer)
        if self.chance.random() < ABORTED_ON_PURPOSE and not self.calm.exists():
            if self.chance.random() < 0.7:
                producer.flush()
            producer.abort()
            return False
        producer.commit()
        return True


def produce(client: Client) -> None:
    """Transactions of one to six records, spread over the partitions."""
    settings = client.settings
    while not client.stopping:
        places = [
            Place(settings.topic, client.chance.randrange(settings.partitions))
            for _ in range(client.chance.randrange(1, 7))
        ]
        client.transact([(place, None) for place in places], {})
        time.sleep(client.chance.random() * 0.03)


def copy(client: Client) -> None:
    """Reads ``topic`` as a member of a group, writes each record to ``target`` in a transaction."""
    settings = client.settings
    more = PROTOCOLS[settings.protocol]

    def join() -> Consumer:
        consumer = client.consumer(**{"group.id": settings.group, **more})
        consumer.subscribe([settings.topic])
        return consumer

    consumer = join()
    while not client.stopping:
        raws = [raw for raw in consumer.consume(client.chance.randrange(1, 30), 0.1) if not raw.error()]
        if not raws:
            continue
        offsets: dict[TopicPartition, int] = {}
        records: list[tuple[Place, Copied | None]] = []
        for raw in raws:
            offsets[TopicPartition(raw.topic(), raw.partition())] = raw.offset() + 1
            target = Place(settings.target, client.chance.randrange(settings.partitions))
            records.append((target, Copied(raw.partition(), raw.offset())))
        by_partition = {one.partition: offset for one, offset in offsets.items()}

        def send_offsets(producer: ConfluentProducer, offsets: Any = offsets, member: Any = consumer) -> None:
            producer.send_offsets(offsets, member)

        if not client.transact(records, by_partition, send_offsets):
            consumer.close()  # back to what is committed, as simply as an application would
            consumer = join()
    consumer.close()


def read(client: Client) -> None:
    """Follows all partitions of the topics from their beginning, and writes down what it is shown."""
    settings = client.settings
    consumer = client.consumer(**{"group.id": settings.name})
    consumer.assign(
        [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in settings.topic.split(",")
            for partition in range(settings.partitions)
        ]
    )
    while not client.stopping:
        found: dict[tuple[str, int], list[tuple[int, str]]] = {}
        for raw in consumer.consume(500, 0.1):
            if not raw.error():
                value = raw.value().decode().rstrip()
                found.setdefault((raw.topic(), raw.partition()), []).append((raw.offset(), value))
        for (topic, partition), records in found.items():
            client.history.write("read", topic=topic, partition=partition, records=records)
    consumer.close()


ROLES = {"produce": produce, "copy": copy, "read": read}


def main() -> None:
    settings = Settings(**json.loads(sys.argv[1]))
    ROLES[settings.role](Client(settings))


if __name__ == "__main__":
    main()
