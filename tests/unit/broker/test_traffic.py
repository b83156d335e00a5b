"""Messages and bytes in and out, told from the logs' own state."""

from pathlib import Path

from odradek.broker.traffic import Counts, Traffic
from odradek.protocol.generated.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.unit.broker.harness import Harness, batch

SEGMENT = "1048576"


def create(harness: Harness, name: str) -> None:
    topic = CreatableTopic(name=name, num_partitions=2, replication_factor=1, assignments=[], configs=[])
    harness.call(CreateTopicsRequest(topics=[topic], timeout_ms=0))


def produce(harness: Harness, name: str, records: bytes) -> None:
    data = TopicProduceData(name=name, partition_data=[PartitionProduceData(index=1, records=records)])
    harness.call(ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data]), version=12)


def fetch(harness: Harness, name: str, *, min_bytes: int = 1) -> object:
    partition = FetchPartition(partition=1, fetch_offset=0, partition_max_bytes=1 << 20)
    topic = FetchTopic(topic=name, partitions=[partition])
    return harness.send(
        FetchRequest(max_wait_ms=100, min_bytes=min_bytes, max_bytes=1 << 20, topics=[topic]), version=11
    )


def numbers(counts: Counts) -> tuple[int, int, int]:
    return counts.messages_in, counts.bytes_in, counts.bytes_out


def test_what_came_and_went_since_the_start(tmp_path: Path) -> None:
    harness = Harness(tmp_path, log_segment_bytes=SEGMENT)
    create(harness, "old")
    small = batch(b"before")
    produce(harness, "old", small)
    traffic = Traffic(harness.broker.topics)
    create(harness, "new")
    produce(harness, "new", batch(b"a", b"b"))
    large = batch(b"x" * 600_000)
    for _ in range(3):  # each begins a segment of its own
        produce(harness, "old", large)
    fetch(harness, "new")
    traffic.look()
    by_name = {topic.name: numbers(counts) for topic, counts in traffic.by_topic.items()}
    size = len(batch(b"a", b"b"))
    assert by_name == {"old": (3, 3 * len(large), 0), "new": (2, size, size)}
    assert numbers(traffic.all_topics) == (5, 3 * len(large) + size, size)
    traffic.look()
    assert numbers(traffic.all_topics) == (5, 3 * len(large) + size, size)
    harness.broker.close()


def test_totals_stay_when_a_topic_goes_and_its_successor_starts_at_nothing(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    traffic = Traffic(harness.broker.topics)
    create(harness, "again")
    produce(harness, "again", batch(b"a", b"b"))
    traffic.look()
    harness.call(DeleteTopicsRequest(topic_names=["again"], timeout_ms=0), version=4)
    create(harness, "again")
    traffic.look()
    assert [numbers(counts)[0] for counts in traffic.by_topic.values()] == [0]
    assert traffic.all_topics.messages_in == 2
    harness.broker.close()


def test_what_a_waiting_fetch_found_too_little_counts_once(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    create(harness, "slow")
    records = batch(b"a")
    produce(harness, "slow", records)
    traffic = Traffic(harness.broker.topics)
    waiting = fetch(harness, "slow", min_bytes=2 * len(records))
    assert not waiting.is_answered  # type: ignore[attr-defined]
    produce(harness, "slow", records)
    assert waiting.is_answered  # type: ignore[attr-defined]
    traffic.look()
    assert traffic.all_topics.bytes_out == 2 * len(records)
    harness.broker.close()
