"""A folder that Kafka 4.3 wrote opens here, and one that we wrote on opens in Kafka again."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from odradek.core import ids
from odradek.records.batch import iterate_batches
from odradek.records.builder import build_batch
from odradek.records.record import Record, read_records
from odradek.storage.disk import SystemDisk
from odradek.storage.log import Log
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock
from tests.conformance.kafka_process import KafkaProcess

pytestmark = [pytest.mark.java, pytest.mark.slow]

NOW_MS = 1_790_000_000_000
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaProcess]:
    process = KafkaProcess(tmp_path)
    process.format()
    process.start()
    yield process
    process.stop(cleanly=False)


def open_store(folder: Path) -> LogStore:
    return LogStore.open(str(folder), SystemDisk(), FakeClock(NOW_MS), random.Random(5))


def produce_in_every_codec(kafka: KafkaProcess) -> list[bytes]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    config = {"segment.bytes": "1048576"}
    for future in admin.create_topics([NewTopic("t", 1, 1, config=config), NewTopic("txn", 1, 1)]).values():
        future.result()
    values: list[bytes] = []
    randomness = random.Random(9)
    for codec in CODECS:
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "compression.type": codec}
        )
        for number in range(1000):
            values.append(b"%d " % number + randomness.randbytes(600))
            producer.produce("t", values[-1], b"%d" % number, headers=[("h", b"x")])
        producer.flush()
    return values


def produce_in_transactions(kafka: KafkaProcess) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "x"})
    producer.init_transactions()
    for number in range(4):
        producer.begin_transaction()
        producer.produce("txn", b"%d" % number)
        producer.flush()
        if number % 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    producer.begin_transaction()
    producer.produce("txn", b"open")
    producer.flush()


def values_of(log: Log) -> list[bytes | None]:
    values: list[bytes | None] = []
    offset = log.log_start_offset
    while (result := log.read(offset, 1 << 20, log.high_watermark)).records:
        for position, header in iterate_batches(result.records):
            if not header.is_control:
                batch = result.records[position : position + header.size]
                values += [record.value for record in read_records(batch)]
        offset = result.next_offset
    return values


def consume(kafka: KafkaProcess, topic: str) -> list[bytes | None]:
    settings = {"bootstrap.servers": kafka.bootstrap, "group.id": "none", "enable.partition.eof": True}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes | None] = []
    while (message := consumer.poll(60)) is not None:
        error = message.error()
        if error is None:
            values.append(message.value())
        elif error.code() == KafkaError._PARTITION_EOF:
            break
    consumer.close()
    return values


@pytest.mark.parametrize("cleanly", [True, False])
@pytest.mark.timeout(900)
def test_there_and_back(kafka: KafkaProcess, cleanly: bool) -> None:
    values = produce_in_every_codec(kafka)
    produce_in_transactions(kafka)
    kafka.stop(cleanly=cleanly)

    store = open_store(kafka.data)
    assert store.was_clean == cleanly
    assert [log.offline for log in store.logs.values() if log.offline] == []
    log = store.logs[ids.TopicPartition("t", 0)]
    assert values_of(log) == values
    assert len(log.segments) > 1
    transactional = store.logs[ids.TopicPartition("txn", 0)]
    assert len(transactional.aborted_transactions(0, 100)) == 2
    assert transactional.last_stable_offset == transactional.log_end_offset - 1
    assert len(transactional.producers.by_id) == 1
    middle = log.find_offset_by_timestamp(0, log.high_watermark)
    assert middle is not None
    assert middle.offset == 0

    mine = [b"written by odradek %d" % number for number in range(3000)]
    for value in mine:
        batch = build_batch([Record(0, NOW_MS, None, value * 10)])
        log.append(memoryview(batch), NOW_MS, leader_epoch=log.leader_epoch)
    store.flush(NOW_MS)
    store.close(NOW_MS)

    kafka.start()
    assert consume(kafka, "t") == values + [value * 10 for value in mine]
    kafka.stop()
