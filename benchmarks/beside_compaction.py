"""What clients notice of a compaction: latencies at a fixed pace, in turn without one and beside one.

Run: ``python -m benchmarks.beside_compaction [ROUNDS] [SECONDS]`` (5 rounds of 3 s by default). For each
window beside a compaction there is a fresh topic of half a gigabyte, whose policy then becomes ``compact``. A
window counts only when the compacting process was there from its beginning to its end.
"""

import asyncio
import itertools
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import frames
from benchmarks.admin import Admin
from benchmarks.brokers import Broker, process_tree, running_odradek
from benchmarks.generator import BUILD, Generator, compile_generator
from odradek.client.admin import ResourceType, alter_configs
from odradek.client.client import Client
from odradek.protocol.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.records.builder import build_batch
from odradek.records.record import Record

SETTINGS = {"log.cleaner.backoff.ms": "0"}
DIRTY_BATCHES = 600
BATCH_RECORDS = 900
RATE = 1000
PATIENCE_S = 30.0
_numbers = itertools.count()


async def fill(port: int, topic_name: str) -> None:
    """Half a gigabyte of records with keys that come again."""
    rng = random.Random(1)
    value = rng.randbytes(1000)
    async with Client(f"127.0.0.1:{port}") as client:
        connection = await client.any_broker()
        for _ in range(DIRTY_BATCHES):
            now_ms = int(time.time() * 1000)
            records = [Record(0, now_ms, b"%d" % rng.randrange(200_000), value) for _ in range(BATCH_RECORDS)]
            data = PartitionProduceData(index=0, records=memoryview(build_batch(records)))
            topic = TopicProduceData(name=topic_name, partition_data=[data])
            request = ProduceRequest(acks=1, timeout_ms=30_000, topic_data=[topic])
            response = await connection.call(request, ProduceResponse, cap=12)
            assert not response.responses[0].partition_responses[0].error_code


async def let_compact(port: int, topic: str) -> None:
    async with Client(f"127.0.0.1:{port}") as client:
        await alter_configs(client, ResourceType.TOPIC, topic, {"cleanup.policy": "compact"})


def is_compacting(broker: Broker) -> bool:
    return len(process_tree(broker.pid)) > 1


def wait_until(broker: Broker, *, compacting: bool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while is_compacting(broker) != compacting:
        if time.monotonic() > deadline:
            raise SystemExit(f"the broker does not {'begin' if compacting else 'end'} to compact")
        time.sleep(0.05)


def window(generator: Generator, broker: Broker, seconds: float) -> dict[str, float]:
    """One window on a topic of its own."""
    topic = f"hot-{next(_numbers)}"
    with Admin(broker.port) as admin:
        admin.create_topic(topic, 1, {})
    batch, _ = frames.record_batch(100, 100, int(time.time() * 1000))
    return generator.latency(
        frames.produce(topic, [0], batch, acks=1),
        frames.fetch(topic, 0, 1 << 20),
        port=broker.port,
        broker_pid=broker.pid,
        rate=RATE,
        warmup_s=0.5,
        seconds=seconds,
    ).metrics


def beside(generator: Generator, broker: Broker, seconds: float) -> dict[str, float] | None:
    topic = f"dirty-{next(_numbers)}"
    with Admin(broker.port) as admin:
        admin.create_topic(topic, 1, {"cleanup.policy": "delete", "segment.bytes": "67108864"})
    asyncio.run(fill(broker.port, topic))
    asyncio.run(let_compact(broker.port, topic))
    wait_until(broker, compacting=True)
    found = window(generator, broker, seconds)
    was_compacting = is_compacting(broker)
    with Admin(broker.port) as admin:
        admin.delete_topic(topic)
    wait_until(broker, compacting=False)
    return found if was_compacting else None


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    BUILD.mkdir(parents=True, exist_ok=True)
    without: list[dict[str, float]] = []
    with_one: list[dict[str, float]] = []
    with (
        tempfile.TemporaryDirectory(dir=BUILD) as scratch,
        running_odradek(Path(scratch), SETTINGS) as broker,
    ):
        generator = Generator(compile_generator(), Path(scratch))
        window(generator, broker, 1.0)
        for _ in range(rounds):
            without.append(window(generator, broker, seconds))
            found = beside(generator, broker, seconds)
            if found is None:
                print("a pass ended before its window did: that window does not count")
            else:
                with_one.append(found)
    if not with_one:
        raise SystemExit("no window counts; make them shorter")
    for metric in ("p50_us", "p99_us", "p99_9_us"):
        before = statistics.median(one[metric] for one in without)
        after = statistics.median(one[metric] for one in with_one)
        print(f"{metric:9} {before:9.0f} alone {after:9.0f} beside a compaction   ratio {after / before:.2f}")


if __name__ == "__main__":
    main()
