"""CPU of the broker without a network: what one request costs from its bytes to its answer's.

Run: ``python -m benchmarks.micro_broker``. With micro_log and micro_codec it tells where a request's time
goes; what the bench measures beyond that is the event loop and the sockets.
"""

import random
import re
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import frames
from odradek.broker.broker import Broker
from odradek.broker.requests import Session
from odradek.cluster.file_store import FileMetadataStore
from odradek.core.clock import SystemClock
from odradek.core.config.broker import broker_config
from odradek.storage.disk import SystemDisk
from odradek.storage.store import LogStore

ROUNDS = 7
REQUESTS = 4000
TOPIC = "micro"


@contextmanager
def running_broker() -> Iterator[Broker]:
    """A broker on a temporary folder that flushes only when it is told to."""
    with tempfile.TemporaryDirectory() as folder:
        config = broker_config({"log.dirs": folder, "num.partitions": "8"})
        clock, disk, randomness = SystemClock(), SystemDisk(), random.SystemRandom()
        store = LogStore.open(config.log_dir, disk, clock, randomness, node_id=config.node_id)
        metadata = FileMetadataStore.open(config.log_dir, disk, store.cluster_id, node_id=config.node_id)
        broker = Broker(config, store, metadata, clock, randomness)
        try:
            yield broker
        finally:
            broker.close()


def flush(broker: Broker) -> None:
    while (ticket := broker.begin_flush()) is not None:
        ticket.run()
        broker.finish_flush(ticket)


def handle(broker: Broker, session: Session, request: bytes) -> Any:
    """The answer to one frame, its size prefix left out as a connection does."""
    return broker.handle(memoryview(bytearray(request))[4:], session)


def cost_us(call: Callable[[], object]) -> float:
    """The best of ROUNDS, in microseconds of this process for each of REQUESTS calls."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(REQUESTS // ROUNDS):
            call()
        best = min(best, (time.process_time() - started) / (REQUESTS // ROUNDS))
    return best * 1e6


def produce_cost_us(broker: Broker, session: Session, batch_bytes: int, partitions: list[int]) -> float:
    batch, _ = frames.record_batch(min(batch_bytes, 1000), batch_bytes, int(time.time() * 1000))
    request = frames.produce(TOPIC, partitions, batch, acks=1).request
    frame = bytearray(request)
    view = memoryview(frame)[4:]
    starts = [found.start() for found in re.finditer(re.escape(batch), request)]

    def call() -> None:
        for start in starts:
            frame[start : start + 16] = batch[:16]  # the broker wrote its offset and epoch there
        broker.handle(view, session)

    return cost_us(call)


def fetch_cost_us(broker: Broker, session: Session, batch_bytes: int) -> float:
    """Over the partition's end that was written last, one batch after the other."""
    batch, count = frames.record_batch(1000, batch_bytes, int(time.time() * 1000))
    produce = frames.produce(TOPIC, [7], batch, 1).request
    log = broker.topics.by_name[TOPIC].partitions[7].log
    first = log.log_end_offset
    batches = 200
    for _ in range(batches):
        handle(broker, session, produce)
    flush(broker)
    fetch = frames.fetch(TOPIC, 7, len(batch), batch=batch)
    frame = bytearray(fetch.request)
    view = memoryview(frame)[4:]
    offsets = [first + count * index for index in range(batches)]
    turn = 0

    def call() -> None:
        nonlocal turn
        struct.pack_into(">q", frame, fetch.offset_position, offsets[turn])
        turn = (turn + 1) % batches
        broker.handle(view, session)

    return cost_us(call)


def main() -> None:
    session = Session("127.0.0.1", "127.0.0.1", 9092)
    with running_broker() as broker:
        create = struct.pack(">ih", 1, len(TOPIC)) + TOPIC.encode() + b"\1"
        handle(broker, session, frames.request(3, 4, create, flexible=False))
        flush(broker)
        for size in (100, 16 << 10, 64 << 10):
            print(f"produce {size:7}          {produce_cost_us(broker, session, size, [0]):6.1f} µs")
        eight = produce_cost_us(broker, session, 16 << 10, list(range(8)))
        print(f"produce 8 x {16 << 10:7}      {eight:6.1f} µs")
        for size in (16 << 10, 64 << 10, 1000 << 10):
            print(f"fetch   {size:7}          {fetch_cost_us(broker, session, size):6.1f} µs")


if __name__ == "__main__":
    main()
