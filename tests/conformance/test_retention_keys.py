"""The keys of retention and compaction, each at work on a topic of its own: what is left after some seconds
is what Apache Kafka leaves of the same records, offset by offset and segment by segment. Where segments end
by chance they end as differently as Kafka's.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance.kafka_process import KafkaProcess
from tests.support.broker_process import BrokerProcess

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = {
    "log.retention.check.interval.ms": "500",
    "log.initial.task.delay.ms": "500",
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.min.cleanable.ratio": "0.01",
    "log.segment.delete.delay.ms": "0",
    "log.cleaner.delete.retention.ms": "1",
    "log.cleaner.min.compaction.lag.ms": "300000",
    "log.cleaner.max.compaction.lag.ms": "600000",
}
SETTLES_S = 8.0
"""Before what is compacted gets some more, and again after that: deletions go with the second pass."""
UNCHANGED_S = 4.0
"""It has settled when no log has changed for so long; checks are half a second apart."""
PATIENCE_S = 90.0
"""For ours to leave what Kafka leaves: it does such work with what others leave of the cores."""
DAY_MS = 86_400_000
LONG_AGO_MS = 40 * DAY_MS
LARGE = b"v" * 100_000


class Written(NamedTuple):
    """One record; ``age_ms`` is how long before now its timestamp lies."""

    key: bytes | None
    value: bytes | None
    age_ms: int = 0


class Left(NamedTuple):
    """What there is in the end: where the log begins and ends, its segments, and the records read."""

    start: int
    end: int
    segments: tuple[int, ...]
    records: tuple[tuple[int, bytes | None, int], ...]
    """(offset, key, size of the value, -1 for none)"""


class Case(NamedTuple):
    configs: Mapping[str, str]
    records: list[Written]


def keyed(rounds: int, age_ms: int = 0, keys: int = 3) -> list[Written]:
    """Each key over and over, one second apart as their timestamps go."""
    count = rounds * keys
    return [
        Written(b"k%d" % (number % keys), b"%d" % number, age_ms + 1_000 * (count - number))
        for number in range(count)
    ]


def large(count: int, age_ms: int = 0) -> list[Written]:
    return [Written(None, LARGE, age_ms)] * count


TOMBSTONES = [*keyed(2, 60_000), Written(b"k1", None, 50_000), *keyed(1, 10_000, keys=1)]
DEFAULTS = {"cleanup.policy": "compact", "segment.ms": "1500"}
COMPACT = {**DEFAULTS, "min.compaction.lag.ms": "0"}
JITTERED = {"segment.ms": "60000", "segment.jitter.ms": "60000", "retention.ms": "-1"}
JITTERED_PARTITIONS, JITTERED_RECORDS = 20, 40
CASES = {
    "retention.ms": Case(
        {"retention.ms": "300000", "segment.ms": "10000"}, [*keyed(10, 900_000), *keyed(10)]
    ),
    "retention.ms, all of it": Case({"retention.ms": "1000"}, keyed(5, 10_000)),
    "retention.ms=-1": Case({"retention.ms": "-1", "segment.ms": "5000"}, keyed(5, LONG_AGO_MS)),
    "retention.ms, by default": Case({"segment.ms": "5000"}, [*keyed(5, LONG_AGO_MS), *keyed(3)]),
    "retention.bytes": Case({"retention.bytes": "2000000", "segment.bytes": "1048576"}, large(55)),
    "retention.bytes=0": Case({"retention.bytes": "0", "segment.bytes": "1048576"}, large(25)),
    "local.retention.ms": Case({"local.retention.ms": "1000", "segment.ms": "5000"}, keyed(5, 10_000)),
    "segment.bytes": Case({"segment.bytes": "1048576"}, large(30)),
    "segment.ms": Case({"segment.ms": "7000", "retention.ms": "-1"}, keyed(10)),
    "segment.index.bytes": Case({"segment.index.bytes": "24", "index.interval.bytes": "100"}, keyed(30)),
    "compact": Case(COMPACT, keyed(10)),
    "compact, nothing but the active segment": Case({"cleanup.policy": "compact"}, keyed(10)),
    "min.cleanable.dirty.ratio": Case({**COMPACT, "min.cleanable.dirty.ratio": "1.0"}, keyed(10)),
    "min.compaction.lag.ms": Case(
        {**COMPACT, "min.compaction.lag.ms": "600000"}, [*keyed(5, 900_000), *keyed(5)]
    ),
    "min.compaction.lag.ms, by default": Case(DEFAULTS, [*keyed(5, 900_000), *keyed(5)]),
    "max.compaction.lag.ms": Case(
        {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": "0",
            "max.compaction.lag.ms": "3000",
            "min.cleanable.dirty.ratio": "1.0",
        },
        keyed(5, 60_000),
    ),
    "max.compaction.lag.ms, by default": Case(
        {**COMPACT, "min.cleanable.dirty.ratio": "1.0"}, keyed(5, 900_000)
    ),
    "delete.retention.ms": Case({**COMPACT, "delete.retention.ms": "600000"}, TOMBSTONES),
    "delete.retention.ms, by default": Case(COMPACT, TOMBSTONES),
    # The lag lets retention come first: what was compacted together with what is young would stay.
    "compact,delete": Case(
        {
            **DEFAULTS,
            "cleanup.policy": "compact,delete",
            "retention.ms": "300000",
            "min.compaction.lag.ms": "15000",
        },
        [*keyed(5, 900_000), *keyed(2)],
    ),
}


class Leavings(NamedTuple):
    """What a broker leaves of every case, and where the segments of the jittered partitions begin."""

    cases: dict[str, Left]
    jittered: list[tuple[int, ...]]


def left_by(bootstrap: str, data: Path, wanted: Leavings | None = None) -> Leavings:
    """Writes all there is to a broker, and gives it time, more while it has not left what is ``wanted``."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    topics = {name: f"t{number}" for number, name in enumerate(CASES)}
    new = [NewTopic(topics[name], 1, 1, config=dict(case.configs)) for name, case in CASES.items()]
    new.append(NewTopic("jittered", JITTERED_PARTITIONS, 1, config=JITTERED))
    for future in admin.create_topics(new).values():
        future.result(60)
    settings = {"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 0}
    producer = Producer({**settings, "topic.metadata.refresh.fast.interval.ms": 50})
    for name, case in CASES.items():
        now_ms = int(time.time() * 1000)  # of this case: what has come of others by now took a while
        for record in case.records:
            stamp = now_ms - record.age_ms
            producer.produce(topics[name], record.value, record.key, 0, timestamp=stamp)
            assert producer.flush(60) == 0  # each a batch of its own
    now_ms = int(time.time() * 1000)
    for number in range(JITTERED_RECORDS):
        stamp = now_ms - 2_000 * (JITTERED_RECORDS - number)
        for partition in range(JITTERED_PARTITIONS):
            producer.produce("jittered", b"v", None, partition, timestamp=stamp)
        assert producer.flush(60) == 0
    time.sleep(2)
    for _ in range(2):
        began = time.monotonic()
        for name, case in CASES.items():
            if "compact" in case.configs.get("cleanup.policy", ""):
                producer.produce(topics[name], b"last", b"last", 0)  # rolls what is due
        assert producer.flush(60) == 0
        _await_pass(
            bootstrap, data, [topics[name] for name, case in CASES.items() if case.configs == COMPACT]
        )
        _settle(data, began)
    deadline = time.monotonic() + PATIENCE_S
    left = {name: _left(bootstrap, data, topic) for name, topic in topics.items()}
    while wanted is not None and left != wanted.cases and time.monotonic() < deadline:
        time.sleep(0.5)
        left = {name: _left(bootstrap, data, topic) for name, topic in topics.items()}
    jittered = [_segments(data, f"jittered-{index}") for index in range(JITTERED_PARTITIONS)]
    return Leavings(left, jittered)


def _await_pass(bootstrap: str, data: Path, topics: list[str]) -> None:
    """Until those are compacted up to the last record: without, the next pass would be their first."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody", "log_level": 0})
    ends = {topic: consumer.get_watermark_offsets(TopicPartition(topic, 0), 60)[1] for topic in topics}
    consumer.close()
    wanted = {f"{topic} 0 {end - 1}" for topic, end in ends.items()}
    checkpoint = data / "cleaner-offset-checkpoint"
    deadline = time.monotonic() + PATIENCE_S
    while not (checkpoint.exists() and wanted <= set(checkpoint.read_text().splitlines())):
        assert time.monotonic() < deadline, f"of {wanted} there is only {checkpoint.read_text()}"
        time.sleep(0.1)


def _settle(data: Path, began: float) -> None:
    changed = time.monotonic()
    seen = _sizes(data)
    while time.monotonic() < max(began + SETTLES_S, min(changed + UNCHANGED_S, began + PATIENCE_S)):
        time.sleep(0.2)
        found = _sizes(data)
        if found != seen:
            seen, changed = found, time.monotonic()


def _sizes(data: Path) -> dict[Path, int]:
    """Of the logs of all cases."""
    sizes = {}
    for path in data.glob("t*-0/*.log"):
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    return sizes


def _segments(data: Path, folder: str) -> tuple[int, ...]:
    return tuple(sorted(int(path.stem) for path in (data / folder).glob("*.log")))


def _left(bootstrap: str, data: Path, topic: str) -> Left:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody", "log_level": 0})
    start, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), 60)
    consumer.assign([TopicPartition(topic, 0, start)])
    records: list[tuple[int, bytes | None, int]] = []
    deadline = time.monotonic() + 60
    while start < end and (not records or records[-1][0] < end - 1) and time.monotonic() < deadline:
        for raw in consumer.consume(500, 0.1):
            if raw.error() is None:
                value = raw.value()
                records.append((raw.offset(), raw.key(), -1 if value is None else len(value)))
    consumer.close()
    return Left(start, end, _segments(data, f"{topic}-0"), tuple(records))


@pytest.fixture(scope="module")
def kafka_left(tmp_path_factory: pytest.TempPathFactory) -> Leavings:
    kafka = KafkaProcess(tmp_path_factory.mktemp("kafka"), SETTINGS)
    kafka.format()
    kafka.start()
    try:
        return left_by(kafka.bootstrap, kafka.data)
    finally:
        kafka.stop(cleanly=False)


@pytest.fixture(scope="module")
def ours_left(tmp_path_factory: pytest.TempPathFactory, kafka_left: Leavings) -> Leavings:
    broker = BrokerProcess(tmp_path_factory.mktemp("ours") / "data", SETTINGS).start()
    try:
        return left_by(broker.bootstrap, broker.data, kafka_left)
    finally:
        broker.kill()


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_is_what_kafka_leaves(kafka_left: Leavings, ours_left: Leavings, case: str) -> None:
    assert ours_left.cases[case] == kafka_left.cases[case]


def test_the_defaults_of_the_broker_make_a_difference(ours_left: Leavings) -> None:
    """Else that what is left is the same would say nothing."""
    left = {name: found.records for name, found in ours_left.cases.items()}
    kept, gone = left["delete.retention.ms"], left["delete.retention.ms, by default"]
    assert [key for _, key, size in kept if size < 0] == [b"k1"]
    assert [key for _, key, size in gone if size < 0] == []
    assert len(left["max.compaction.lag.ms, by default"]) < 15 < len(left["min.cleanable.dirty.ratio"])
    assert len(left["compact"]) < 15 < len(left["min.compaction.lag.ms, by default"]) < 30


def test_jittered_segments_end_at_different_times(kafka_left: Leavings, ours_left: Leavings) -> None:
    """Each at some time up to segment.ms after its beginning."""
    for left in (kafka_left, ours_left):
        assert len({segments[:2] for segments in left.jittered}) > JITTERED_PARTITIONS // 4
        for segments in left.jittered:
            ends = (*segments[1:], JITTERED_RECORDS)
            assert all(end - begin <= 31 for begin, end in zip(segments, ends, strict=True))
