"""One member of the group that counts."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from log_counting.counts import Counted, CountsFile
from log_counting.minutes import minute_of

BATCH_RECORDS = 500
POLL_S = 0.2


def count(
    bootstrap: str,
    topic: str,
    group: str,
    *,
    name: str,
    folder: Path,
    should_stop: Callable[[], bool],
    session_timeout_ms: int | None = None,
) -> None:
    """Count lines of ``topic`` as a member of ``group`` until told to stop, then leave the group.

    ``session_timeout_ms``: after how long without a sign of life the broker gives a member's partitions to
    others; the library's own 45 s when None. Raises ``KafkaException`` for what the library cannot repair.
    """
    settings: dict[str, str | int | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "client.id": name,
        # A new group begins with the log's first line, not with what comes next.
        "auto.offset.reset": "earliest",
        # The library commits, as by default, every five seconds and at the end, but only what was stored
        # after it had been written down; by default that is whatever it has handed out.
        "enable.auto.offset.store": False,
    }
    if session_timeout_ms is not None:
        settings["session.timeout.ms"] = session_timeout_ms
    counts = CountsFile(folder, name)
    consumer = Consumer(settings)

    def say(what: str) -> Callable[[Consumer, list[TopicPartition]], None]:
        def callback(_: Consumer, partitions: list[TopicPartition]) -> None:
            numbers = sorted(partition.partition for partition in partitions)
            # In one write, as several members share a terminal.
            print(f"  {name} {what} partitions {numbers}\n", end="", flush=True)

        return callback

    consumer.subscribe([topic], on_assign=say("has"), on_revoke=say("gives back"), on_lost=say("lost"))
    try:
        while not should_stop():
            if messages := _without_errors(consumer.consume(BATCH_RECORDS, POLL_S), name):
                counts.write(_counted(message) for message in messages)
                _store_offsets(consumer, messages)
    finally:
        consumer.close()
        counts.close()


def _without_errors(messages: list[Message], name: str) -> list[Message]:
    good = []
    for message in messages:
        error = message.error()
        if error is None:
            good.append(message)
        elif error.fatal():
            raise KafkaException(error)
        else:
            print(f"  {name}: {error.str()}", file=sys.stderr, flush=True)
    return good


def _place(message: Message) -> tuple[str, int, int]:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return topic, partition, offset


def _counted(message: Message) -> Counted:
    _, partition, offset = _place(message)
    _, arrival_ms = message.timestamp()
    return Counted(partition, offset, minute_of(message.value() or b"", arrival_ms))


def _store_offsets(consumer: Consumer, messages: Iterable[Message]) -> None:
    ends: dict[tuple[str, int], int] = {}
    for message in messages:
        topic, partition, offset = _place(message)
        ends[topic, partition] = offset + 1
    for (topic, partition), end in ends.items():
        try:
            consumer.store_offsets(offsets=[TopicPartition(topic, partition, end)])
        except KafkaException:
            # The partition has gone to another member meanwhile, which reads these lines again; the sum
            # counts them once.
            continue
