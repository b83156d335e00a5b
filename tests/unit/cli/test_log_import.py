"""``odradek log import``: shown first, then done, and served by a broker afterwards."""

import random
from pathlib import Path

import pytest

from odradek.core.ids import TopicId, TopicPartition, id_text
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock
from tests.unit.cli.conftest import Run
from tests.unit.cluster.test_kraft import batches, config, partition, producer_ids, quota, topic

NOW_MS = 1_790_000_000_000
ORDERS = TopicId(b"o" * 16)


def make_kafka(folder: Path, *, partitions: tuple[int, ...] = (0, 1), with_metadata: bool = True) -> None:
    """What a stopped Kafka leaves, as far as it matters."""
    store = LogStore.open(str(folder), SystemDisk(), FakeClock(NOW_MS), random.Random(5))
    for index in partitions:
        log = store.create(TopicPartition("orders", index), ORDERS, LogConfig(), NOW_MS)
        for number in range(3):
            record = Record(0, NOW_MS + number, b"k", b"%d-%d" % (index, number))
            batch = build_batch([record], producer_id=5_000, producer_epoch=0, base_sequence=number)
            log.append(memoryview(bytearray(batch)), NOW_MS, leader_epoch=4)
    store.create(TopicPartition("other", 0), TopicId(b"x" * 16), LogConfig(), NOW_MS)
    store.close(NOW_MS)
    if with_metadata:
        metadata = folder / "__cluster_metadata-0"
        metadata.mkdir()
        records = batches(
            topic("orders", ORDERS),
            partition(ORDERS, 0),
            partition(ORDERS, 1),
            config("orders", "retention.ms", "-1"),
            config("orders", "no.such.key", "1"),
            config("1", "log.retention.ms", "7", kind=4),
            producer_ids(3_000),
            quota("producer_byte_rate", 1e6, user="alice"),
        )
        (metadata / "00000000000000000000.log").write_bytes(records)


def test_shown_then_done_then_served(
    run_offline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, data = tmp_path / "kafka", tmp_path / "data"
    make_kafka(kafka)
    shown = run_offline("log", "import", kafka, "-d", data, "-t", "^orders$", "-o", "json").json
    assert shown["executed"] is False
    assert not data.exists()
    (planned,) = shown["topics"]
    assert (planned["name"], planned["id"]) == ("orders", id_text(ORDERS))
    assert planned["configs"] == {"retention.ms": "-1"}
    assert [one["partition"] for one in planned["partitions"]] == [0, 1]
    reasons = {one["name"]: one["reason"] for one in shown["left_out"]}
    assert "Unknown topic config" in reasons["orders: no.such.key"]
    assert "only those of topics" in reasons["configs of 1"]
    assert any(name.endswith("__cluster_metadata-0") for name in reasons)

    done = run_offline("log", "import", kafka, "-d", data, "-t", "^orders$", "--execute", "-o", "json").json
    assert [one["end"] for one in done["topics"][0]["partitions"]] == [3, 3]
    again = run_offline("log", "import", kafka, "-d", data, "-t", "^orders$", "--execute", code=1)
    assert "there already" in again.out

    from odradek.testing.broker import _Running

    running = _Running({"log.dirs": str(data), "listeners": "PLAINTEXT://127.0.0.1:0"})
    try:
        monkeypatch.setenv("ODRADEK_BOOTSTRAP", running.node.bootstrap_servers)
        lines = run_offline("consume", "orders", "-e", "-f", r"%p %o %T %v\n").out.splitlines()
        assert sorted(lines) == [f"{p} {n} {NOW_MS + n} {p}-{n}" for p in range(2) for n in range(3)]
        (described,) = run_offline("topic", "describe", "orders", "-o", "json").json
        assert described["id"] == id_text(ORDERS)
        assert described["configs"]["retention.ms"]["value"] == "-1"
        assert described["partitions"][0]["leader_epoch"] == 5
        (limit,) = run_offline("quota", "list", "-o", "json").json
        assert limit == {"entity": {"user": "alice"}, "limits": {"producer_byte_rate": 1e6}}
        assert running.node.server.broker.image.next_producer_id > 5_000
        run_offline("produce", "orders", "-p", 0, stdin=b"more\n")
    finally:
        running.end(clean=True)


def test_without_kafkas_metadata_configs_are_not_known(run_offline: Run, tmp_path: Path) -> None:
    make_kafka(tmp_path / "kafka", with_metadata=False)
    done = run_offline("log", "import", tmp_path / "kafka", "-d", tmp_path / "data", "--execute")
    assert "Configs and quotas are not known" in done.err
    assert "2 topics" in done.err


def test_what_cannot_be_taken_whole_is_left_out(run_offline: Run, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    make_kafka(one, partitions=(0,))
    shown = run_offline("log", "import", one, "-d", tmp_path / "data", "-o", "json").json
    reasons = {entry["name"]: entry["reason"] for entry in shown["left_out"]}
    assert "of its 2 partitions 1 are not here (1)" in reasons["orders"]
    make_kafka(two, partitions=(1,), with_metadata=False)
    shown = run_offline("log", "import", one, two, "-d", tmp_path / "data", "-t", "orders", "-o", "json").json
    assert [topic["name"] for topic in shown["topics"]] == ["orders"]
    shown = run_offline("log", "import", one, two, "-d", tmp_path / "data", "-o", "json").json
    reasons = {entry["name"]: entry["reason"] for entry in shown["left_out"]}
    assert "in several of the folders" in reasons["other"]


def test_folders_in_use_and_into_themselves(run_offline: Run, tmp_path: Path) -> None:
    make_kafka(tmp_path / "kafka")
    run_offline("log", "import", tmp_path / "kafka", "-d", tmp_path / "kafka", code=1)
    store = LogStore.open(str(tmp_path / "kafka"), SystemDisk(), FakeClock(NOW_MS), random.Random(5))
    refused = run_offline("log", "import", tmp_path / "kafka", "-d", tmp_path / "data", code=1)
    assert "in use" in refused.err
    store.close(NOW_MS)
    run_offline("log", "import", tmp_path / "kafka", "-d", tmp_path / "data", "-t", "(", code=2)


def test_a_target_that_was_not_closed_cleanly_is_left_alone(run_offline: Run, tmp_path: Path) -> None:
    make_kafka(tmp_path / "kafka")
    make_kafka(tmp_path / "data", with_metadata=False)
    (tmp_path / "data" / ".kafka_cleanshutdown").unlink()
    refused = run_offline("log", "import", tmp_path / "kafka", "-d", tmp_path / "data", "--execute", code=1)
    assert "not closed cleanly" in refused.err


def test_a_damaged_topic_is_left_out_alone(run_offline: Run, tmp_path: Path) -> None:
    make_kafka(tmp_path / "kafka")
    segment = tmp_path / "kafka" / "orders-1" / "00000000000000000000.log"
    content = bytearray(segment.read_bytes())
    content[72 + 65] ^= 1
    segment.write_bytes(content)
    done = run_offline(
        "log", "import", tmp_path / "kafka", "-d", tmp_path / "data", "--execute", "-o", "json"
    ).json
    assert [topic["name"] for topic in done["topics"]] == ["other"]
    reasons = {entry["name"]: entry["reason"] for entry in done["left_out"]}
    assert "CRC" in reasons["orders"]
    assert str(segment) in reasons["orders"]
    assert not (tmp_path / "data" / "orders-0").exists()
