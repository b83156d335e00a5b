"""Reads what a Kafka 4.3 knew of its cluster: KRaft snapshot and metadata log → topics, configs, quotas.

Only records that ``odradek log import`` can use are looked into; the others are passed over. Layouts are
those of ``metadata/src/main/resources/common/metadata`` in Kafka's sources, all of them flexible, behind a
frame of version 1, the record's key and its version.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from odradek.cluster.image import QuotaEntity
from odradek.core.ids import TopicId
from odradek.protocol.fields import read_compact_nullable_string, read_compact_string, uvarint
from odradek.records.batch import check_crc, iterate_batches
from odradek.records.errors import CorruptBatchError
from odradek.records.record import read_records

TOPIC, PARTITION, CONFIG, REMOVE_TOPIC, CLIENT_QUOTA, PRODUCER_IDS = 2, 3, 4, 9, 14, 15
TOPIC_CONFIG = 2


class KafkaTopic:
    """One topic: how many partitions it has, and its own configs."""

    __slots__ = ("configs", "name", "partitions", "topic_id")

    def __init__(self, name: str, topic_id: TopicId) -> None:
        self.name = name
        self.topic_id = topic_id
        self.partitions = 0
        self.configs: dict[str, str] = {}


class KafkaMetadata:
    """What the records so far amount to."""

    def __init__(self) -> None:
        self.topics: dict[str, KafkaTopic] = {}
        self.quotas: dict[QuotaEntity, dict[str, float]] = {}
        self.other_configs: set[tuple[int, str]] = set()
        """Brokers, groups and others that have configs, as (type, name)."""
        self.next_producer_id = 0

    def _of_id(self, topic_id: TopicId) -> KafkaTopic | None:
        return next((topic for topic in self.topics.values() if topic.topic_id == topic_id), None)


class MetadataFile(NamedTuple):
    """A snapshot or a segment: batches back to back. Records below ``first_offset`` are known already."""

    content: bytes
    first_offset: int


def read_metadata(files: Iterable[MetadataFile]) -> KafkaMetadata:
    """Snapshot first, then segments in order. The last may end in a torn batch, which nobody has seen."""
    found = KafkaMetadata()
    for file in files:
        try:
            for position, header in iterate_batches(file.content):
                check_crc(file.content, position, header)
                if header.is_control:
                    continue
                batch = memoryview(file.content)[position : position + header.size]
                for record in read_records(batch):
                    if record.value is not None and record.offset >= file.first_offset:
                        _take(found, memoryview(record.value))
        except CorruptBatchError:
            break
    return found


def _take(found: KafkaMetadata, value: memoryview) -> None:
    frame_version, position = uvarint(value, 0)
    key, position = uvarint(value, position)
    _, position = uvarint(value, position)
    if frame_version != 1 or key not in _READERS:
        return
    _READERS[key](found, value, position)


def _topic(found: KafkaMetadata, value: memoryview, position: int) -> None:
    name, position = read_compact_string(value, position, len(value))
    found.topics[name] = KafkaTopic(name, TopicId(bytes(value[position : position + 16])))


def _partition(found: KafkaMetadata, value: memoryview, position: int) -> None:
    (number,) = struct.unpack_from(">i", value, position)
    topic = found._of_id(TopicId(bytes(value[position + 4 : position + 20])))
    if topic is not None:
        topic.partitions = max(topic.partitions, number + 1)


def _config(found: KafkaMetadata, value: memoryview, position: int) -> None:
    (resource_type,) = struct.unpack_from(">b", value, position)
    name, position = read_compact_string(value, position + 1, len(value))
    key, position = read_compact_string(value, position, len(value))
    text, _ = read_compact_nullable_string(value, position, len(value))
    topic = found.topics.get(name)
    if resource_type != TOPIC_CONFIG:
        if text is not None:
            found.other_configs.add((resource_type, name))
    elif topic is not None and text is not None:
        topic.configs[key] = text
    elif topic is not None:
        topic.configs.pop(key, None)


def _remove_topic(found: KafkaMetadata, value: memoryview, position: int) -> None:
    topic = found._of_id(TopicId(bytes(value[position : position + 16])))
    if topic is not None:
        del found.topics[topic.name]


def _producer_ids(found: KafkaMetadata, value: memoryview, position: int) -> None:
    _, _, found.next_producer_id = struct.unpack_from(">iqq", value, position)


def _client_quota(found: KafkaMetadata, value: memoryview, position: int) -> None:
    count, position = uvarint(value, position)
    parts = []
    for _ in range(count - 1):
        kind, position = read_compact_string(value, position, len(value))
        name, position = read_compact_nullable_string(value, position, len(value))
        _, position = uvarint(value, position)
        parts.append((kind, name))
    key, position = read_compact_string(value, position, len(value))
    limit, is_removed = struct.unpack_from(">d?", value, position)
    entity = tuple(sorted(parts, key=lambda part: part[0]))
    limits = found.quotas.setdefault(entity, {})
    if is_removed:
        limits.pop(key, None)
    else:
        limits[key] = limit
    if not limits:
        del found.quotas[entity]


_READERS = {
    TOPIC: _topic,
    PARTITION: _partition,
    CONFIG: _config,
    REMOVE_TOPIC: _remove_topic,
    CLIENT_QUOTA: _client_quota,
    PRODUCER_IDS: _producer_ids,
}
