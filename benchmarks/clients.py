"""Real clients against a broker: the performance tools of Kafka and confluent-kafka, each its own process."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.brokers import Broker

CLIENT_LIMIT_S = 300.0
RECORD_BYTES = 1000
TOOLS = "org.apache.kafka.tools"


class ClientError(Exception):
    """A client did not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Job:
    """Which broker, which topic and how many records of RECORD_BYTES."""

    broker: Broker
    topic: str
    records: int
    jars: Path
    scratch: Path

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.broker.port}"


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_LIMIT_S)
    if done.returncode:
        raise ClientError(f"{command[0]} … {command[-1]}: {done.stderr[-1500:] or done.stdout[-1500:]}")
    return done.stdout


def _java(job: Job, tool: str, *arguments: str) -> str:
    logging = job.scratch / "tools-log4j2.xml"
    logging.write_text('<Configuration><Loggers><Root level="OFF"/></Loggers></Configuration>')
    options = ["-Xms256M", "-Xmx512M", f"-Dlog4j2.configurationFile={logging}", "-cp", f"{job.jars}/*"]
    return _run(["java", *options, f"{TOOLS}.{tool}", *arguments])


def java_produce(job: Job) -> dict[str, float]:
    """ProducerPerformance with the defaults: acks=all, idempotent, batches of 16 KB, linger 5 ms."""
    output = _java(
        job,
        "ProducerPerformance",
        *("--topic", job.topic, "--num-records", str(job.records), "--record-size", str(RECORD_BYTES)),
        *("--throughput", "-1", "--bootstrap-server", job.bootstrap),
    )
    summary = output.strip().splitlines()[-1]
    found = re.match(r"(\d+) records sent, ([\d.]+) records/sec .*? ([\d.]+) ms 99th,", summary)
    if found is None or int(found[1]) != job.records:
        raise ClientError(f"ProducerPerformance: {summary}")
    rate = float(found[2])
    return {"rate": rate, "mb_s": rate * RECORD_BYTES / 1e6, "p99_us": float(found[3]) * 1000}


def java_consume(job: Job) -> dict[str, float]:
    """ConsumerPerformance in a group of its own; the tool leaves out the time of the rebalance."""
    output = _java(
        job,
        "ConsumerPerformance",
        *("--bootstrap-server", job.bootstrap, "--topic", job.topic, "--num-records", str(job.records)),
        *("--hide-header", "--timeout", "30000"),
    )
    row = next((line.split(", ") for line in output.splitlines() if line.count(", ") == 9), None)
    if row is None or int(row[4]) < job.records:
        raise ClientError(f"ConsumerPerformance: {output[-500:]}")
    rate = float(row[9])
    return {"rate": rate, "mb_s": rate * RECORD_BYTES / 1e6}


def confluent_produce(job: Job) -> dict[str, float]:
    """confluent-kafka's Producer with its defaults (acks=all, not idempotent, linger 5 ms)."""
    return _confluent(job, "produce")


def confluent_consume(job: Job) -> dict[str, float]:
    """confluent-kafka's Consumer in a group, from the first record it gets to the last."""
    return _confluent(job, "consume")


def _confluent(job: Job, what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.confluent", what, job.bootstrap, job.topic, str(job.records)]
    seconds = float(json.loads(_run(command))["seconds"])
    rate = job.records / seconds
    return {"rate": rate, "mb_s": rate * RECORD_BYTES / 1e6}


CLIENTS = {job.__name__: job for job in (java_produce, java_consume, confluent_produce, confluent_consume)}
