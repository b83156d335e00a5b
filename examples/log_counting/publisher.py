"""Publishes log lines, with keys, and says where each of them went."""

import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

FLUSH_TIMEOUT_S = 60.0

Delivered = Callable[[int, int, bytes, int], None]
"""Called with (partition, offset, line, arrival_ms) once the broker has acknowledged a line."""


class LogPublisher:
    """Publishes lines to ``topic``; word number ``key_word`` (from 1) of a line is its key, if there is one.

    Lines with one key stay in order; the record's timestamp is the line's arrival here.
    """

    def __init__(
        self, bootstrap: str, topic: str, *, key_word: int = 1, on_delivered: Delivered | None = None
    ) -> None:
        # Without idempotence, a lost acknowledgement makes the library write a line twice.
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        self._topic = topic
        self._key_word = key_word
        self._on_delivered = on_delivered
        self._failure: KafkaError | None = None
        self.published = 0
        self.acknowledged = 0

    def publish(self, line: bytes) -> None:
        """Hand over one line; raises ``KafkaException`` when this or an earlier one cannot be delivered."""
        arrival_ms = time.time_ns() // 1_000_000
        words = line.split(None, self._key_word)
        key = words[self._key_word - 1] if len(words) >= self._key_word else None

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failure = self._failure or error
                return
            self.acknowledged += 1
            if self._on_delivered is not None:
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                self._on_delivered(partition, offset, line, arrival_ms)

        while True:
            try:
                self._producer.produce(self._topic, line, key, timestamp=arrival_ms, on_delivery=on_delivery)
                break
            except BufferError:
                self._producer.poll(0.1)
        self.published += 1
        self.serve(0)

    def serve(self, seconds: float) -> None:
        """Wait that long, taking in acknowledgements; raises ``KafkaException`` for a line not delivered."""
        self._producer.poll(seconds)
        if self._failure is not None:
            raise KafkaException(self._failure)

    def flush(self) -> None:
        """Wait until every line is acknowledged; raises ``KafkaException`` or ``TimeoutError``."""
        waiting = self._producer.flush(FLUSH_TIMEOUT_S)
        self.serve(0)
        if waiting:
            raise TimeoutError(f"{waiting} lines were not acknowledged in {FLUSH_TIMEOUT_S:.0f} s")


def make_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """Make ``topic`` unless it is there; raises ``KafkaException`` when that does not work."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    future = admin.create_topics([NewTopic(topic, num_partitions=partitions)])[topic]
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
