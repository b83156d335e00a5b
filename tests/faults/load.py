"""Producers that keep publishing while the broker comes and goes, and remember what was acknowledged.

Each is a client library with acks=all and idempotence, which is the default of most; a record is handed to
its library once, and only the library sends it again.
"""

import abc
import asyncio
import logging
import threading
import time
from typing import Any, ClassVar

from aiokafka import AIOKafkaProducer
from confluent_kafka import KafkaError, Producer
from kafka import KafkaProducer

from tests.faults.checker import Entry, value_of

logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it tells of every refused connection
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

OUTSTANDING = 100
"""Records that a producer has on their way at most."""


class Load(abc.ABC):
    """One producer of one partition, in a thread of its own."""

    def __init__(self, name: str, bootstrap: str, topic: str, partition: int, size: int) -> None:
        self.name = name
        self.bootstrap = bootstrap
        self.topic = topic
        self.partition = partition
        self.size = size
        self.acknowledged: list[Entry] = []
        self.failures: list[str] = []
        self.sent = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends it; what is on its way is delivered first."""
        self._stopping.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), f"{self.name} did not end"

    def next_value(self) -> tuple[int, bytes]:
        sequence = self.sent
        self.sent += 1
        return sequence, value_of(self.name, sequence, self.size)

    @property
    def is_full(self) -> bool:
        return self.sent - len(self.acknowledged) - len(self.failures) >= OUTSTANDING

    def delivered(self, sequence: int, offset: int) -> None:
        self.acknowledged.append(Entry(offset, self.name, sequence))

    def failed(self, sequence: int, error: object) -> None:
        self.failures.append(f"{sequence}: {error}")

    def _run(self) -> None:
        try:
            self.publish()
        except Exception as error:
            self.failures.append(repr(error))

    @abc.abstractmethod
    def publish(self) -> None: ...


class ConfluentLoad(Load):
    settings: ClassVar[dict[str, Any]] = {"linger.ms": 1}

    def publish(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "log_level": 0,
                **self.settings,
            }
        )

        def delivered(sequence: int, error: KafkaError | None, raw: Any) -> None:
            if error is None:
                self.delivered(sequence, raw.offset())
            else:
                self.failed(sequence, error)

        while not self._stopping.is_set():
            if self.is_full:
                producer.poll(0.01)
                continue
            sequence, value = self.next_value()
            producer.produce(
                self.topic,
                value,
                partition=self.partition,
                on_delivery=lambda error, raw, sequence=sequence: delivered(sequence, error, raw),
            )
            producer.poll(0)
            time.sleep(0.002)
        producer.flush(100)


class KafkaPythonLoad(Load):
    def publish(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        while not self._stopping.is_set():
            if self.is_full:
                time.sleep(0.005)
                continue
            sequence, value = self.next_value()
            future = producer.send(self.topic, value, partition=self.partition)
            future.add_callback(lambda raw, sequence=sequence: self.delivered(sequence, raw.offset))
            future.add_errback(lambda error, sequence=sequence: self.failed(sequence, error))
            time.sleep(0.002)
        producer.close(100)


class AiokafkaLoad(Load):
    def publish(self) -> None:
        asyncio.run(self._publish())

    async def _publish(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, enable_idempotence=True, request_timeout_ms=5_000
        )
        await producer.start()

        def delivered(sequence: int, future: "asyncio.Future[Any]") -> None:
            error = future.exception()
            if error is None:
                self.delivered(sequence, future.result().offset)
            else:
                self.failed(sequence, error)

        while not self._stopping.is_set():
            if self.is_full:
                await asyncio.sleep(0.005)
                continue
            sequence, value = self.next_value()
            sent = await producer.send(self.topic, value, partition=self.partition)
            sent.add_done_callback(lambda future, sequence=sequence: delivered(sequence, future))
            await asyncio.sleep(0.002)
        await producer.stop()
