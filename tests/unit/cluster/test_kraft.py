"""Kafka's metadata log, as its records are laid out."""

import struct

from odradek.cluster.kraft import MetadataFile, read_metadata
from odradek.core.ids import TopicId
from odradek.records.builder import build_batch
from odradek.records.record import Record

ONE, TWO = TopicId(b"1" * 16), TopicId(b"2" * 16)
NO_TAGS = b"\0"


def text(value: str | None) -> bytes:
    return b"\0" if value is None else bytes([len(value.encode()) + 1]) + value.encode()


def topic(name: str, topic_id: bytes) -> bytes:
    return b"\1\2\0" + text(name) + topic_id + NO_TAGS


def partition(topic_id: bytes, number: int) -> bytes:
    fields = struct.pack(">i", number) + topic_id + b"\2" + struct.pack(">i", 1)
    return b"\1\3\2" + fields + b"what else there is"


def config(name: str, key: str, value: str | None, kind: int = 2) -> bytes:
    return b"\1\4\0" + struct.pack(">b", kind) + text(name) + text(key) + text(value) + NO_TAGS


def remove_topic(topic_id: bytes) -> bytes:
    return b"\1\x09\0" + topic_id + NO_TAGS


def producer_ids(following: int) -> bytes:
    return b"\1\x0f\0" + struct.pack(">iqq", 1, 7, following) + NO_TAGS


def quota(key: str, value: float, *, is_removed: bool = False, **entity: str | None) -> bytes:
    parts = b"".join(text(kind.replace("_", "-")) + text(name) + NO_TAGS for kind, name in entity.items())
    limit = text(key) + struct.pack(">d?", value, is_removed)
    return b"\1\x0e\0" + bytes([len(entity) + 1]) + parts + limit + NO_TAGS


def batches(*values: bytes, base_offset: int = 0) -> bytes:
    content = bytearray()
    for number, value in enumerate(values):
        batch = bytearray(build_batch([Record(0, 1, None, value)]))
        batch[:8] = struct.pack(">q", base_offset + number)
        content += batch
    return bytes(content)


def test_topics_configs_quotas_and_producer_ids() -> None:
    log = batches(
        b"\1\x1b\0what nobody here needs",
        topic("orders", ONE),
        topic("gone", TWO),
        *(partition(ONE, number) for number in range(3)),
        config("orders", "retention.ms", "5"),
        config("orders", "cleanup.policy", "compact"),
        config("orders", "retention.ms", None),
        config("", "log.retention.ms", "7", kind=4),
        config("no longer there", "retention.ms", "5"),
        remove_topic(TWO),
        producer_ids(3_000),
        quota("producer_byte_rate", 1.5, user="u", client_id=None),
        quota("consumer_byte_rate", 2, user="u"),
        quota("consumer_byte_rate", 0, is_removed=True, user="u"),
    )
    found = read_metadata([MetadataFile(log, 0)])
    assert list(found.topics) == ["orders"]
    orders = found.topics["orders"]
    assert (orders.topic_id, orders.partitions, orders.configs) == (ONE, 3, {"cleanup.policy": "compact"})
    assert found.quotas == {(("client-id", None), ("user", "u")): {"producer_byte_rate": 1.5}}
    assert found.other_configs == {(4, "")}
    assert found.next_producer_id == 3_000


def test_a_snapshot_goes_before_the_log_and_what_it_covers_is_not_taken_twice() -> None:
    snapshot = batches(topic("kept", ONE), partition(ONE, 0))
    log = batches(topic("before the snapshot", TWO), topic("after", TWO), base_offset=9)
    found = read_metadata([MetadataFile(snapshot, 0), MetadataFile(log, 10)])
    assert list(found.topics) == ["kept", "after"]


def test_a_torn_end_is_what_nobody_has_seen() -> None:
    log = batches(topic("whole", ONE)) + batches(topic("torn", TWO), base_offset=1)[:-3]
    assert list(read_metadata([MetadataFile(log, 0)]).topics) == ["whole"]
    assert read_metadata([]).topics == {}
