"""What a real Kafka 4.3 has written is imported, served, and still read by Kafka's own tool."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.conformance.kafka_process import KafkaProcess, dump_log_segments
from tests.conformance.test_kafka_folder import CODECS, produce_in_every_codec, produce_in_transactions
from tests.support.broker_process import PROGRAM, BrokerProcess

pytestmark = [pytest.mark.java, pytest.mark.slow]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaProcess]:
    process = KafkaProcess(tmp_path)
    process.format()
    process.start()
    yield process
    process.stop(cleanly=False)


def read_values(bootstrap: str, topic: str, count: int, isolation: str = "read_uncommitted") -> list[bytes]:
    settings = {"bootstrap.servers": bootstrap, "group.id": "none", "isolation.level": isolation}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = []
    while len(values) < count:
        message = consumer.poll(60)
        assert message is not None, f"{len(values)} of {count}"
        assert message.error() is None
        assert isolation == "read_committed" or message.offset() == len(values)
        values.append(message.value())
    consumer.close()
    return values


def import_everything(source: Path, target: Path) -> dict[str, object]:
    done = subprocess.run(
        [str(PROGRAM), "log", "import", str(source), "-d", str(target), "--execute", "-o", "json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("cleanly", [True, False])
@pytest.mark.timeout(900)
def test_import(kafka: KafkaProcess, tmp_path: Path, cleanly: bool) -> None:
    values = produce_in_every_codec(kafka)
    produce_in_transactions(kafka)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    change = ConfigResource(
        ResourceType.TOPIC,
        "t",
        incremental_configs=[ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)],
    )
    for future in admin.incremental_alter_configs([change]).values():
        future.result()
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "readers"})
    consumer.commit(offsets=[TopicPartition("t", 0, 1234)], asynchronous=False)
    consumer.close()
    kafka.stop(cleanly=cleanly)

    target = tmp_path / "odradek"
    found = import_everything(kafka.data, target)
    topics = {topic["name"]: topic for topic in found["topics"]}  # type: ignore[attr-defined]
    assert {"t", "txn", "__consumer_offsets", "__transaction_state"} == set(topics)
    assert topics["t"]["configs"] == {"segment.bytes": "1048576", "retention.ms": "-1"}
    assert topics["t"]["partitions"][0]["end"] == len(values)

    segments = sorted((target / "t-0").glob("*.log"))
    assert len(segments) > 1
    dumped = dump_log_segments(segments)
    assert dumped.count("isvalid: true") >= len(CODECS)
    assert "isvalid: false" not in dumped

    broker = BrokerProcess(target).start()
    try:
        assert read_values(broker.bootstrap, "t", len(values)) == values
        committed = read_values(broker.bootstrap, "txn", 2, "read_committed")
        assert committed == [b"0", b"2"]
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "readers"})
        (offset,) = consumer.committed([TopicPartition("t", 0)], timeout=60)
        consumer.close()
        assert offset.offset == 1234
    finally:
        assert broker.stop() == 0
