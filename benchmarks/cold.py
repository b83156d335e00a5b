"""Consumers of the past: how quick they are, and what those at the end of the log notice of them.

Run: ``python -m benchmarks.cold [--kafka] [--rounds N] [--gigabytes N]``. A topic is filled and dropped from
the page cache. Then 1,000 records a second go through another topic (``generator.c``, end to end), first
alone, then while one consumer reads the cold topic from its start, a megabyte at a time.
"""

import argparse
import os
import socket
import statistics
import struct
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import frames
from benchmarks.admin import Admin
from benchmarks.brokers import Broker, running_kafka, running_odradek
from benchmarks.generator import Generator, compile_generator
from benchmarks.peers import kafka_jars

RECORD_BYTES = 1_000
BATCH_BYTES = 64 * 1024
FETCH_BYTES = 1 << 20
HOT_BYTES = 1_000
PACE = 1_000
WARM_S, HOT_S = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class Result:
    alone_p99_ms: float
    beside_p99_ms: float
    cold_mb_s: float


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


def measure(broker: Broker, generator: Generator, cold: frames.Frame, records: int) -> Result:
    alone_ms = hot_p99_ms(broker, generator)
    forget(broker.data, "past")
    consumer = ColdConsumer(broker.port, cold, records)
    consumer.start()
    beside_ms = hot_p99_ms(broker, generator)
    consumer.is_over = True
    consumer.join()
    if consumer.error is not None:
        raise consumer.error
    cold_mb_s = consumer.bytes_read / consumer.seconds / 1e6
    return Result(alone_ms, beside_ms, cold_mb_s)


def hot_p99_ms(broker: Broker, generator: Generator) -> float:
    """From when a record is due until its consumer has it, in a topic of its own."""
    topic = f"hot-{time.monotonic_ns()}"
    with Admin(broker.port) as admin:
        admin.create_topic(topic, 1, {})
        batch, count = frames.record_batch(HOT_BYTES, HOT_BYTES, int(time.time() * 1000))
        seen = generator.latency(
            frames.produce(topic, [0], batch, 1),
            frames.fetch(topic, 0, FETCH_BYTES, batch=batch, batch_records=count),
            port=broker.port,
            broker_pid=broker.pid,
            rate=PACE,
            warmup_s=WARM_S,
            seconds=HOT_S,
        )
        admin.delete_topic(topic)
    return seen.p99_us / 1000


def run(broker: Broker, generator: Generator, rounds: int, gigabytes: int) -> Result:
    batch, count = frames.record_batch(RECORD_BYTES, BATCH_BYTES, int(time.time() * 1000))
    batches = gigabytes * (1 << 30) // len(batch)
    with Admin(broker.port) as admin:
        admin.create_topic("past", 1, {"segment.bytes": str(256 << 20)})
    fill = [frames.produce("past", [0], batch, 1)]
    generator.load(
        fill,
        port=broker.port,
        broker_pid=broker.pid,
        connections=1,
        depth=4,
        max_requests=batches,
        seconds=300,
    )
    cold = frames.fetch("past", 0, FETCH_BYTES, batch=batch, batch_records=count)
    found = []
    for _ in range(rounds):
        found.append(measure(broker, generator, cold, batches * count))
        broker.check()
    return Result(
        *(statistics.median(getattr(result, field) for result in found) for field in Result.__slots__)
    )


def show(name: str, result: Result) -> None:
    grown = result.beside_p99_ms / result.alone_p99_ms
    print(
        f"{name:14}hot p99 {result.alone_p99_ms:6.2f} ms alone, {result.beside_p99_ms:6.2f} ms beside a cold"
        f" consumer ({grown:.2f}x), which reads {result.cold_mb_s:,.0f} MB/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", action="store_true", help="measure Apache Kafka, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=int, default=6, help="of the cold topic")
    arguments = parser.parse_args()
    program = compile_generator()
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        scratch = Path(folder)
        generator = Generator(program, scratch)
        with running_odradek(scratch) as broker:
            show("Odradek", run(broker, generator, arguments.rounds, arguments.gigabytes))
        if arguments.kafka:
            with running_kafka(kafka_jars(), scratch) as broker:
                show("Apache Kafka", run(broker, generator, arguments.rounds, arguments.gigabytes))


if __name__ == "__main__":
    main()
