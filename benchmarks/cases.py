"""What is measured, and what each ratio Odradek / Kafka has to be."""

from dataclasses import dataclass
from typing import Literal

KIB = 1024
NEVER_FLUSH = {"flush.messages": "9223372036854775807"}


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the ratio Odradek / Kafka of one metric, or on Odradek's metric itself."""

    metric: str
    bound: Literal["at most", "at least"]
    limit: float
    is_absolute: bool = False
    """Whether it bounds Odradek's own figure, whatever Kafka's is."""

    def met(self, value: float) -> bool:
        return value <= self.limit if self.bound == "at most" else value >= self.limit


def at_most(metric: str, limit: float) -> Target:
    return Target(metric, "at most", limit)


def at_least(metric: str, limit: float) -> Target:
    return Target(metric, "at least", limit)


def within(metric: str, limit: float) -> Target:
    """A bound on Odradek's figure itself."""
    return Target(metric, "at most", limit, is_absolute=True)


@dataclass(frozen=True, slots=True)
class LoadCase:
    """A closed loop of pre-encoded requests."""

    name: str
    title: str
    kind: Literal["produce", "fetch"]
    batch_bytes: int
    record_bytes: int
    connections: int
    depth: int
    """Requests in flight on each connection."""
    acks: int = 1
    partitions_per_request: int = 1
    odradek_topic: tuple[tuple[str, str], ...] = ()
    """Topic configs that Odradek's topic gets and Kafka's does not (there they are the default)."""
    shown: tuple[str, ...] = ("cpu_us", "mb_s", "p99_us")
    targets: tuple[Target, ...] = ()
    fill_bytes: int = 256 * KIB * KIB

    @property
    def partitions(self) -> int:
        return self.partitions_per_request


@dataclass(frozen=True, slots=True)
class CoordinatorCase:
    """A closed loop of the same small request to a coordinator, one group for each connection."""

    name: str
    title: str
    kind: Literal["commit", "heartbeat"]
    connections: int
    depth: int
    shown: tuple[str, ...] = ("cpu_us", "rate", "p99_us")
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class TransactionCase:
    """Transactions one after the other on each connection, each of one produce request and its commit."""

    name: str
    title: str
    connections: int
    partitions: int
    """Batches of 16 KB in a transaction, one to each partition."""
    is_copy: bool = False
    """Whether what it writes is fetched first and its offset is committed with it."""
    shown: tuple[str, ...] = ("cpu_us", "rate", "mb_s", "p99_us")
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupCase:
    """A large group in which one member joins and one leaves, or many groups in which nothing happens."""

    name: str
    title: str
    members: int
    """0: many idle groups."""
    partitions: int
    shown: tuple[str, ...]
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class LatencyCase:
    """Records sent at a fixed pace, timed until a consumer has them."""

    name: str
    title: str
    rate: int = 1000
    odradek_topic: tuple[tuple[str, str], ...] = ()
    shown: tuple[str, ...] = ("p50_us", "p99_us", "p99_9_us", "broker_cores")
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientCase:
    """A real client run as its own process; `client` names a function of clients.py."""

    name: str
    title: str
    client: str
    shown: tuple[str, ...] = ("mb_s", "rate", "broker_cpu_s")
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class ScenarioCase:
    """Something that no single loop of requests shows; `scenarios.py` has a function for each name."""

    name: str
    title: str
    shown: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    is_compared: bool = True
    """Whether Kafka goes through it, too."""


@dataclass(frozen=True, slots=True)
class ProcessCase:
    """Start-up and memory, taken from the brokers' processes themselves."""

    name: str
    title: str
    shown: tuple[str, ...]
    targets: tuple[Target, ...] = ()


Case = (
    LoadCase
    | CoordinatorCase
    | TransactionCase
    | GroupCase
    | LatencyCase
    | ClientCase
    | ScenarioCase
    | ProcessCase
)

_PRODUCE = (at_most("cpu_us", 0.5), at_least("mb_s", 1.6))
_EOS = (at_most("cpu_us", 0.6), at_least("rate", 1.0))
_FLUSHED = tuple(NEVER_FLUSH.items())

CASES: tuple[Case, ...] = (
    ProcessCase(
        "start", "start: exec to the first ApiVersions answer", ("seconds",), (at_most("seconds", 0.1),)
    ),
    LoadCase(
        "produce-100b",
        "produce 100 B, acks=1, 8 x 5",
        "produce",
        *(100, 100, 8, 5),
        shown=("cpu_us", "rate", "p99_us"),
        targets=(at_most("cpu_us", 0.35), at_least("rate", 2.5)),
    ),
    LoadCase(
        "produce-16k", "produce 16 KB, acks=1, 8 x 5", "produce", *(16 * KIB, 1000, 8, 5), targets=_PRODUCE
    ),
    LoadCase(
        "produce-64k",
        "produce 64 KB, acks=1, 4 x 5",
        "produce",
        *(64 * KIB, 1000, 4, 5),
        targets=(*_PRODUCE, at_most("p99_us", 0.8)),
    ),
    LoadCase(
        "produce-1m", "produce 1 MB, acks=1, 2 x 2", "produce", *(1000 * KIB, 1000, 2, 2), targets=_PRODUCE
    ),
    LoadCase(
        "produce-8x16k",
        "produce 8 partitions x 16 KB, acks=1, 4 x 5",
        "produce",
        *(16 * KIB, 1000, 4, 5),
        partitions_per_request=8,
    ),
    LoadCase(
        "produce-16k-all",
        "produce 16 KB, acks=all (fsync against none), 8 x 5",
        "produce",
        *(16 * KIB, 1000, 8, 5),
        acks=-1,
        targets=(at_least("mb_s", 0.9),),
    ),
    LoadCase(
        "produce-64k-all",
        "produce 64 KB, acks=all (fsync against none), 4 x 5",
        "produce",
        *(64 * KIB, 1000, 4, 5),
        acks=-1,
        targets=(at_least("mb_s", 0.9),),
    ),
    LoadCase(
        "produce-16k-all-unflushed",
        "produce 16 KB, acks=all, flush.messages as Kafka's, 8 x 5",
        "produce",
        *(16 * KIB, 1000, 8, 5),
        acks=-1,
        odradek_topic=_FLUSHED,
        targets=(at_least("mb_s", 1.6),),
    ),
    LoadCase(
        "produce-64k-all-unflushed",
        "produce 64 KB, acks=all, flush.messages as Kafka's, 4 x 5",
        "produce",
        *(64 * KIB, 1000, 4, 5),
        acks=-1,
        odradek_topic=_FLUSHED,
        targets=(at_least("mb_s", 1.6),),
    ),
    LoadCase(
        "fetch-16k",
        "fetch 16 KB, 4 connections",
        "fetch",
        *(16 * KIB, 1000, 4, 1),
        targets=(at_most("cpu_us", 0.45), at_least("mb_s", 1.8)),
    ),
    LoadCase(
        "fetch-64k",
        "fetch 64 KB, 4 connections",
        "fetch",
        *(64 * KIB, 1000, 4, 1),
        targets=(at_most("cpu_us", 0.45), at_least("mb_s", 1.8), at_most("p99_us", 0.8)),
    ),
    LoadCase(
        "fetch-1m",
        "fetch 1 MB, 2 connections",
        "fetch",
        *(1000 * KIB, 1000, 2, 1),
        targets=(at_most("cpu_us", 1.1), at_least("mb_s", 0.9)),
        fill_bytes=512 * KIB * KIB,
    ),
    CoordinatorCase("offset-commit", "OffsetCommit of one partition, 8 x 5", "commit", 8, 5, targets=_EOS),
    CoordinatorCase(
        "group-heartbeat", "ConsumerGroupHeartbeat, 40 members", "heartbeat", 40, 1, targets=_EOS
    ),
    TransactionCase("txn-produce", "transactions of 4 partitions x 16 KB, 8 producers", 8, 4, targets=_EOS),
    TransactionCase("txn-copy", "exactly-once copy of 16 KB, 8 at a time", 8, 1, is_copy=True, targets=_EOS),
    GroupCase(
        "rebalance",
        "one joins, one leaves a group of 1,000",
        *(1_000, 1_000),
        shown=("first_s", "join_s", "join_cpu_s", "leave_s", "leave_cpu_s"),
        targets=(
            within("join_s", 6.0),
            within("join_cpu_s", 2.0),
            within("leave_s", 6.0),
            within("leave_cpu_s", 2.0),
        ),
    ),
    GroupCase(
        "idle-groups",
        "1,000 groups of one member, private memory",
        *(0, 1),
        shown=("groups_mb",),
        targets=(within("groups_mb", 50.0),),
    ),
    LatencyCase("latency", "end to end, 1,000 msg/s, acks=1", targets=(at_most("p99_us", 1.0),)),
    LatencyCase(
        "latency-unflushed",
        "end to end, 1,000 msg/s, acks=1, flush.messages as Kafka's",
        odradek_topic=_FLUSHED,
        targets=(at_most("p99_us", 0.7),),
    ),
    ScenarioCase(
        "cold",
        "1,000 msg/s, and a consumer of what is not in memory",
        shown=("alone_p99_us", "p99_us", "p99_growth", "cold_mb_s"),
        targets=(within("p99_growth", 1.5), at_least("cold_mb_s", 1.0)),
    ),
    ScenarioCase(
        "many-connections",
        "500 requests/s over 5,000 connections in place of 10",
        shown=("cpu_us", "alone_p99_us", "p99_us", "p99_growth"),
        targets=(within("p99_growth", 2.0),),
    ),
    ScenarioCase(
        "many-partitions",
        "500 requests/s over 10,000 partitions in place of 10",
        shown=("cpu_us", "alone_p99_us", "p99_us", "p99_growth"),
        targets=(within("p99_growth", 2.0),),
    ),
    ScenarioCase(
        "beside-compaction",
        "1,000 msg/s beside a compaction",
        shown=(
            *("alone_answer_p99_us", "alone_answer_p99_spread", "answer_p99_us", "answer_p99_growth"),
            *("alone_p99_us", "alone_p99_spread", "p99_us", "p99_growth", "gentle_mb_s", "compacted_mb_s"),
        ),
        targets=(within("answer_p99_growth", 1.1), within("p99_growth", 1.1)),
        is_compared=False,
    ),
    ClientCase("java-produce", "Java ProducerPerformance, 1 KB, its defaults", "java_produce"),
    ClientCase("java-consume", "Java ConsumerPerformance, 1 KB", "java_consume"),
    ClientCase("confluent-produce", "confluent-kafka producer, 1 KB, its defaults", "confluent_produce"),
    ClientCase("confluent-consume", "confluent-kafka consumer, 1 KB", "confluent_consume"),
    ProcessCase(
        "memory",
        "private memory (RssAnon)",
        ("idle_mb", "loaded_mb", "idle_to_loaded"),
        (at_most("idle_to_loaded", 0.06),),
    ),
    # The last one: it ends with brokers that have just begun.
    ScenarioCase(
        "recovery",
        "kill -9 with 10 GB in 20 partitions that are not flushed: all readable again",
        shown=("seconds", "answers_s", "broker_cpu_s"),
        targets=(at_most("seconds", 0.5),),
    ),
)


def by_name(name: str) -> Case:
    """Raises KeyError."""
    return {case.name: case for case in CASES}[name]
