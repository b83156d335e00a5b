"""Consumers of the past: how quick they are, and what those at the end of the log notice of them.

For each run a topic is filled and dropped from the page cache. Then 1,000 records a second go through another
topic (``generator.c``, end to end), in turn alone and while one consumer reads on in the cold topic, a
megabyte at a time. No byte is read twice: what a broker has mapped and sent cannot be dropped again. Medians
of the windows count: now and then a device that reads much stands still, for some 10 to 400 ms.
"""

import contextlib
import itertools
import os
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import frames
from benchmarks.admin import Admin, BrokerError
from benchmarks.brokers import Broker
from benchmarks.measure import RAMP_S, Bench, Metrics, Run

TURNS = 3
LONGEST_S = 1.5
"""Windows are half as long as others, but no longer than this."""
GIGABYTES_PER_S = 1.5
"""So large is the topic for each second beside its consumer."""
REST_S = 2.0
"""For the device, when a topic is written."""
RECORD_BYTES = 1_000
BATCH_BYTES = 64 * 1024
FETCH_BYTES = 1 << 20
HOT_BYTES = 1_000
FILL_LIMIT_S = 300.0
CONFIGS = {"segment.bytes": str(256 << 20)}


class ColdConsumer(threading.Thread):
    """Reads a topic from an offset to its end, or until it is told to stop; ``offset`` is where it is."""

    def __init__(self, port: int, fetch: frames.Frame, offset: int, records: int) -> None:
        super().__init__()
        self.is_over = False
        self.offset = offset
        self.bytes_read = 0
        self.seconds = 0.0
        self.error: Exception | None = None
        self._port = port
        self._fetch = fetch
        self._records = records

    def run(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._port), 60) as peer:
                self._read(peer)
        except Exception as error:
            self.error = error

    def _read(self, peer: socket.socket) -> None:
        request = bytearray(self._fetch.request)
        answer = memoryview(bytearray(4 * FETCH_BYTES))
        start = time.perf_counter()
        while self.offset < self._records and not self.is_over:
            struct.pack_into(">q", request, self._fetch.offset_position, self.offset)
            peer.sendall(request)
            size = struct.unpack(">i", _receive(peer, answer[:4]))[0]
            body = _receive(peer, answer[:size])
            for position in self._fetch.error_positions:
                (code,) = struct.unpack_from(">h", body, position)
                if code:
                    raise RuntimeError(f"Fetch at offset {self.offset} was refused with {code}")
            self.offset = self._next_offset(body)
            self.bytes_read += size
            self.seconds = time.perf_counter() - start

    def _next_offset(self, body: memoryview) -> int:
        """The offset behind the last whole batch of an answer."""
        position = self._fetch.records_position
        while body[position] & 0x80:  # the length of the records
            position += 1
        position += 1
        next_offset = -1
        while position + 61 <= len(body):
            base, length = struct.unpack_from(">qi", body, position)
            if position + 12 + length > len(body):
                break
            next_offset = base + struct.unpack_from(">i", body, position + 23)[0] + 1
            position += 12 + length
        if next_offset < 0:
            raise RuntimeError("an answer without a batch")
        return next_offset


def _receive(peer: socket.socket, into: memoryview) -> memoryview:
    filled = 0
    while filled < len(into):
        count = peer.recv_into(into[filled:])
        if not count:
            raise ConnectionError("the broker closed the connection")
        filled += count
    return into


def forget(data: Path, topic: str) -> None:
    """Drops the files of a topic from the page cache."""
    for path in data.glob(f"{topic}-*/*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def prepared(bench: Bench, broker: Broker) -> Iterator[Run]:
    """Each run fills a topic and reads it, beside clients that want what is new."""
    batch, count = frames.record_batch(RECORD_BYTES, BATCH_BYTES, int(time.time() * 1000))
    numbers = itertools.count()

    def run(seconds: float) -> Metrics:
        seconds = min(seconds / 2, LONGEST_S)
        batches = int(GIGABYTES_PER_S * TURNS * (RAMP_S + seconds) * (1 << 30)) // len(batch)
        topic = f"past-{next(numbers)}"
        cold = frames.fetch(topic, 0, FETCH_BYTES, batch=batch, batch_records=count)
        alone, beside, consumers = [], [], []
        with _filled(bench, broker, topic, batch, batches):
            forget(broker.data, topic)
            os.sync()  # no window is to bear what was written before it
            time.sleep(REST_S)
            offset = 0
            for _ in range(TURNS):
                alone.append(bench.paced(broker, HOT_BYTES, seconds))
                with _reading(ColdConsumer(broker.port, cold, offset, batches * count)) as consumer:
                    beside.append(bench.paced(broker, HOT_BYTES, seconds))
                offset = consumer.offset
                consumers.append(consumer)
        alone_p99_us = statistics.median(metrics["p99_us"] for metrics in alone)
        p99_us = statistics.median(metrics["p99_us"] for metrics in beside)
        bytes_read = sum(consumer.bytes_read for consumer in consumers)
        return {
            "p99_us": p99_us,
            "other_cores": max(metrics["other_cores"] for metrics in alone),
            "alone_p99_us": alone_p99_us,
            "p99_growth": p99_us / alone_p99_us,
            "cold_mb_s": bytes_read / sum(consumer.seconds for consumer in consumers) / 1e6,
        }

    yield run


@contextlib.contextmanager
def _reading(consumer: ColdConsumer) -> Iterator[ColdConsumer]:
    """It reads from the beginning to the end of this, or the window is worth nothing."""
    consumer.start()
    try:
        yield consumer
    finally:
        was_there = consumer.is_alive()
        consumer.is_over = True
        consumer.join()
    if consumer.error is not None:
        raise consumer.error
    if not was_there:
        raise BrokerError("the cold topic was at its end before the window: GIGABYTES_PER_S is too low here")


@contextlib.contextmanager
def _filled(bench: Bench, broker: Broker, topic: str, batch: bytes, batches: int) -> Iterator[None]:
    """A topic of so many batches; what it leaves on the disk is waited for."""
    with Admin(broker.port) as admin:
        admin.create_topic(topic, 1, CONFIGS)
    try:
        bench.generator.load(
            [frames.produce(topic, [0], batch, 1)],
            port=broker.port,
            broker_pid=broker.pid,
            connections=1,
            depth=4,
            max_requests=batches,
            seconds=FILL_LIMIT_S,
        )
        yield
    finally:
        with Admin(broker.port) as admin:
            admin.delete_topic(topic)
        bench.settle(broker)
