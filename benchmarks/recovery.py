"""Recovery after kill -9: how soon the port answers, and how soon all that was acknowledged is readable.

Run: ``python -m benchmarks.recovery [--kafka] [--rounds N] [--gigabytes N] [--partitions N]``. The topic is
filled with Kafka's ``flush.messages``, so nothing of it is flushed and all lies above the recovery point;
then the broker is killed and started again, each round of that on the same data.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import frames
from benchmarks.admin import Admin
from benchmarks.brokers import Broker, running_kafka, running_odradek
from benchmarks.generator import Generator, compile_generator
from benchmarks.peers import kafka_jars

TOPIC = "unflushed"
RECORD_BYTES = 1_000
BATCH_BYTES = 16 * 1024
PROBE_PAUSE_S = 0.01
LIMIT_S = 600.0
NEVER_FLUSHED = {"flush.messages": str(2**63 - 1), "flush.ms": str(2**63 - 1)}


@dataclass(frozen=True, slots=True)
class Result:
    answers_s: float
    readable_s: float
    first_readable_s: float
    cpu_s: float


def measure(broker: Broker, partitions: int, records: int) -> Result:
    """One kill and what follows, in seconds from exec."""
    broker.restart_after_kill()
    first_s = 0.0
    with Admin(broker.port, LIMIT_S) as admin:
        while True:
            found = admin.end_offsets(TOPIC, partitions)
            now_s = time.perf_counter() - broker.started
            first_s = first_s or (now_s if found else 0.0)
            if len(found) == partitions:
                break
            if now_s > LIMIT_S:
                raise TimeoutError(f"{partitions - len(found)} partitions are not readable after {LIMIT_S} s")
            time.sleep(PROBE_PAUSE_S)
    there = sum(found.values())
    if there != records:
        raise RuntimeError(f"{broker.name} has {there} records of {records} after a kill")
    return Result(broker.start_s, now_s, first_s, broker.cpu_s())


def run(broker: Broker, generator: Generator, rounds: int, gigabytes: float, partitions: int) -> Result:
    batch, count = frames.record_batch(RECORD_BYTES, BATCH_BYTES, int(time.time() * 1000))
    batches = int(gigabytes * (1 << 30)) // len(batch)
    with Admin(broker.port) as admin:
        admin.create_topic(TOPIC, partitions, NEVER_FLUSHED)
    generator.load(
        [frames.produce(TOPIC, [partition], batch, 1) for partition in range(partitions)],
        port=broker.port,
        broker_pid=broker.pid,
        connections=partitions,
        depth=1,
        max_requests=batches,
        seconds=LIMIT_S,
    )
    with Admin(broker.port) as admin:
        records = sum(admin.end_offsets(TOPIC, partitions).values())
    if records < 0.99 * batches * count:
        raise RuntimeError(f"only {records} records were written")
    os.sync()  # what the kernel still has to write would take the disk from the first round
    found = [measure(broker, partitions, records) for _ in range(rounds)]
    return Result(
        *(statistics.median(getattr(result, field) for result in found) for field in Result.__slots__)
    )


def show(name: str, result: Result) -> None:
    print(
        f"{name:14}answers after {result.answers_s:6.2f} s, the first partition is readable after"
        f" {result.first_readable_s:6.2f} s, all of them after {result.readable_s:6.2f} s"
        f" ({result.cpu_s:.1f} s of CPU)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", action="store_true", help="measure Apache Kafka, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--partitions", type=int, default=20)
    arguments = parser.parse_args()
    sizes = arguments.rounds, arguments.gigabytes, arguments.partitions
    program = compile_generator()
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        scratch = Path(folder)
        generator = Generator(program, scratch)
        with running_odradek(scratch) as broker:
            show("Odradek", run(broker, generator, *sizes))
        if arguments.kafka:
            with running_kafka(kafka_jars(), scratch) as broker:
                show("Apache Kafka", run(broker, generator, *sizes))


if __name__ == "__main__":
    main()
