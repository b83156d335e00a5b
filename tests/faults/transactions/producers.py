"""Transactional producers of three client libraries behind the few calls that the run needs.

What a call raises beyond :class:`Aborted` means that nobody knows how the transaction ended: its client then
makes a new producer of the same transactional id, as an application would.
"""

import abc
import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from kafka import KafkaProducer

TRANSACTION_TIMEOUT_MS = 10_000
"""How long the transactions of a client that nobody restarts keep readers waiting."""
CALL_TIMEOUT_S = 20.0


class Aborted(Exception):
    """The transaction could not be committed, and the broker confirmed that it is aborted."""


def with_limit(call: Callable[[], Any]) -> None:
    """Ends the wait for calls that now and then hang for ever when the broker was killed under them.

    kafka-python's commit and abort know no time-out, and librdkafka's send_offsets_to_transaction forgets its
    own when it loses its place in a classic group meanwhile.
    """
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(CALL_TIMEOUT_S)
    if not outcome:
        raise TimeoutError(f"{call} did not end in {CALL_TIMEOUT_S} s")
    if outcome[0] is not None:
        raise outcome[0]


class TransactionalProducer(abc.ABC):
    """One producer. ``acknowledged``: index of the record in its transaction → offset."""

    def __init__(self) -> None:
        self.acknowledged: dict[int, int] = {}

    @abc.abstractmethod
    def begin(self) -> None: ...

    @abc.abstractmethod
    def send(self, index: int, topic: str, partition: int, value: bytes) -> None: ...

    @abc.abstractmethod
    def flush(self) -> None:
        """Sees to it that all that was sent is in the log; failures show when the transaction ends."""

    @abc.abstractmethod
    def commit(self) -> None: ...

    @abc.abstractmethod
    def abort(self) -> None: ...

    @abc.abstractmethod
    def close(self) -> None: ...


class ConfluentProducer(TransactionalProducer):
    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        super().__init__()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "linger.ms": 1,
                "log_level": 0,
            }
        )
        self._until_done(self._producer.init_transactions)

    def _until_done(self, call: Callable[[float], Any]) -> None:
        """librdkafka asks for the same call again when a time-out or a lost connection was in its way."""

        def repeat() -> None:
            for _ in range(10):
                try:
                    call(CALL_TIMEOUT_S / 10)
                    return
                except KafkaException as error:
                    if not error.args[0].retriable():
                        raise
            raise TimeoutError(f"{call} did not end in {CALL_TIMEOUT_S} s")

        with_limit(repeat)

    def begin(self) -> None:
        self.acknowledged = {}
        self._producer.begin_transaction()

    def send(self, index: int, topic: str, partition: int, value: bytes) -> None:
        acknowledged = self.acknowledged

        def delivered(error: KafkaError | None, raw: Any) -> None:
            if error is None:
                acknowledged[index] = raw.offset()

        self._producer.produce(topic, value, partition=partition, on_delivery=delivered)
        self._producer.poll(0)

    def send_offsets(self, offsets: Mapping[TopicPartition, int], consumer: Consumer) -> None:
        """Makes the group's offsets part of the transaction."""
        positions = [TopicPartition(one.topic, one.partition, offset) for one, offset in offsets.items()]
        metadata = consumer.consumer_group_metadata()
        self._ending(
            lambda timeout_s: self._producer.send_offsets_to_transaction(positions, metadata, timeout_s)
        )

    def flush(self) -> None:
        self._producer.flush(CALL_TIMEOUT_S)

    def commit(self) -> None:
        self._ending(self._producer.commit_transaction)

    def _ending(self, call: Any) -> None:
        try:
            self._until_done(call)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            self.abort()
            raise Aborted(str(error)) from error

    def abort(self) -> None:
        self._until_done(self._producer.abort_transaction)

    def close(self) -> None:
        self._producer.purge()


class KafkaPythonProducer(TransactionalProducer):
    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        super().__init__()
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_block_ms=int(CALL_TIMEOUT_S * 1_000),
        )
        self._producer.init_transactions()

    def begin(self) -> None:
        self.acknowledged = {}
        self._producer.begin_transaction()

    def send(self, index: int, topic: str, partition: int, value: bytes) -> None:
        acknowledged = self.acknowledged
        future = self._producer.send(topic, value, partition=partition)
        future.add_callback(lambda raw: acknowledged.__setitem__(index, raw.offset))

    def flush(self) -> None:
        self._producer.flush(CALL_TIMEOUT_S)

    def commit(self) -> None:
        with_limit(self._producer.commit_transaction)

    def abort(self) -> None:
        with_limit(self._producer.abort_transaction)

    def close(self) -> None:
        self._producer.close(0)


class AiokafkaProducer(TransactionalProducer):
    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()

        async def start() -> AIOKafkaProducer:
            producer = AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                transactional_id=transactional_id,
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                request_timeout_ms=5_000,
            )
            await producer.start()
            return producer

        self._producer = self._run(start())

    def _run(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, CALL_TIMEOUT_S))

    def begin(self) -> None:
        self.acknowledged = {}
        self._run(self._producer.begin_transaction())

    def send(self, index: int, topic: str, partition: int, value: bytes) -> None:
        acknowledged = self.acknowledged

        def delivered(future: "asyncio.Future[Any]") -> None:
            if future.exception() is None:
                acknowledged[index] = future.result().offset

        future = self._run(self._producer.send(topic, value, partition=partition))
        future.add_done_callback(delivered)

    def flush(self) -> None:
        self._run(self._producer.flush())

    def commit(self) -> None:
        self._run(self._producer.commit_transaction())

    def abort(self) -> None:
        self._run(self._producer.abort_transaction())

    def close(self) -> None:
        self._run(self._producer.stop())


PRODUCERS = {
    "confluent": ConfluentProducer,
    "kafka-python": KafkaPythonProducer,
    "aiokafka": AiokafkaProducer,
}
