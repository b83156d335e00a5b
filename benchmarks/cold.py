"""Consumers of the past: how quick they are, and what those at the end of the log notice of them.

A topic is filled and dropped from the page cache. Then 1,000 records a second go through another topic
(``generator.c``, end to end), first alone, then while one consumer reads the cold topic from its start, a
megabyte at a time.
"""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import frames
from benchmarks.admin import Admin
from benchmarks.brokers import Broker
from benchmarks.measure import Bench, Metrics, Run

GIGABYTES = 6
RECORD_BYTES = 1_000
BATCH_BYTES = 64 * 1024
FETCH_BYTES = 1 << 20
HOT_BYTES = 1_000
FILL_LIMIT_S = 300.0
TOPIC = "past"
CONFIGS = {"segment.bytes": str(256 << 20)}


class ColdConsumer(threading.Thread):
    """Reads a topic from its start to its end, or until it is told to stop."""

    def __init__(self, port: int, fetch: frames.Frame, records: int) -> None:
        super().__init__()
        self.is_over = False
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
        start, offset = time.perf_counter(), 0
        while offset < self._records and not self.is_over:
            struct.pack_into(">q", request, self._fetch.offset_position, offset)
            peer.sendall(request)
            size = struct.unpack(">i", _receive(peer, answer[:4]))[0]
            body = _receive(peer, answer[:size])
            for position in self._fetch.error_positions:
                (code,) = struct.unpack_from(">h", body, position)
                if code:
                    raise RuntimeError(f"Fetch at offset {offset} was refused with {code}")
            offset = self._next_offset(body)
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
    """Fills the cold topic; each run reads it from its start, beside clients that want what is new."""
    batch, count = frames.record_batch(RECORD_BYTES, BATCH_BYTES, int(time.time() * 1000))
    batches = GIGABYTES * (1 << 30) // len(batch)
    with Admin(broker.port) as admin:
        admin.create_topic(TOPIC, 1, CONFIGS)
    bench.generator.load(
        [frames.produce(TOPIC, [0], batch, 1)],
        port=broker.port,
        broker_pid=broker.pid,
        connections=1,
        depth=4,
        max_requests=batches,
        seconds=FILL_LIMIT_S,
    )
    cold = frames.fetch(TOPIC, 0, FETCH_BYTES, batch=batch, batch_records=count)

    def run(seconds: float) -> Metrics:
        alone = bench.paced(broker, HOT_BYTES, seconds)
        forget(broker.data, TOPIC)
        consumer = ColdConsumer(broker.port, cold, batches * count)
        consumer.start()
        try:
            beside = bench.paced(broker, HOT_BYTES, seconds)
        finally:
            consumer.is_over = True
            consumer.join()
        if consumer.error is not None:
            raise consumer.error
        return {
            "p99_us": beside["p99_us"],
            "other_cores": alone["other_cores"],
            "alone_p99_us": alone["p99_us"],
            "p99_growth": beside["p99_us"] / alone["p99_us"],
            "cold_mb_s": consumer.bytes_read / consumer.seconds / 1e6,
        }

    try:
        yield run
    finally:
        with Admin(broker.port) as admin:
            admin.delete_topic(TOPIC)
        bench.settle(broker)
