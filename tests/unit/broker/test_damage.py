"""One bit of any file flips: what comes of it is what docs/damage.md says.

Nothing wrong is ever served, nothing goes silently, and no other partition notices.
"""

import json
import random
import re
import shutil
from pathlib import Path

import pytest

from odradek.broker.broker import Broker
from odradek.broker.rebalance_history import WRITE_MS
from odradek.cluster import file_store
from odradek.coordinator.rebalances import REBALANCES_KEY
from odradek.core.errors import ApiError, DamageError, ErrorCode, StartupError
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from odradek.protocol.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from odradek.protocol.generated.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.protocol.generated.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.records.batch import CRC_START, iterate_batches
from odradek.records.builder import build_batch
from odradek.records.crc import crc32c
from odradek.records.record import Record, read_records
from odradek.storage.jobs import JobQueue
from tests.support.disks import QuickDisk

from .group_client import stable_member, with_groups
from .harness import Harness, batch
from .transaction_client import TOPIC, TransactionalProducer, read

DOCUMENT = Path(__file__).parents[3] / "docs" / "damage.md"
SUFFIXES = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
TOPICS = ("a", "b")
TRANSACTIONAL, COMPACTED = TOPIC, "c"
GROUP = "g"
RECORDS = 60
TRANSACTIONS = 30
KEYS = 3
DELETED_BELOW = 3
FLIPS = 20
"""Of each kind of file."""

OFFLINE, REBUILT, HARMLESS, REFUSED = "offline", "rebuilt", "harmless", "start refused"


def outcomes_of(document: str) -> dict[str, set[str]]:
    """The table: kinds of files, and what may come of a flipped bit in each."""
    rows = re.findall(r"^\| `([^`]+)`[^|]* \| ([^|]+) \|", document, re.MULTILINE)
    return {name: {word.strip() for word in words.split(",")} for name, words in rows}


ALLOWED = outcomes_of(DOCUMENT.read_text())


def kind_of(path: Path) -> str:
    if path.parent.name == "__odradek_metadata" and path.suffix:
        return f"metadata {path.suffix}"
    return path.suffix if path.suffix in SUFFIXES else path.name


def value(topic: str, number: int) -> bytes:
    return f"{topic}:{number}:".encode() * 20


def produce(harness: Harness, topic: str, number: int) -> int:
    sequenced = {"producer_id": 5 + TOPICS.index(topic), "producer_epoch": 0, "base_sequence": number}
    data = batch(value(topic, number), timestamp_ms=harness.clock.now_ms(), **sequenced)
    partition = PartitionProduceData(index=0, records=memoryview(bytearray(data)))
    request = ProduceRequest(
        acks=-1, timeout_ms=1_000, topic_data=[TopicProduceData(name=topic, partition_data=[partition])]
    )
    code: int = harness.call(request, 9).responses[0].partition_responses[0].error_code
    return code


@pytest.fixture(scope="module", params=["stopped", "killed"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with sealed and active segments, a raised log start, aborted transactions, compacted
    segments, checkpoints, and a metadata log with a snapshot."""
    folder = tmp_path_factory.mktemp("whole") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_store, "ROLL_BYTES", 300)
        _fill(folder, is_stopped=request.param == "stopped")
    return folder


def _fill(folder: Path, *, is_stopped: bool) -> None:
    counts = {"transaction_state_log_num_partitions": "1", "offsets_topic_num_partitions": "1"}
    harness = Harness(folder, **counts)
    configs = [
        CreatableTopicConfig(name="segment.ms", value="20000"),
        CreatableTopicConfig(name="index.interval.bytes", value="300"),
        CreatableTopicConfig(name="file.delete.delay.ms", value="0"),
    ]
    topics = [
        CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=configs)
        for name in (*TOPICS, TRANSACTIONAL)
    ]
    compact = [*configs, CreatableTopicConfig(name="cleanup.policy", value="compact")]
    topics.append(CreatableTopic(name=COMPACTED, num_partitions=1, replication_factor=1, configs=compact))
    harness.call(CreateTopicsRequest(topics=topics))
    for number in range(RECORDS):
        harness.advance(1_000)
        for topic in TOPICS:
            assert produce(harness, topic, number) == 0
    harness.call(
        DeleteRecordsRequest(
            topics=[
                DeleteRecordsTopic(
                    name=name, partitions=[DeleteRecordsPartition(partition_index=0, offset=DELETED_BELOW)]
                )
                for name in TOPICS
            ]
        )
    )
    _transact(harness)
    _compact(harness)
    stable_member(with_groups(harness), session_timeout_ms=300_000)
    assert rebalances(harness) == ["joined"]
    if is_stopped:
        harness.stop()
    else:
        harness.broker.store.write_checkpoints()
        harness.advance(WRITE_MS)
        for chore in harness.broker.groups.chores():
            chore()
        harness.advance(1_000)
        for topic in TOPICS:
            assert produce(harness, topic, RECORDS) == 0
        kill(harness.broker)


def _transact(harness: Harness) -> None:
    """Transactions that overlap; every third is aborted. Each has a producer of its own: only the scrub knows
    the beginning of one from that of an earlier one of the same producer."""
    before: TransactionalProducer | None = None
    for number in range(TRANSACTIONS):
        producer = TransactionalProducer(harness, f"x{number}")
        assert producer.init() == 0
        harness.advance(2_000)
        timestamp_ms = harness.clock.now_ms()
        assert producer.produce(0, b"%d" % number, timestamp_ms=timestamp_ms)[0] == 0
        if before is not None:
            assert before.end((number - 1) % 3 != 0) == 0
        before = producer
    assert before is not None
    assert before.end((TRANSACTIONS - 1) % 3 != 0) == 0


def _compact(harness: Harness) -> None:
    queue = JobQueue(QuickDisk())
    harness.broker.cleaner.jobs = queue
    log = harness.broker.store.logs[TopicPartition(COMPACTED, 0)]
    for number in range(RECORDS):
        harness.advance(1_000)
        now_ms = harness.clock.now_ms()
        record = Record(0, now_ms, b"%d" % (number % KEYS), b"%d" % number)
        log.append(memoryview(build_batch([record])), now_ms, leader_epoch=0)
        if number % 20 == 19:
            log.roll(now_ms)
            harness.flush()
    for _ in range(3):
        harness.advance(20_000)
        for chore in harness.broker.cleaner.run():
            chore()
        while queue:
            queue.run_next()
            harness.flush()
    for chore in harness.broker.cleaner.run():
        chore()
    assert (harness.folder / "cleaner-offset-checkpoint").exists()
    remove = harness.broker.store.collect_garbage(harness.clock.monotonic_ms())
    assert remove is not None
    remove()


def kill(broker: Broker) -> None:
    broker.metadata._store._fd = -1  # type: ignore[attr-defined]
    broker.close(is_clean=False)


def scrub(broker: Broker) -> None:
    """One whole pass."""
    queue = JobQueue(QuickDisk())
    broker.scrubber.jobs = queue
    broker.scrubber._next_pass_ms = 0
    for _ in range(10):
        broker.scrubber.run()
        while queue:
            queue.run_next()


def read_all(harness: Harness, topic: str, count: int) -> str:
    """Every record is right, or the partition is offline; never anything else."""
    position = DELETED_BELOW
    while position < count:
        wanted = FetchPartition(partition=0, fetch_offset=position, partition_max_bytes=2_000)
        request = FetchRequest(
            max_wait_ms=0, max_bytes=1 << 20, topics=[FetchTopic(topic=topic, partitions=[wanted])]
        )
        data = harness.call(request, 12).responses[0].partitions[0]
        if data.error_code == ErrorCode.KAFKA_STORAGE_ERROR:
            log = harness.broker.store.logs[TopicPartition(topic, 0)]
            assert isinstance(log.offline, DamageError)
            return OFFLINE
        assert data.error_code == 0
        assert data.log_start_offset == DELETED_BELOW
        assert data.records, f"nothing at {position}"
        view = memoryview(data.records)
        for start, header in iterate_batches(view):
            whole_batch = view[start : start + header.size]
            assert crc32c(whole_batch[CRC_START:]) == header.crc, "damaged bytes were served"
            assert header.base_offset == position
            (record,) = read_records(whole_batch)
            assert record.value == value(topic, position)
            position += 1
    return REBUILT


def read_committed(harness: Harness) -> str:
    """What was committed and nothing else, or the partition is offline."""
    try:
        values = read(harness)
    except ApiError:
        assert isinstance(harness.broker.store.logs[TopicPartition(TRANSACTIONAL, 0)].offline, DamageError)
        return OFFLINE
    assert values == [b"%d" % number for number in range(TRANSACTIONS) if number % 3]
    return REBUILT


def rebalances(harness: Harness) -> list[str]:
    """Why the group rebalanced."""
    resource = DescribeConfigsResource(
        resource_type=32, resource_name=GROUP, configuration_keys=[REBALANCES_KEY]
    )
    (result,) = harness.call(DescribeConfigsRequest(resources=[resource])).results
    return [entry["cause"] for config in result.configs for entry in json.loads(config.value)]


def read_compacted(harness: Harness) -> str:
    """The last value of each key, or the partition is offline."""
    log = harness.broker.store.logs[TopicPartition(COMPACTED, 0)]
    last: dict[bytes | None, bytes | None] = {}
    position = log.log_start_offset
    while position < log.high_watermark:
        wanted = FetchPartition(partition=0, fetch_offset=position, partition_max_bytes=2_000)
        request = FetchRequest(
            max_wait_ms=0, max_bytes=1 << 20, topics=[FetchTopic(topic=COMPACTED, partitions=[wanted])]
        )
        data = harness.call(request, 12).responses[0].partitions[0]
        if data.error_code == ErrorCode.KAFKA_STORAGE_ERROR:
            break
        view = memoryview(data.records)
        assert view, f"nothing at {position}"
        for start, header in iterate_batches(view):
            whole_batch = view[start : start + header.size]
            assert crc32c(whole_batch[CRC_START:]) == header.crc, "damaged bytes were served"
            last |= {record.key: bytes(record.value or b"") for record in read_records(whole_batch)}
            position = header.next_offset
    if log.offline is not None:
        return OFFLINE
    assert last == {b"%d" % key: b"%d" % (RECORDS - KEYS + key) for key in range(KEYS)}
    return REBUILT


def find_times(harness: Harness, topic: str) -> list[int]:
    """The offsets of some timestamps."""
    found = []
    for number in range(DELETED_BELOW, RECORDS, 4):
        timestamp = 1_700_000_000_000 + (number + 1) * 1_000
        wanted = ListOffsetsTopic(
            name=topic, partitions=[ListOffsetsPartition(partition_index=0, timestamp=timestamp)]
        )
        answer = harness.call(ListOffsetsRequest(replica_id=-1, topics=[wanted]), 7)
        found.append(answer.topics[0].partitions[0].offset - number)
    return found


def outcome(folder: Path, hurt: str, *, count: int, scrubbed: bool) -> str:
    """What comes of it; checks that the other topic is as it was."""
    try:
        harness = Harness(folder)
    except (StartupError, DamageError) as error:
        return REFUSED if str(folder) in str(error) else f"refused without a name: {error}"
    try:
        if scrubbed:
            scrub(harness.broker)
        assert rebalances(harness) in (["joined"], [])
        others = [topic for topic in TOPICS if topic != hurt]
        for topic in others:
            assert read_all(harness, topic, count) == REBUILT, "another partition noticed"
        for topic, check in ((TRANSACTIONAL, read_committed), (COMPACTED, read_compacted)):
            special = check(harness)
            if topic == hurt:
                return special
            assert special == REBUILT, "another partition noticed"
        if hurt not in TOPICS:
            return REBUILT
        times = None
        if harness.broker.store.logs[TopicPartition(hurt, 0)].offline is None:
            times = find_times(harness, hurt)
        found = read_all(harness, hurt, count)
        if found is REBUILT:
            assert times == [0] * len(times or ()), "another offset was found for a timestamp"
            last = harness.broker.store.logs[TopicPartition(hurt, 0)].log_end_offset
            if produce(harness, hurt, last) == ErrorCode.KAFKA_STORAGE_ERROR:
                return OFFLINE
        return found
    finally:
        kill(harness.broker)


KINDS = sorted({*ALLOWED})


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_has_the_outcome_that_the_table_says(whole: Path, tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    files = [
        path
        for path in sorted(whole.rglob("*"))
        if path.is_file() and kind_of(path) == kind and path.stat().st_size
    ]
    count = RECORDS if (whole / ".kafka_cleanshutdown").exists() else RECORDS + 1
    if not files:
        pytest.skip("there is none after this kind of stop")
    for number in range(FLIPS):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        path = folder / rng.choice(files).relative_to(whole)
        content = bytearray(path.read_bytes())
        position, bit = rng.randrange(len(content)), rng.randrange(8)
        content[position] ^= 1 << bit
        path.write_bytes(bytes(content))
        hurt = path.parent.name.rpartition("-")[0]
        found = outcome(folder, hurt, count=count, scrubbed=bool(number % 2))
        assert found in ALLOWED[kind] or (found is REBUILT and HARMLESS in ALLOWED[kind]), (
            path,
            position,
            bit,
            found,
        )
        shutil.rmtree(folder)


def test_every_kind_of_file_is_in_the_table(whole: Path) -> None:
    kinds = {kind_of(path) for path in whole.rglob("*") if path.is_file()}
    assert kinds - {".lock"} <= set(KINDS)
