"""Recovery after kill -9: how soon the port answers, and how soon all that was acknowledged is readable.

The topic is filled with Kafka's ``flush.messages``, so nothing of it is flushed and all lies above the
recovery point; then the broker is killed and started again. Times are from exec.
"""

import contextlib
import os
import time
from collections.abc import Iterator

from benchmarks import frames
from benchmarks.admin import Admin, BrokerError
from benchmarks.brokers import Broker
from benchmarks.measure import Bench, Metrics, Run

GIGABYTES = 10
PARTITIONS = 20
TOPIC = "unflushed"
RECORD_BYTES = 1_000
BATCH_BYTES = 16 * 1024
PROBE_PAUSE_S = 0.01
LIMIT_S = 600.0
NEVER_FLUSHED = {"flush.messages": str(2**63 - 1), "flush.ms": str(2**63 - 1)}


@contextlib.contextmanager
def prepared(bench: Bench, broker: Broker) -> Iterator[Run]:
    """Each run fills the topic, kills the broker and waits for the next one; memory has room for one."""

    def run(_: float) -> Metrics:
        records = fill(bench, broker)
        try:
            broker.restart_after_kill()
            readable_s = until_readable(broker, records)
            return {"seconds": readable_s, "answers_s": broker.start_s, "broker_cpu_s": broker.cpu_s()}
        finally:
            with Admin(broker.port, LIMIT_S) as admin:
                admin.delete_topic(TOPIC)
            bench.settle(broker)

    yield run


def fill(bench: Bench, broker: Broker) -> int:
    """How many records it has."""
    batch, count = frames.record_batch(RECORD_BYTES, BATCH_BYTES, int(time.time() * 1000))
    batches = GIGABYTES * (1 << 30) // len(batch)
    with Admin(broker.port) as admin:
        admin.create_topic(TOPIC, PARTITIONS, NEVER_FLUSHED)
    bench.generator.load(
        [frames.produce(TOPIC, [partition], batch, 1) for partition in range(PARTITIONS)],
        port=broker.port,
        broker_pid=broker.pid,
        connections=PARTITIONS,
        depth=1,
        max_requests=batches,
        seconds=LIMIT_S,
    )
    with Admin(broker.port) as admin:
        records = sum(admin.end_offsets(TOPIC, PARTITIONS).values())
    if records < 0.99 * batches * count:
        raise BrokerError(f"only {records} records were written")
    os.sync()  # what the kernel still has to write would take the disk from what is measured
    return records


def until_readable(broker: Broker, records: int) -> float:
    """When ListOffsets of all partitions was answered and told every record, in seconds from exec."""
    with Admin(broker.port, LIMIT_S) as admin:
        while len(found := admin.end_offsets(TOPIC, PARTITIONS)) < PARTITIONS:
            if time.perf_counter() - broker.started > LIMIT_S:
                raise BrokerError(f"{PARTITIONS - len(found)} partitions are not readable after {LIMIT_S} s")
            time.sleep(PROBE_PAUSE_S)
        readable_s = time.perf_counter() - broker.started
    there = sum(found.values())
    if there != records:
        raise BrokerError(f"{broker.name} has {there} records of {records} after a kill")
    return readable_s
