"""Measures one case on one broker: make the topic, drive it, drop the topic."""

import contextlib
import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import coordinator_frames, frames, members, transactions
from benchmarks.admin import Admin, BrokerError
from benchmarks.brokers import Broker
from benchmarks.cases import (
    ClientCase,
    CoordinatorCase,
    GroupCase,
    LatencyCase,
    LoadCase,
    TransactionCase,
)
from benchmarks.clients import CLIENTS, Job
from benchmarks.coordinator_frames import GROUP, TRANSACTION
from benchmarks.frames import Frame
from benchmarks.generator import Generator, Measurement, Paced, RecordTimes

Metrics = dict[str, float]
Run = Callable[[float], Metrics]
MeasuredCase = LoadCase | CoordinatorCase | TransactionCase | GroupCase | LatencyCase | ClientCase

RAMP_S = 0.5
"""Under load before the window opens, in each round."""
WINDOW_BYTES = 1 << 30
"""A window closes early when this much was written: the page cache holds it, and the disk never fills."""
PACED_RATE = 1_000
LATENCY_WINDOWS = 2.5
"""The paced case runs that much longer: at 1,000 records a second a p99 needs time."""
TRANSACTION_BATCH_BYTES = 16 * 1024
SOURCE_BATCHES = 4096
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
        elif isinstance(case, GroupCase):
            yield lambda seconds: self.group(case, broker)
        elif isinstance(case, CoordinatorCase):
            with self._coordinator_frames(case, broker) as loop:
                yield lambda seconds: self._loop(case, broker, loop, seconds)
        elif isinstance(case, TransactionCase):
            yield lambda seconds: self.transactions(case, broker, seconds)
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
        with self._paced(case.name, case.rate, 100, case.odradek_topic, broker, seconds) as paced:
            return self.generator.latency(paced).metrics

    def paced(self, broker: Broker, record_bytes: int, seconds: float) -> Metrics:
        """The same with a thousand records a second, as what something else goes on beside."""
        with self._paced("paced", PACED_RATE, record_bytes, (), broker, seconds) as paced:
            return self.generator.latency(paced).metrics

    @contextlib.contextmanager
    def paced_times(
        self, broker: Broker, record_bytes: int, longest_s: float
    ) -> Iterator[tuple[list[RecordTimes], list[Measurement]]]:
        """The same in the background, record by record: see :meth:`Generator.latency_times`."""
        with (
            self._paced("paced", PACED_RATE, record_bytes, (), broker, longest_s) as paced,
            self.generator.latency_times(paced) as measured,
        ):
            yield measured

    @contextlib.contextmanager
    def _paced(
        self,
        label: str,
        rate: int,
        record_bytes: int,
        configs: tuple[tuple[str, str], ...],
        broker: Broker,
        seconds: float,
    ) -> Iterator[Paced]:
        with self._topic(label, 1, configs, broker, is_small=True) as topic:
            batch, _ = frames.record_batch(record_bytes, record_bytes, _now_ms())
            yield Paced(
                frames.produce(topic, [0], batch, acks=1),
                frames.fetch(topic, 0, 1 << 20),
                port=broker.port,
                broker_pid=broker.pid,
                rate=rate,
                warmup_s=RAMP_S,
                seconds=seconds,
            )

    def client(self, case: ClientCase, broker: Broker) -> Metrics:
        """One run of a real client; a consumer's topic is filled by the Java producer first."""
        with self._topic(case.name, 1, (), broker) as topic:
            job = Job(broker, topic, self.client_records, self.jars, self.scratch)
            if case.client.endswith("consume"):
                self._fill_for_client(job)
            before = broker.cpu_s()
            metrics = CLIENTS[case.client](job)
            return {**metrics, "broker_cpu_s": broker.cpu_s() - before}

    def group(self, case: GroupCase, broker: Broker) -> Metrics:
        """One run of a group of many members, or of many groups."""
        with self._topic(case.name, case.partitions, (), broker) as topic:
            if case.members:
                return members.rebalance(broker, topic, case.members, case.partitions)
            return members.idle_groups(broker, topic)

    def transactions(self, case: TransactionCase, broker: Broker, seconds: float) -> Metrics:
        """One window of transactions into a fresh topic, by producers that nobody had before."""
        with contextlib.ExitStack() as stack:
            topic = stack.enter_context(self._topic(case.name, case.partitions, (), broker))
            batch, count = frames.record_batch(1000, TRANSACTION_BATCH_BYTES, _now_ms())
            source = ""
            if case.is_copy:
                source = stack.enter_context(self._topic(f"{case.name}-source", 1, (), broker))
                self._fill(frames.produce(source, [0], batch, acks=-1), SOURCE_BATCHES, broker)
            admin = stack.enter_context(Admin(broker.port))
            admin.find_coordinator(TRANSACTION, topic)
            if case.is_copy:
                admin.find_coordinator(GROUP, topic)
            producers = []
            for number in range(case.connections):
                transactional_id = f"{topic}-{number}"
                identity = admin.init_producer_id(transactional_id)
                requests = []
                if case.is_copy:
                    read = frames.fetch(
                        source,
                        0,
                        len(batch),
                        batch=batch,
                        batch_records=count,
                        end_offset=SOURCE_BATCHES * count,
                        read_committed=True,
                    )
                    requests.append(transactions.Request(read, 0))
                partitions = list(range(case.partitions))
                written = transactions.transactional(batch)
                requests.append(transactions.produce(topic, partitions, written, transactional_id, 1))
                if case.is_copy:
                    group = f"{topic}-{number}"
                    admin.send(coordinator_frames.offset_commit(group, source, 0))  # until that is loaded
                    requests.append(transactions.commit_offset(transactional_id, group, source, 2))
                requests.append(transactions.end(transactional_id, 3))
                producers.append(transactions.Producer(identity, requests))
            return self.generator.transact(
                producers, port=broker.port, broker_pid=broker.pid, warmup_s=RAMP_S, seconds=seconds
            ).metrics

    @contextlib.contextmanager
    def _coordinator_frames(self, case: CoordinatorCase, broker: Broker) -> Iterator[list[Frame]]:
        """One frame for each connection. Members have joined, and own what they are to own."""
        with self._topic(case.name, 1, (), broker) as topic, Admin(broker.port) as admin:
            admin.find_coordinator(GROUP, topic)
            groups = [f"{topic}-{number}" for number in range(case.connections)]
            if case.kind == "commit":
                loop = [coordinator_frames.offset_commit(group, topic, 0) for group in groups]
            else:
                loop = [self._steady_member(admin, group, topic) for group in groups]
            for frame in loop:
                admin.send(frame)
            yield loop

    def _steady_member(self, admin: Admin, group: str, topic: str) -> Frame:
        """Joins the only member of a group, waits until it has its partition, returns its heartbeat."""
        member = str(uuid.uuid4())
        beat = admin.heartbeat(group, member, 0, [topic])
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while not beat.assignment:
            if time.monotonic() > deadline:
                raise BrokerError(f"the member of {group} gets no partition")
            time.sleep(0.05)
            beat = admin.heartbeat(group, member, beat.epoch, None)
        body = coordinator_frames.consumer_group_heartbeat(group, member, beat.epoch)
        frame = frames.request(coordinator_frames.CONSUMER_GROUP_HEARTBEAT, 1, body)
        return Frame(frame, payload_bytes=1, error_positions=(4 + 1 + 4,))

    def _loop(self, case: CoordinatorCase, broker: Broker, loop: list[Frame], seconds: float) -> Metrics:
        return self.generator.load(
            loop,
            port=broker.port,
            broker_pid=broker.pid,
            connections=case.connections,
            depth=case.depth,
            warmup_s=RAMP_S,
            seconds=seconds,
        ).metrics

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
        self,
        label: str,
        partitions: int,
        configs: tuple[tuple[str, str], ...],
        broker: Broker,
        *,
        is_small: bool = False,
    ) -> Iterator[str]:
        """A topic of that name; what it leaves on the disk is waited for, unless it is small."""
        name = f"{label}-{next(self._names)}"
        broker.check()
        with Admin(broker.port) as admin:
            admin.create_topic(name, partitions, dict(configs) if broker.name == "odradek" else {})
        try:
            yield name
        finally:
            with Admin(broker.port) as admin:
                admin.delete_topic(name)
            if not is_small:
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
