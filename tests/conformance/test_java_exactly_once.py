"""Apache Kafka's own Java clients: transactions, both group protocols, Streams, and copiers that are killed.

Each of the expected results is what Apache Kafka 4.3 gave to the same program.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance.java_tools import QUICK, Tools, program_path, run_program

pytestmark = [pytest.mark.java, pytest.mark.slow]

RESULTS = Path(__file__).parent / "java"


def expected(program: str) -> list[str]:
    """What the program printed when it ran on Apache Kafka."""
    return (RESULTS / f"{program}.txt").read_text().splitlines()


def test_the_transactional_producer(tools: Tools, name: str) -> None:
    assert run_program("Transactions", tools.bootstrap, name) == expected("Transactions")


def test_the_consumer_with_both_group_protocols(tools: Tools, name: str) -> None:
    assert run_program("Groups", tools.bootstrap, name) == expected("Groups")


def test_streams_exactly_once_restores_its_state(tools: Tools, name: str, tmp_path: Path) -> None:
    assert run_program("StreamsApps", tools.bootstrap, name, str(tmp_path)) == expected("StreamsApps")


PARTITIONS = 2
RECORDS = 1_600
KILLS = (1, 0, 2)
"""Which of the three copiers is killed when about a third, half and two thirds have arrived."""


class Copiers:
    """Three programs that copy a -> b -> c -> d, each in a process of its own."""

    def __init__(self, bootstrap: str, name: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.name = name
        self.errors = folder / "copiers"
        self.processes: list[subprocess.Popen[bytes]] = []
        for number in range(3):
            self.processes.append(self._start(number))

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        source, target = (f"{self.name}-{'abcd'[at]}" for at in (number, number + 1))
        protocol = ("classic", "consumer", "classic")[number]
        arguments = [self.bootstrap, f"{self.name}-copier-{number}", source, target, protocol]
        command = ["java", "-Xmx128m", *QUICK, "-cp", program_path("Copier"), "Copier", *arguments]
        with self.errors.open("ab") as errors:
            return subprocess.Popen(command, stdout=errors, stderr=errors)

    def kill_and_restart(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait()
        self.processes[number] = self._start(number)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def copiers(tools: Tools, name: str, tmp_path: Path) -> Iterator[Copiers]:
    admin = AdminClient({"bootstrap.servers": tools.bootstrap})
    topics = [NewTopic(f"{name}-{letter}", PARTITIONS, 1) for letter in "abcd"]
    for future in admin.create_topics(topics).values():
        future.result(60)
    copiers = Copiers(tools.bootstrap, name, tmp_path)
    yield copiers
    copiers.end()


def test_three_copiers_in_a_row_that_are_killed_copy_exactly_once(copiers: Copiers) -> None:
    source, target = f"{copiers.name}-a", f"{copiers.name}-d"
    sent = publish(copiers.bootstrap, source)
    reader = Consumer(
        {
            "bootstrap.servers": copiers.bootstrap,
            "group.id": "nobody",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    reader.assign([TopicPartition(target, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    arrived: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
    kills = list(zip(KILLS, (RECORDS // 3, RECORDS // 2, RECORDS * 2 // 3), strict=True))
    deadline = time.monotonic() + 300
    while (count := sum(map(len, arrived.values()))) < RECORDS:
        assert time.monotonic() < deadline, f"{count} of {RECORDS}:\n{copiers.errors.read_text()[-3_000:]}"
        if kills and count >= kills[0][1]:
            copiers.kill_and_restart(kills.pop(0)[0])
        for raw in reader.consume(100, 0.1):
            if not raw.error():
                arrived[raw.partition()].append(raw.value())
    more = [raw.value() for raw in reader.consume(100, 1.0) if not raw.error()]
    reader.close()
    assert not kills
    assert more == []
    assert arrived == sent


def publish(bootstrap: str, topic: str) -> dict[int, list[bytes]]:
    """Fills ``topic`` in transactions, every fifth of which is aborted; returns what is committed."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
    producer.init_transactions(60)
    sent: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
    number = 0
    while sum(map(len, sent.values())) < RECORDS:
        producer.begin_transaction()
        for at in range(20):
            producer.produce(topic, b"%d/%d" % (number, at), partition=at % PARTITIONS)
            if number % 5 != 4:
                sent[at % PARTITIONS].append(b"%d/%d" % (number, at))
        if number % 5 == 4:
            producer.flush(60)
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)
        number += 1
    return sent
