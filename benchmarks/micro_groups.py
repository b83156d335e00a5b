"""CPU and memory of consumer groups without a network: a group of 1,000 members over 1,000 partitions that
settles, heartbeats with nothing to say, 1,000 idle groups.

Run: ``python -m benchmarks.micro_groups``. The members are requests, not clients: each beats every five
seconds, says what it owns when that changed, and gives up at once what it is asked to.
"""

import gc
import random
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from odradek.broker.broker import Broker
from odradek.broker.requests import Session, Wait
from odradek.cluster.file_store import FileMetadataStore
from odradek.core.config.broker import broker_config
from odradek.protocol import apis
from odradek.protocol.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    RequestTopicPartitions,
)
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.headers import request_header
from odradek.protocol.primitives import Message
from odradek.storage.disk import SystemDisk
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock

MEMBERS = 1_000
PARTITIONS = 1_000
GROUPS = 1_000
IDLE_PARTITIONS = 12
"""What each of the idle groups reads."""
HEARTBEAT_MS = 5_000
TOPIC = "micro"


class Bench:
    """A broker that is asked and flushed by hand, on a clock that is moved by hand."""

    def __init__(self, folder: str, partitions: int) -> None:
        config = broker_config({"log.dirs": folder, "offsets.topic.num.partitions": "1"})
        self.clock, disk, randomness = FakeClock(), SystemDisk(), random.Random(1)
        store = LogStore.open(config.log_dir, disk, self.clock, randomness, node_id=config.node_id)
        metadata = FileMetadataStore.open(config.log_dir, disk, store.cluster_id, node_id=config.node_id)
        self.broker = Broker(config, store, metadata, self.clock, randomness)
        self.session = Session("127.0.0.1", "127.0.0.1", 9092)
        topic = CreatableTopic(name=TOPIC, num_partitions=partitions, replication_factor=1)
        for request, version in (
            (CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 5),
            (FindCoordinatorRequest(key="g"), 3),
        ):
            self.ask(request, version)
            self.flush()
        self.topic_id = self.broker.topics.by_name[TOPIC].topic_id
        self.advance(2_000)

    def ask(self, request: Message, version: int) -> Any:
        parts: list[Any] = [request_header(request.API_KEY, version, 7, "bench")]
        request.encode(parts, version)
        return self.broker.handle(memoryview(bytearray(b"".join(parts))), self.session)

    def flush(self) -> None:
        while (flush := self.broker.begin_flush()) is not None:
            flush.run()
            self.broker.finish_flush(flush)

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)
        self.broker.run_timers()

    @property
    def group(self) -> Any:
        return self.broker.groups.runner("g").shard.groups["g"]


class Member:
    """One member of the group, as far as its heartbeats go."""

    def __init__(self, number: int) -> None:
        self.member_id = f"member-{number:06d}-of-the-benchmark"
        self.epoch = 0
        self.owned: list[int] = []
        self.told: list[int] | None = None

    def beat(self, bench: Bench, group_id: str = "g") -> Any:
        request = ConsumerGroupHeartbeatRequest(
            group_id=group_id, member_id=self.member_id, member_epoch=self.epoch
        )
        if self.epoch == 0:
            request.rebalance_timeout_ms = 300_000
            request.subscribed_topic_names = [TOPIC]
            request.topic_partitions = []
        elif self.told != self.owned:
            self.told = self.owned
            part = RequestTopicPartitions(topic_id=bench.topic_id, partitions=self.owned)
            request.topic_partitions = [part] if self.owned else []
        return bench.ask(request, 1)

    def learn(self, answer: Any) -> None:
        parts = answer.parts if isinstance(answer, Wait) else answer
        frame = memoryview(b"".join(parts))
        response, _ = apis.load(68).response.decode(frame, 9, 1)
        assert isinstance(response, ConsumerGroupHeartbeatResponse)
        assert response.error_code == 0, response
        self.epoch = response.member_epoch
        if response.assignment is not None:
            self.owned = [n for part in response.assignment.topic_partitions for n in part.partitions]


@contextmanager
def running_bench(partitions: int) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        yield Bench(folder, partitions)


def round_of(bench: Bench, members: list[Member]) -> float:
    """Every member beats once; the broker's CPU in seconds (and that of making the requests)."""
    started = time.process_time()
    answers = [member.beat(bench) for member in members]
    bench.flush()
    spent = time.process_time() - started
    for member, answer in zip(members, answers, strict=True):
        member.learn(answer)
    bench.advance(HEARTBEAT_MS)
    return spent


def settle(bench: Bench, members: list[Member]) -> tuple[float, int]:
    """CPU seconds and rounds of heartbeats until everyone has its target."""
    spent, rounds = 0.0, 0
    while bench.group.state.value != "Stable":
        spent += round_of(bench, members)
        rounds += 1
    return spent, rounds


def main() -> None:
    with running_bench(PARTITIONS) as bench:
        members = [Member(number) for number in range(MEMBERS)]
        joined = round_of(bench, members)
        spent, rounds = settle(bench, members)
        print(f"{MEMBERS} members join and settle       {joined + spent:8.3f} s CPU, {rounds + 1} rounds")
        idle = min(round_of(bench, members) for _ in range(5))
        print(f"a heartbeat with nothing to say        {idle / MEMBERS * 1e6:8.1f} us")
        newcomer = Member(MEMBERS)
        joined = round_of(bench, [newcomer])
        spent, rounds = settle(bench, [*members, newcomer])
        print(f"one more joins, all settle             {joined + spent:8.3f} s CPU, {rounds} rounds")
        leaving = members.pop(0)
        bench.ask(
            ConsumerGroupHeartbeatRequest(group_id="g", member_id=leaving.member_id, member_epoch=-1), 1
        )
        bench.flush()
        spent, rounds = settle(bench, [*members, newcomer])
        print(f"one leaves, all settle                 {spent:8.3f} s CPU, {rounds} rounds")
    with running_bench(IDLE_PARTITIONS) as bench:
        Member(0).beat(bench, "the first")
        bench.flush()
        gc.collect()
        tracemalloc.start()
        for number in range(GROUPS):
            Member(number).beat(bench, f"group-{number}")
            bench.flush()
        bench.advance(HEARTBEAT_MS)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        print(f"{GROUPS} idle groups of one member        {taken / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
