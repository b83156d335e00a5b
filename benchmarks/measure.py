"""Measures one case on one broker: make the topic, drive it, drop the topic."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import frames
from benchmarks.admin import Admin
from benchmarks.brokers import Broker
from benchmarks.cases import ClientCase, LatencyCase, LoadCase
from benchmarks.clients import CLIENTS, Job
from benchmarks.frames import Frame
from benchmarks.generator import Generator

Metrics = dict[str, float]
Run = Callable[[float], Metrics]
MeasuredCase = LoadCase | LatencyCase | ClientCase

RAMP_S = 0.5
"""Under load before the window opens, in each round."""
WINDOW_BYTES = 1 << 30
"""A window closes early when this much was written: the page cache holds it, and the disk never fills."""
LATENCY_WINDOWS = 2.5
"""The paced case runs that much longer: at 1,000 records a second a p99 needs time."""
SETTLED_BYTES = 2 << 30
SETTLE_LIMIT_S = 40.0


@dataclass(slots=True)
class Bench:
    """What every measurement needs."""

    generator: Generator
    jars: Path
    scratch: Path
    client_records: int
    _names: Iterator[int] = field(default_factory=itertools.count)

    @contextlib.contextmanager
    def prepared(self, case: MeasuredCase, broker: Broker) -> Iterator[Run]:
        """A function that measures `case` for so many seconds. What is fetched is written once, before."""
        if isinstance(case, LatencyCase):
            yield lambda seconds: self.latency(case, broker, seconds * LATENCY_WINDOWS)
        elif isinstance(case, ClientCase):
            yield lambda seconds: self.client(case, broker)
        elif case.kind == "produce":
            yield lambda seconds: self.produce(case, broker, seconds)
        else:
            with self._filled_topic(case, broker) as frame:
                yield lambda seconds: self._window(case, broker, frame, seconds)

    def produce(self, case: LoadCase, broker: Broker, seconds: float) -> Metrics:
        """One window of produce requests into a fresh topic."""
        with self._topic(case.name, case.partitions, case.odradek_topic, broker) as topic:
            batch, _ = frames.record_batch(case.record_bytes, case.batch_bytes, _now_ms())
            frame = frames.produce(topic, list(range(case.partitions)), batch, case.acks)
            return self._window(case, broker, frame, seconds)

    def latency(self, case: LatencyCase, broker: Broker, seconds: float) -> Metrics:
        """Records at a fixed pace, timed until the consumer has them."""
        with self._topic(case.name, 1, case.odradek_topic, broker) as topic:
            batch, _ = frames.record_batch(100, 100, _now_ms())
            return self.generator.latency(
                frames.produce(topic, [0], batch, acks=1),
                frames.fetch(topic, 0, 1 << 20),
                port=broker.port,
                broker_pid=broker.pid,
                rate=case.rate,
                warmup_s=RAMP_S,
                seconds=seconds,
            ).metrics

    def client(self, case: ClientCase, broker: Broker) -> Metrics:
        """One run of a real client; a consumer's topic is filled by the Java producer first."""
        with self._topic(case.name, 1, (), broker) as topic:
            job = Job(broker, topic, self.client_records, self.jars, self.scratch)
            if case.client.endswith("consume"):
                self._fill_for_client(job)
            before = broker.cpu_s()
            metrics = CLIENTS[case.client](job)
            return {**metrics, "broker_cpu_s": broker.cpu_s() - before}

    def settle(self, broker: Broker) -> None:
        """Waits until most of what was deleted is off the disk, as long as SETTLE_LIMIT_S."""
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while broker.data_bytes() > SETTLED_BYTES and time.monotonic() < deadline:
            time.sleep(0.2)

    def _window(self, case: LoadCase, broker: Broker, frame: Frame, seconds: float) -> Metrics:
        return self.generator.load(
            [frame],
            port=broker.port,
            broker_pid=broker.pid,
            connections=case.connections,
            depth=case.depth,
            warmup_s=RAMP_S,
            seconds=seconds,
            max_bytes=WINDOW_BYTES if case.kind == "produce" else 0,
        ).metrics

    @contextlib.contextmanager
    def _topic(
        self, label: str, partitions: int, configs: tuple[tuple[str, str], ...], broker: Broker
    ) -> Iterator[str]:
        name = f"{label}-{next(self._names)}"
        broker.check()
        with Admin(broker.port) as admin:
            admin.create_topic(name, partitions, dict(configs) if broker.name == "odradek" else {})
        try:
            yield name
        finally:
            with Admin(broker.port) as admin:
                admin.delete_topic(name)
            self.settle(broker)

    @contextlib.contextmanager
    def _filled_topic(self, case: LoadCase, broker: Broker) -> Iterator[Frame]:
        with self._topic(case.name, 1, case.odradek_topic, broker) as topic:
            batch, count = frames.record_batch(case.record_bytes, case.batch_bytes, _now_ms())
            batches = case.fill_bytes // len(batch)
            self._fill(frames.produce(topic, [0], batch, acks=-1), batches, broker)
            yield frames.fetch(
                topic,
                0,
                len(batch),
                batch=batch,
                batch_records=count,
                end_offset=batches * count,
            )

    def _fill(self, frame: Frame, requests: int, broker: Broker) -> None:
        self.generator.load(
            [frame], port=broker.port, broker_pid=broker.pid, connections=1, depth=5, max_requests=requests
        )

    def _fill_for_client(self, job: Job) -> None:
        batch, count = frames.record_batch(1000, 16 * 1024, _now_ms())
        requests = -(-job.records // count)
        self._fill(frames.produce(job.topic, [0], batch, acks=-1), requests, job.broker)


def _now_ms() -> int:
    return int(time.time() * 1000)
