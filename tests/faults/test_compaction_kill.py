"""kill -9 in the middle of compactions: no key loses its last value, and no process is left behind."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.broker_process import BrokerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 6
KEYS = 400
VALUE_BYTES = 2_000
SETTINGS = {
    "log.cleaner.backoff.ms": "0",
    "log.cleaner.io.max.bytes.per.second": "8000000",
    "log.segment.bytes": "1048576",
}
"""So slow that each kill finds a pass under way."""


class Writer:
    """One idempotent producer; each value begins with the version of its key."""

    def __init__(self, bootstrap: str, rng: random.Random) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 2, "log_level": 0}
        )
        self._rng = rng
        self.version = 0
        self.acknowledged: dict[bytes, int] = {}

    def write(self, count: int) -> None:
        for _ in range(count):
            self.version += 1
            key = b"key %d" % self._rng.randrange(KEYS)
            value = b"%d " % self.version + self._rng.randbytes(VALUE_BYTES)
            self._producer.produce("t", value, key, on_delivery=self._delivered(key, self.version))
            self._producer.poll(0)

    def _delivered(self, key: bytes, version: int) -> Callable[[KafkaError | None, object], None]:
        def delivered(error: KafkaError | None, message: object) -> None:
            if error is None:
                self.acknowledged[key] = max(version, self.acknowledged.get(key, 0))

        return delivered

    def finish(self) -> None:
        assert self._producer.flush(120) == 0


def children(pid: int) -> list[int]:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        lists = [Path(f"/proc/{pid}/task/{task}/children").read_text() for task in tasks]
    except OSError:
        return []
    return [int(child) for text in lists for child in text.split()]


def wait_for(what: Callable[[], object], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    wait_for(lambda: not any(map(is_alive, pids)), 60, "a process outlived its broker")


def read_versions(bootstrap: str) -> tuple[dict[bytes, int], int]:
    """The last version of each key, and how many records there are in all."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.partition.eof": True})
    consumer.assign([TopicPartition("t", 0, 0)])
    versions: dict[bytes, int] = {}
    count, last = 0, -1
    while (message := consumer.poll(60)) is not None:
        error = message.error()
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF, error
            break
        assert message.offset() > last
        last, count = message.offset(), count + 1
        version = int(message.value().split(b" ", 1)[0])
        assert version > versions.get(message.key(), 0), "order is kept"
        versions[message.key()] = version
    consumer.close()
    return versions, count


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc to see the processes")
def test_no_key_loses_its_last_value(tmp_path: Path) -> None:
    rng = random.Random(5)
    broker = BrokerProcess(tmp_path / "data", SETTINGS).start()
    try:
        configs = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        for future in admin.create_topics([NewTopic("t", 1, 1, config=configs)]).values():
            future.result()
        writer = Writer(broker.bootstrap, rng)
        for _ in range(ROUNDS):
            writer.write(2_000)
            wait_for(lambda: children(broker.pid), 60, "no compaction begins")
            time.sleep(rng.random() * 1.5)
            left_behind = children(broker.pid)
            broker.kill()
            broker.start()
            wait_until_gone(left_behind)
        writer.finish()
        wait_for(lambda: "compacted t-0" in broker.log_path.read_text(), 120, "no compaction ends")
        log = broker.log_path.read_text()
        versions, count = read_versions(broker.bootstrap)
        assert count < writer.version, "something was compacted away"
        lost = {key for key, version in writer.acknowledged.items() if versions.get(key, 0) < version}
        assert not lost
        assert "Traceback" not in log
        assert broker.stop() == 0
        assert not list(tmp_path.rglob("*.swap"))
    finally:
        broker.kill()
