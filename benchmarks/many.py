"""Many connections and many partitions: what they do to the p99 and the CPU of a Produce request.

The pace is the same for few and for many (open loop), and so is the generator; only the number of
connections, or of partitions that are written to, differs. Times are from the moment at which a request was
due, so that a broker that stalls is charged for all that it held up.
"""

import contextlib
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator

from benchmarks import frames
from benchmarks.admin import Admin
from benchmarks.brokers import Broker
from benchmarks.measure import Bench, Metrics, Run

PACE = 500
"""Requests per second, over all connections."""
WARM_S = 2.0
TIMES_LONGER = 2.5
"""Than a window of a closed loop: at this pace a p99 needs time."""
BATCH_BYTES = 1_000
FEW = 10
CONNECTIONS = 5_000
TOPICS, PER_TOPIC = 20, 500
LATE_S = 60.0
ADMIN_LIMIT_S = 300.0


@contextlib.contextmanager
def many_connections(bench: Bench, broker: Broker) -> Iterator[Run]:
    """Each run compares 10 connections with 5,000, all of which take turns."""
    with _topics(bench, broker, ["few-connections"], FEW):
        requests = _requests(["few-connections"], FEW)
        with connected(broker.port, CONNECTIONS) as peers:
            yield lambda seconds: _growth(broker, seconds, (peers[:FEW], requests), (peers, requests))


@contextlib.contextmanager
def many_partitions(bench: Bench, broker: Broker) -> Iterator[Run]:
    """Each run compares 10 partitions with 10,000 of the same broker."""
    topics = [f"many-{number}" for number in range(TOPICS)]
    with _topics(bench, broker, topics, PER_TOPIC), connected(broker.port, FEW) as peers:
        few, many = _requests(topics[:1], FEW), _requests(topics, PER_TOPIC)
        yield lambda seconds: _growth(broker, seconds, (peers, few), (peers, many))


@contextlib.contextmanager
def _topics(bench: Bench, broker: Broker, names: list[str], partitions: int) -> Iterator[None]:
    with Admin(broker.port, ADMIN_LIMIT_S) as admin:
        for name in names:
            admin.create_topic(name, partitions, {})
    try:
        yield
    finally:
        with Admin(broker.port, ADMIN_LIMIT_S) as admin:
            for name in names:
                admin.delete_topic(name)
        bench.settle(broker)


def _requests(topics: list[str], partitions: int) -> list[bytes]:
    batch, _ = frames.record_batch(BATCH_BYTES, BATCH_BYTES, int(time.time() * 1000))
    return [
        frames.produce(topic, [index], batch, 1).request for index in range(partitions) for topic in topics
    ]


def _growth(
    broker: Broker,
    seconds: float,
    few: tuple[list[socket.socket], list[bytes]],
    many: tuple[list[socket.socket], list[bytes]],
) -> Metrics:
    alone, _ = _window(broker, *few, seconds)
    p99_us, cpu_us = _window(broker, *many, seconds)
    return {
        "cpu_us": cpu_us,
        "alone_p99_us": alone,
        "p99_us": p99_us,
        "p99_growth": p99_us / alone,
        "seconds": seconds,
    }


def _window(
    broker: Broker, peers: list[socket.socket], requests: list[bytes], seconds: float
) -> tuple[float, float]:
    """p99 and the broker's CPU per request, both in microseconds."""
    drive(peers, requests, WARM_S)
    cpu_s = broker.cpu_s()
    took_s = sorted(drive(peers, requests, seconds * TIMES_LONGER))
    cpu_s = broker.cpu_s() - cpu_s
    return took_s[int(len(took_s) * 0.99)] * 1e6, cpu_s / len(took_s) * 1e6


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


def drive(peers: list[socket.socket], requests: list[bytes], seconds: float) -> list[float]:
    """Sends ``PACE`` requests a second, each by the next connection to the next partition; returns how many
    seconds each answer took."""
    selector = selectors.EpollSelector()
    for number, peer in enumerate(peers):
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ, number)
    waiting: list[deque[float]] = [deque() for _ in peers]
    rests = [b""] * len(peers)
    took_s: list[float] = []
    start = time.perf_counter()
    due = deque(start + number / PACE for number in range(int(seconds * PACE)))
    sent = 0
    while due or any(waiting):
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
                took_s.append(arrived - waiting[number].popleft())
                data = data[4 + size :]
            rests[number] = data
        if time.perf_counter() > start + seconds + LATE_S:
            raise TimeoutError("answers are missing")
    selector.close()
    return took_s
