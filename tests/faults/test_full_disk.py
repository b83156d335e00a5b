"""A real small file system fills up under real producers, and gets room again; needs the right to mount."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from odradek.core.config.headroom import AUTOMATIC, headroom_of
from tests.faults.checker import problems_of
from tests.faults.load import ConfluentLoad, KafkaPythonLoad
from tests.faults.test_kill_loop import TOPIC, read_on
from tests.support.broker_process import BrokerProcess

pytestmark = [pytest.mark.clients, pytest.mark.slow]

SIZE_MB = 160
VALUE_BYTES = 2_000
LEFT_BYTES = 2 << 20
"""What is left above the headroom for the producers to fill."""


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory of ``SIZE_MB``."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs"]
    mounted = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def wait_until(condition: object, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.timeout(600)
def test_a_full_disk_is_survived_and_healed_without_a_restart(volume: Path) -> None:
    broker = BrokerProcess(volume / "data", {"group.initial.rebalance.delay.ms": "0"})
    broker.log_path = volume.parent / "broker.log"
    broker.start()
    try:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        topics = [NewTopic(TOPIC, 2), NewTopic("ballast", 1, config={"file.delete.delay.ms": "500"})]
        for future in admin.create_topics(topics).values():
            future.result(60)
        _fill(broker, "ballast", SIZE_MB * 3 // 4)
        kinds = (ConfluentLoad, KafkaPythonLoad)  # aiokafka gives a record up after some seconds
        loads = [
            kind(kind.__name__, broker.bootstrap, TOPIC, number, VALUE_BYTES)
            for number, kind in enumerate(kinds)
        ]
        for load in loads:
            load.start()
        wait_until(lambda: "will be full in" in said(broker), 90, "nobody was warned")
        wait_until(lambda: all(len(load.acknowledged) > 20 for load in loads), 90, "nothing was published")
        _take_room(volume, leave_bytes=headroom_of(SIZE_MB << 20, AUTOMATIC) + LEFT_BYTES)
        wait_until(lambda: "is full but for the headroom" in said(broker), 90, "the disk did not fill up")
        before = [-1]
        deadline = time.monotonic() + 90
        while (counts := [len(load.acknowledged) for load in loads]) != before:  # what was answered by then
            assert time.monotonic() < deadline, "something gets in all the time"
            before = counts
            time.sleep(2)
        assert _reads_and_commits(broker) > 0
        time.sleep(1)
        assert [len(load.acknowledged) for load in loads] == before, "something got in"
        for future in admin.delete_topics(["ballast"]).values():
            future.result(60)
        wait_until(
            lambda: all(len(load.acknowledged) > count for load, count in zip(loads, before, strict=True)),
            240,
            "it did not go on",
        )
        for load in loads:
            load.stop()
        assert not [failure for load in loads for failure in load.failures]
        acknowledged = {number: load.acknowledged for number, load in enumerate(loads)}
        assert problems_of(acknowledged, read_on(broker.bootstrap, {0: [], 1: []})) == []
        assert broker.is_running
    finally:
        broker.kill()


def said(broker: BrokerProcess) -> str:
    return broker.log_path.read_text()


def _fill(broker: BrokerProcess, topic: str, megabytes: int) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5})
    for _ in range(megabytes * 10):
        producer.produce(topic, b"x" * 100_000)
        producer.poll(0)
    assert producer.flush(120) == 0


def _take_room(volume: Path, leave_bytes: int) -> None:
    """A file of somebody else's takes what is free on the volume but for ``leave_bytes``: producers alone,
    slowed as they are when room gets scarce, would need minutes for it."""
    taken = shutil.disk_usage(volume).free - leave_bytes
    if taken > 0:
        with (volume / "foreign").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, taken)


def _reads_and_commits(broker: BrokerProcess) -> int:
    """What a group member reads and can commit while the disk is full."""
    settings = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": "readers",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    consumer = Consumer(settings)
    consumer.subscribe([TOPIC])
    read = 0
    deadline = time.monotonic() + 60
    while read < 20 and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            read += 1
    consumer.commit(asynchronous=False)
    consumer.close()
    return read
