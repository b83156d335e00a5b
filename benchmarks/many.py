"""Many connections and many partitions: what they cost in memory, and what they do to the p99 of Produce.

Run: ``python -m benchmarks.many [--kafka] [--rounds N]``. The pace is the same in all cases (open loop), and
so is the generator; only the number of connections, or of partitions that are written to, differs. Times are
from the moment at which a request was due, so that a broker that stalls is charged for all that it held up.
"""

import argparse
import contextlib
import selectors
import socket
import statistics
import struct
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import frames
from benchmarks.admin import Admin
from benchmarks.brokers import Broker, running_kafka, running_odradek
from benchmarks.peers import kafka_jars

PACE = 500
"""Requests per second, over all connections."""
WARM_S, MEASURED_S = 4.0, 12.0
BATCH_BYTES = 1_000
FEW = 10
PER_TOPIC = 500
MANY_TOPICS = [f"many-{number}" for number in range(20)]


@dataclass(frozen=True, slots=True)
class Case:
    """``active`` connections take turns; ``idle`` ones only are there."""

    name: str
    active: int
    idle: int
    partitions: int
    acks: int = 1


CASES = (
    Case("10 connections, 10 partitions", FEW, 0, FEW),
    Case("5,000 active connections", 5_000, 0, FEW),
    Case("10 active of 5,000 connections", FEW, 4_990, FEW),
    Case("10,000 partitions written to", FEW, 0, 10_000),
    Case("10 connections, 10 partitions, acks=all", FEW, 0, FEW, -1),
    Case("5,000 active connections, acks=all", 5_000, 0, FEW, -1),
    Case("10,000 partitions written to, acks=all", FEW, 0, 10_000, -1),
)


@dataclass(frozen=True, slots=True)
class Result:
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mb: float


@contextlib.contextmanager
def connected(port: int, count: int) -> Iterator[list[socket.socket]]:
    peers: list[socket.socket] = []
    try:
        for _ in range(count):
            peers.append(socket.create_connection(("127.0.0.1", port), 30))
        yield peers
    finally:
        for peer in peers:
            peer.close()


def measure(broker: Broker, case: Case) -> Result:
    batch, _ = frames.record_batch(BATCH_BYTES, BATCH_BYTES, int(time.time() * 1000))
    requests = [
        frames.produce(topic, [index], batch, case.acks).request
        for index in range(min(case.partitions, PER_TOPIC))
        for topic in (MANY_TOPICS if case.partitions > PER_TOPIC else ["few"])
    ]
    with connected(broker.port, case.idle), connected(broker.port, case.active) as peers:
        drive(peers, requests, WARM_S)
        cpu_s = broker.cpu_s()
        took_ms = sorted(drive(peers, requests, MEASURED_S))
        cpu_s = broker.cpu_s() - cpu_s
        memory = broker.private_memory_bytes() / 1e6
    p99 = took_ms[int(len(took_ms) * 0.99)]
    return Result(statistics.median(took_ms), p99, cpu_s / len(took_ms) * 1e6, memory)


def drive(peers: list[socket.socket], requests: list[bytes], seconds: float) -> list[float]:
    """Sends ``PACE`` requests a second, each by the next connection to the next partition."""
    selector = selectors.EpollSelector()
    for number, peer in enumerate(peers):
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ, number)
    waiting: list[list[float]] = [[] for _ in peers]
    rests = [b""] * len(peers)
    took_ms: list[float] = []
    start = time.perf_counter()
    due = deque(start + number / PACE for number in range(int(seconds * PACE)))
    sent = 0
    while due or any(map(len, waiting)):
        now = time.perf_counter()
        while due and due[0] <= now:
            number = sent % len(peers)
            peers[number].send(requests[sent % len(requests)])
            waiting[number].append(due.popleft())
            sent += 1
        pause = max(due[0] - time.perf_counter(), 0) if due else 1.0
        for key, _ in selector.select(pause):
            number = key.data
            data = rests[number] + peers[number].recv(65_536)
            arrived = time.perf_counter()
            while len(data) >= 4 and len(data) >= 4 + (size := struct.unpack_from(">i", data)[0]):
                took_ms.append((arrived - waiting[number].pop(0)) * 1000)
                data = data[4 + size :]
            rests[number] = data
        if time.perf_counter() > start + seconds + 60:
            raise TimeoutError("answers are missing")
    selector.close()
    return took_ms


def run(broker: Broker, cases: list[Case], rounds: int) -> dict[str, Result]:
    """The median of the rounds, in turn, so that what the machine does meanwhile hits all cases alike."""
    with Admin(broker.port, 300) as admin:
        admin.create_topic("few", FEW, {})
        for topic in MANY_TOPICS if any(case.partitions > PER_TOPIC for case in cases) else ():
            admin.create_topic(topic, PER_TOPIC, {})
    found: dict[str, list[Result]] = {case.name: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            found[case.name].append(measure(broker, case))
            broker.check()
    return {
        name: Result(
            *(statistics.median(getattr(result, field) for result in results) for field in Result.__slots__)
        )
        for name, results in found.items()
    }


def show(name: str, results: dict[str, Result]) -> None:
    print(f"{name}")
    print(f"  {'':44}{'p50':>9}{'p99':>9}{'of few':>8}{'CPU':>10}{'private':>10}")
    cases = [case for case in CASES if case.name in results]
    few = {case.acks: results[case.name].p99_ms for case in reversed(cases)}
    for case in cases:
        one = results[case.name]
        print(
            f"  {case.name:44}{one.p50_ms:6.2f} ms{one.p99_ms:6.2f} ms{one.p99_ms / few[case.acks]:7.2f}x"
            f"{one.cpu_us:7.0f} µs{one.memory_mb:7.0f} MB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", action="store_true", help="measure Apache Kafka, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("connections", "partitions"), help="leave the others out")
    arguments = parser.parse_args()
    left_out = {"connections": "partitions written", "partitions": "5,000", None: "nothing"}[arguments.only]
    cases = [case for case in CASES if left_out not in case.name]
    with tempfile.TemporaryDirectory() as scratch:
        with running_odradek(Path(scratch)) as broker:
            show("Odradek", run(broker, cases, arguments.rounds))
        if arguments.kafka:
            with running_kafka(kafka_jars(), Path(scratch)) as broker:
                show("Apache Kafka", run(broker, cases, arguments.rounds))


if __name__ == "__main__":
    main()
