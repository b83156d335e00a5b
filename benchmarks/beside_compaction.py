"""What clients notice of a compaction: latencies at a fixed pace, in turn without one and beside one.

Two of them: until a produce request with acks=1 is answered, which waits for the event loop and for no disk,
and until a consumer has the record, which waits for a flush, too.

For each run there are two fresh topics of 1.3 GB, whose policy becomes ``compact`` in turn: one is
timed with nobody else there, the other is what the window runs beside. A window counts only when the
compacting process was there from its beginning to its end.
"""

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections.abc import Iterator

from benchmarks.admin import Admin, BrokerError
from benchmarks.brokers import Broker, process_tree
from benchmarks.measure import Bench, Metrics, Run
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
BATCHES = 1_500
BATCH_RECORDS = 900
VALUE_BYTES = 1_000
HOT_BYTES = 100
PATIENCE_S = 60.0
GONE_S = 4.0
"""After so long the files of a deleted topic are gone, and the disk has no more work with them."""
_numbers = itertools.count()


@contextlib.contextmanager
def prepared(bench: Bench, broker: Broker) -> Iterator[Run]:
    """Each run measures a window without and one beside a compaction."""

    async def hasten() -> None:
        async with Client(f"127.0.0.1:{broker.port}") as client:
            await alter_configs(client, ResourceType.BROKER, "1", SETTINGS)

    asyncio.run(hasten())

    def run(seconds: float) -> Metrics:
        with dirty_topic(broker) as topic:
            compacted_mb_s = timed_pass(broker, topic)
        os.sync()  # neither window is to bear what was written before it
        alone = bench.paced(broker, HOT_BYTES, seconds)
        with dirty_topic(broker) as topic:
            os.sync()
            asyncio.run(let_compact(broker.port, topic))
            wait_until(broker, compacting=True)
            beside = bench.paced(broker, HOT_BYTES, seconds)
            if not is_compacting(broker):
                raise BrokerError("the pass ended before its window did: make the window shorter")
        wait_until(broker, compacting=False)
        return {
            "p99_us": beside["p99_us"],
            "other_cores": alone["other_cores"],
            "alone_p99_us": alone["p99_us"],
            "p99_growth": beside["p99_us"] / alone["p99_us"],
            "alone_answer_p99_us": alone["answer_p99_us"],
            "answer_p99_us": beside["answer_p99_us"],
            "answer_p99_growth": beside["answer_p99_us"] / alone["answer_p99_us"],
            "compacted_mb_s": compacted_mb_s,
        }

    yield run


@contextlib.contextmanager
def dirty_topic(broker: Broker) -> Iterator[str]:
    """1.3 GB of records with keys that come again, not compacted yet."""
    name = f"dirty-{next(_numbers)}"
    with Admin(broker.port) as admin:
        admin.create_topic(name, 1, {"cleanup.policy": "delete", "segment.bytes": str(64 << 20)})
    asyncio.run(fill(broker.port, name))
    try:
        yield name
    finally:
        with Admin(broker.port) as admin:
            admin.delete_topic(name)
        time.sleep(GONE_S)


async def fill(port: int, topic_name: str) -> None:
    rng = random.Random(1)
    value = rng.randbytes(VALUE_BYTES)
    async with Client(f"127.0.0.1:{port}") as client:
        connection = await client.any_broker()
        for _ in range(BATCHES):
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


def timed_pass(broker: Broker, topic: str) -> float:
    """MB of log a second, from the beginning of the pass to its end."""
    asyncio.run(let_compact(broker.port, topic))
    wait_until(broker, compacting=True)
    start = time.perf_counter()
    wait_until(broker, compacting=False)
    return BATCHES * BATCH_RECORDS * VALUE_BYTES / (time.perf_counter() - start) / 1e6


def is_compacting(broker: Broker) -> bool:
    return len(process_tree(broker.pid)) > 1


def wait_until(broker: Broker, *, compacting: bool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while is_compacting(broker) != compacting:
        if time.monotonic() > deadline:
            raise BrokerError(f"{broker.name} does not {'begin' if compacting else 'end'} to compact")
        time.sleep(0.02)
