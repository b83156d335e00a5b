"""Compaction beside Kafka's own, on the same log: the same batches stay, and each reads the other's."""

import random
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from odradek.core import ids
from odradek.records.batch import BatchHeader, iterate_batches
from odradek.records.record import Record, read_records
from odradek.storage.compact_job import CleanedSegment, compact
from odradek.storage.compaction import measure_dirt, plan_compaction
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.jobs import Unmetered
from odradek.storage.log import Log
from odradek.storage.store import LogStore
from odradek.storage.swap import swap_in
from odradek.testing.clock import FakeClock
from tests.conformance.kafka_process import KafkaProcess, dump_log_segments

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(900)]

CONFIG = LogConfig(cleanup_policy=("compact",), segment_bytes=1 << 20)
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Kept(NamedTuple):
    """What of a batch must be as Kafka leaves it; its base timestamp and compressed bytes may differ."""

    base_offset: int
    last_offset: int
    codec: int
    producer: tuple[int, int, int]
    max_timestamp: int
    is_transactional: bool
    is_control: bool
    has_horizon: bool
    records: tuple[Record, ...]


def open_store(folder: Path) -> LogStore:
    clock = FakeClock(int(time.time() * 1000))
    return LogStore.open(str(folder), SystemDisk(), clock, random.Random(5), config_of=lambda _: CONFIG)


def batches(log: Log, end_offset: int) -> list[Kept]:
    found: list[Kept] = []
    for segment in log.segments:
        data = Path(segment.path()).read_bytes()
        for position, header in iterate_batches(data):
            if header.base_offset < end_offset:
                found.append(_kept(header, data[position : position + header.size]))
    return found


def _kept(header: BatchHeader, batch: bytes) -> Kept:
    return Kept(
        header.base_offset,
        header.last_offset,
        header.compression,
        (header.producer_id, header.producer_epoch, header.base_sequence),
        header.max_timestamp,
        header.is_transactional,
        header.is_control,
        header.delete_horizon_ms is not None,
        tuple(read_records(batch)),
    )


def fill(kafka: KafkaProcess) -> None:
    """Twelve segments: all codecs, values and deletions, transactions that end either way."""
    rng = random.Random(11)
    plain = [
        Producer(
            {"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "compression.type": codec}
        )
        for codec in CODECS
    ]
    transactional = []
    for number in range(2):
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": f"x{number}"})
        producer.init_transactions()
        transactional.append(producer)

    def produce(producer: Producer) -> None:
        for _ in range(rng.randrange(1, 5)):
            value = rng.randbytes(rng.randrange(1, 20_000)) if rng.random() < 0.8 else None
            producer.produce("t", value, b"key %d" % rng.randrange(60))
        producer.flush()

    for _ in range(300):
        produce(rng.choice(plain))
        if rng.random() < 0.4:
            producer = rng.choice(transactional)
            producer.begin_transaction()
            for _ in range(rng.randrange(1, 3)):
                produce(producer)
                produce(rng.choice(plain))
            if rng.random() < 0.5:
                producer.abort_transaction()
            else:
                producer.commit_transaction()


def compact_by_kafka(kafka: KafkaProcess, active_base: int) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    changes = [
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("min.cleanable.dirty.ratio", "0.01", incremental_operation=AlterConfigOpType.SET),
    ]
    resource = ConfigResource(ResourceType.TOPIC, "t", incremental_configs=changes)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    checkpoint = kafka.data / "cleaner-offset-checkpoint"
    deadline = time.monotonic() + 240
    while f"t 0 {active_base}\n" not in (checkpoint.read_text() if checkpoint.exists() else ""):
        assert time.monotonic() < deadline, "Kafka does not compact"
        time.sleep(0.2)


def compact_by_us(log: Log) -> None:
    now_ms = int(time.time() * 1000)
    dirt = measure_dirt(log, None, now_ms)
    assert dirt is not None
    plan = plan_compaction(dirt, now_ms, 1 << 26, 0.9)
    parts: list[CleanedSegment] = []
    compact(SystemDisk(), plan, Unmetered(parts.append))
    for part in parts:
        assert swap_in(log, part)


def consume(bootstrap: str, isolation: str) -> list[tuple[int, bytes | None, bytes | None]]:
    settings = {"bootstrap.servers": bootstrap, "group.id": "none", "enable.partition.eof": True}
    consumer = Consumer({**settings, "isolation.level": isolation})
    consumer.assign([TopicPartition("t", 0, 0)])
    found = []
    while (message := consumer.poll(60)) is not None:
        error = message.error()
        if error is None:
            found.append((message.offset(), message.key(), message.value()))
        elif error.code() == KafkaError._PARTITION_EOF:
            break
    consumer.close()
    return found


def test_the_same_stays_as_in_kafka(tmp_path: Path) -> None:
    settings = {"log.cleaner.backoff.ms": "200", "log.segment.bytes": "1048576"}
    kafka = KafkaProcess(tmp_path, settings)
    kafka.format()
    kafka.start()
    try:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        for future in admin.create_topics([NewTopic("t", 1, 1)]).values():
            future.result()
        fill(kafka)
        whole = consume(kafka.bootstrap, "read_committed")
        kafka.stop()
        shutil.copytree(kafka.data / "t-0", tmp_path / "mine" / "t-0")
        shutil.copy(kafka.data / ".kafka_cleanshutdown", tmp_path / "mine")
        shutil.copy(kafka.data / "recovery-point-offset-checkpoint", tmp_path / "mine")

        store = open_store(tmp_path / "mine")
        mine = store.logs[ids.TopicPartition("t", 0)]
        assert len(mine.segments) > 4
        active_base = mine.active.base_offset
        known = {one.producer_id: (one.epoch, one.last_sequence) for one in mine.producers.by_id.values()}
        compact_by_us(mine)
        compacted = batches(mine, active_base)
        ends = {segment.base_offset for segment in mine.segments}
        store.flush(0)
        store.close(0)

        kafka.start()
        compact_by_kafka(kafka, active_base)
        theirs_view = consume(kafka.bootstrap, "read_committed")
        kafka.stop(cleanly=False)
        shutil.copytree(kafka.data / "t-0", tmp_path / "theirs" / "t-0")
        store = open_store(tmp_path / "theirs")
        theirs = store.logs[ids.TopicPartition("t", 0)]
        assert theirs.offline is None
        expected = batches(theirs, active_base)
        assert known == {
            one.producer_id: (one.epoch, one.last_sequence) for one in theirs.producers.by_id.values()
        }
        store.close(0)

        # one batch more than Kafka keeps at most, the empty last one of each segment
        extra = [one for one in compacted if one not in expected]
        assert [one for one in compacted if one in expected] == expected
        assert not any(one.records for one in extra)
        assert len(extra) <= len(ends)
        assert {one.last_offset + 1 for one in extra} <= ends
        assert sum(len(one.records) for one in compacted) < len(whole) / 2

        shutil.rmtree(kafka.data / "t-0")
        shutil.copytree(tmp_path / "mine" / "t-0", kafka.data / "t-0")
        logs = sorted((kafka.data / "t-0").glob("*.log"))
        dumped = dump_log_segments(logs, "--deep-iteration")
        assert "isvalid: false" not in dumped
        assert dumped.count("isvalid: true") >= len(compacted)
        for index in [*(kafka.data / "t-0").glob("*.index"), *(kafka.data / "t-0").glob("*.timeindex")]:
            assert "Mismatches" not in dump_log_segments([index])
        kafka.start()
        assert consume(kafka.bootstrap, "read_committed") == theirs_view
    finally:
        kafka.stop(cleanly=False)
