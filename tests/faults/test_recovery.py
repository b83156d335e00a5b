"""kill -9 with a lot unflushed: the port opens at once, partitions come as their logs are checked."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.faults.test_kill_loop import eventually
from tests.support.broker_process import PROGRAM, BrokerProcess

pytestmark = [pytest.mark.clients, pytest.mark.slow]

PARTITIONS = 3
VALUE_BYTES = 16_000
PER_PARTITION = 5_000
"""80 MB each: together more than is recovered before the port opens."""
NEVER = str(2**63 - 1)
HALTED = (sys.executable, "-m", "tests.faults.halted_recovery")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    broker = BrokerProcess(tmp_path / "data", {"num.recovery.threads.per.data.dir": "1"}).start()
    yield broker
    broker.kill()


def fill(broker: BrokerProcess) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topics = [
        NewTopic("large", PARTITIONS, 1, config={"flush.messages": NEVER, "flush.ms": NEVER}),
        NewTopic("idle", 1, 1),
    ]
    for future in admin.create_topics(topics).values():
        future.result(60)
    failures: list[str] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "1", "linger.ms": 5})
    for number in range(PARTITIONS * PER_PARTITION):
        value = b"%09d" % number + bytes(VALUE_BYTES - 9)
        producer.produce(
            "large",
            value,
            partition=number % PARTITIONS,
            on_delivery=lambda error, _: failures.append(str(error)) if error else None,
        )
        if number % 500 == 0:
            producer.flush(60)
    assert producer.flush(60) == 0
    assert not failures


def child_at_rest(broker: BrokerProcess) -> int:
    """The process that recovers logs and has stopped in the middle of the first (``halted_recovery``)."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in Path(f"/proc/{broker.pid}/task").glob("*/children"):
            for pid in map(int, path.read_text().split()):
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                    return pid
        time.sleep(0.01)
    raise AssertionError(f"nothing recovers logs:\n{broker.log_tail()}")


def health(broker: BrokerProcess, *options: str) -> tuple[int, dict[str, Any]]:
    command = [str(PROGRAM), "cluster", "health", "-b", broker.bootstrap, "-o", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    return done.returncode, {} if options else json.loads(done.stdout)


def numbers_read(broker: BrokerProcess) -> list[int]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "enable.auto.commit": False})
    consumer.assign([TopicPartition("large", partition, 0) for partition in range(PARTITIONS)])
    found: list[int] = []
    deadline = time.monotonic() + 120
    while len(found) < PARTITIONS * PER_PARTITION and time.monotonic() < deadline:
        found += [int(one.value()[:9]) for one in consumer.consume(1_000, 0.5) if one.error() is None]
    consumer.close()
    return found


@pytest.mark.timeout(600)
def test_the_port_opens_at_once_and_a_second_kill_in_between_takes_nothing(broker: BrokerProcess) -> None:
    fill(broker)
    broker.kill()
    plain, broker.program = broker.program, HALTED
    broker.start()
    broker.program = plain
    child = child_at_rest(broker)
    code, seen = health(broker)
    assert code == 3
    assert {one["topic"] for one in seen["recovering"]} == {"large"}
    assert not seen["offline"]
    waiting = seen["recovering"][0]["partition"]

    producer = Producer({"bootstrap.servers": broker.bootstrap, "message.timeout.ms": 60_000})
    producer.produce("idle", b"served meanwhile", partition=0)
    assert producer.flush(60) == 0
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "log_level": 0})
    assert consumer.get_watermark_offsets(TopicPartition("idle", 0), timeout=60) == (0, 1)
    with pytest.raises(KafkaException):
        consumer.get_watermark_offsets(TopicPartition("large", waiting), timeout=1)

    # The child outlives its broker, and must not meet the next one: that waits until it is gone.
    broker.kill()
    awake: list[int] = []

    def wake() -> None:
        awake.append(child)
        os.kill(child, signal.SIGCONT)

    threading.Timer(1.0, wake).start()
    broker.start()
    assert awake, "it did not wait"
    assert health(broker, "--exit-when-healthy", "--timeout", "120")[0] == 0, broker.log_tail()
    # Where the kill came while the offsets topic was made, for the consumer, one more may be looked at.
    begun = re.findall(r"recovery: (\d+) partitions were not closed", broker.log_tail())[-1]
    assert int(begun) >= PARTITIONS + 1
    assert f"recovery: all {begun} partitions are done" in broker.log_tail()
    ends = eventually(lambda: consumer.get_watermark_offsets(TopicPartition("large", waiting), timeout=10))
    assert ends == (0, PER_PARTITION), "who has asked too early is not left with that"
    consumer.close()
    assert sorted(numbers_read(broker)) == list(range(PARTITIONS * PER_PARTITION))
    assert broker.stop() == 0
