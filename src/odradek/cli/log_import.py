"""``odradek log import``: what to take from a stopped Kafka's folders, and taking it."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from odradek.cli.errors import CommandError
from odradek.cluster.file_store import FileMetadataStore
from odradek.cluster.fold import fold_all
from odradek.cluster.image import TOPIC_RESOURCE, ClusterImage
from odradek.cluster.kraft import KafkaMetadata, KafkaTopic, MetadataFile, read_metadata
from odradek.cluster.records import (
    ClientQuotaChanged,
    ConfigChanged,
    PartitionCreated,
    ProducerIdsAllocated,
    Record,
    TopicCreated,
)
from odradek.core.clock import SystemClock
from odradek.core.config.layers import BrokerLayers, topic_values, validate_topic
from odradek.core.config.values import ConfigError
from odradek.core.errors import DamageError
from odradek.core.ids import ZERO_ID, TopicId, id_text, new_id
from odradek.storage import names
from odradek.storage.checkpoints import decode_properties
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.foreign import ForeignFolder, ForeignPartition, copy_partition
from odradek.storage.log import Log
from odradek.storage.store import LogStore

Json = dict[str, Any]
NO_LAYERS = BrokerLayers({}, {}, {})
DEFAULT_NODE_ID = 1


class LeftOut(NamedTuple):
    """Something that is not taken, and why."""

    name: str
    reason: str


class PlannedTopic(NamedTuple):
    """A topic that is taken whole: ``partitions`` in order of their index."""

    name: str
    topic_id: TopicId
    partitions: list[ForeignPartition]
    configs: dict[str, str]


class Plan(NamedTuple):
    """What will be taken, and what not."""

    topics: list[PlannedTopic]
    left_out: list[LeftOut]
    metadata: KafkaMetadata
    has_metadata: bool

    @property
    def size(self) -> int:
        return sum(partition.size for topic in self.topics for partition in topic.partitions)


def import_folders(
    sources: Sequence[Path], data: Path, pattern: str | None, *, execute: bool
) -> tuple[Plan, list[Log]]:
    """Plans and, with ``execute``, takes. Raises what opening folders raises, and :class:`CommandError`."""
    disk = SystemDisk()
    with ExitStack() as cleanup:
        folders = []
        for source in sources:
            if source.resolve() == data.resolve():
                raise CommandError(f"{source} cannot be imported into itself")
            folder = ForeignFolder(disk, str(source))
            cleanup.callback(folder.close)
            folders.append(folder)
        if not execute:
            return make_plan(folders, _known_topics(data), pattern), []
        return _take(folders, data, pattern)


def _known_topics(data: Path) -> frozenset[str]:
    """Names that the target has folders of, without opening it."""
    if not data.is_dir():
        return frozenset()
    parsed = (names.parse_folder_name(entry.name) for entry in data.iterdir() if entry.is_dir())
    return frozenset(partition.topic for partition in parsed if partition is not None)


def make_plan(folders: Sequence[ForeignFolder], present: Iterable[str], pattern: str | None) -> Plan:
    """What of ``folders`` can be taken into a broker that has the topics ``present``."""
    metadata, has_metadata = _metadata(folders)
    left_out = [
        LeftOut(f"{folder.folder}/{name}", _reason_of_folder(name))
        for folder in folders
        for name in folder.others
    ]
    by_topic: dict[str, list[ForeignPartition]] = {}
    for folder in folders:
        for partition in folder.partitions:
            by_topic.setdefault(partition.partition.topic, []).append(partition)
    topics = []
    taken = frozenset(present)
    for name, partitions in sorted(by_topic.items()):
        if pattern is not None and re.search(pattern, name) is None:
            continue
        known = metadata.topics.get(name)
        reason = "a topic of that name is there already" if name in taken else _flaw(partitions, known)
        if reason is not None:
            left_out.append(LeftOut(name, reason))
            continue
        configs, refused = _configs(known.configs if known is not None else {})
        left_out += [LeftOut(f"{name}: {key}", why) for key, why in refused]
        ordered = sorted(partitions, key=lambda partition: partition.partition.partition)
        topics.append(PlannedTopic(name, _topic_id(ordered, known), ordered, configs))
    for _, name in sorted(metadata.other_configs):
        left_out.append(LeftOut(f"configs of {name or 'all brokers'}", "only those of topics are taken"))
    return Plan(topics, left_out, metadata, has_metadata)


def _metadata(folders: Sequence[ForeignFolder]) -> tuple[KafkaMetadata, bool]:
    """Of the first folder that has it."""
    for folder in folders:
        files = dict(folder.metadata_files())
        if not files:
            continue
        snapshots = [name for name in files if name.endswith(".checkpoint")]
        pieces = []
        first_offset = 0
        if snapshots:
            newest = max(snapshots)
            pieces.append(MetadataFile(files[newest], 0))
            first_offset = int(newest.partition("-")[0])
        pieces += [
            MetadataFile(content, first_offset)
            for name, content in sorted(files.items())
            if name.endswith(names.LOG)
        ]
        return read_metadata(pieces), True
    return KafkaMetadata(), False


def _reason_of_folder(name: str) -> str:
    if name == names.KAFKA_METADATA_FOLDER:
        return "Kafka's metadata log: topics, their configs, quotas and producer ids were read from it"
    if names.is_deleted_folder(name):
        return "a deleted partition"
    if name.endswith("-future"):
        return "a partition on its way to another folder"
    if name.endswith("-stray"):
        return "a partition that its cluster has given up"
    return "no partition"


def _flaw(partitions: Sequence[ForeignPartition], known: KafkaTopic | None) -> str | None:
    """Why these cannot be taken as a topic."""
    indexes = sorted(partition.partition.partition for partition in partitions)
    for one, other in pairwise(indexes):
        if one == other:
            return f"partition {one} is in several of the folders; name the one to take"
    count = max(indexes[-1] + 1, known.partitions if known is not None else 0)
    missing = sorted(set(range(count)) - set(indexes))
    if missing:
        numbers = ", ".join(map(str, missing[:5]))
        return f"of its {count} partitions {len(missing)} are not here ({numbers}); name all log.dirs"
    ids = {partition.topic_id for partition in partitions} - {ZERO_ID}
    if len(ids) > 1:
        return "its partitions belong to topics with different ids"
    if known is not None and known.configs.get("remote.storage.enable") == "true":
        return "part of it lies in remote storage"
    return None


def _topic_id(partitions: Sequence[ForeignPartition], known: KafkaTopic | None) -> TopicId:
    for partition in partitions:
        if partition.topic_id != ZERO_ID:
            return partition.topic_id
    return known.topic_id if known is not None else ZERO_ID


def _configs(configs: Mapping[str, str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Those that can be set here, and those that cannot."""
    taken: dict[str, str] = {}
    refused = []
    for key, value in configs.items():
        try:
            validate_topic(NO_LAYERS, {**taken, key: value})
        except ConfigError as error:
            refused.append((key, str(error)))
        else:
            taken[key] = value
    return taken, refused


def _take(folders: Sequence[ForeignFolder], data: Path, pattern: str | None) -> tuple[Plan, list[Log]]:
    disk, clock, randomness = SystemDisk(), SystemClock(), random.SystemRandom()
    _check_was_clean(data)
    node_id = _node_id(data)
    store = LogStore.open(str(data), disk, clock, randomness, node_id=node_id)
    try:
        metadata = FileMetadataStore.open(
            data, disk, store.cluster_id, node_id=node_id, was_clean=store.was_clean
        )
        try:
            target = _Target(store, metadata, clock.now_ms())
            plan = make_plan(folders, target.image.topics, pattern)
            _check_room(disk, data, plan.size)
            return target.take(plan)
        finally:
            metadata.close()
    finally:
        store.close(clock.now_ms())


def _check_was_clean(data: Path) -> None:
    if _known_topics(data) and not (data / names.CLEAN_SHUTDOWN).exists():
        raise CommandError(
            f"{data} was not closed cleanly",
            "Start the broker on it and stop it again; it is recovered then.",
        )


def _node_id(data: Path) -> int:
    path = data / names.META_PROPERTIES
    if not path.exists():
        return DEFAULT_NODE_ID
    return int(decode_properties(path.read_bytes()).get("node.id", DEFAULT_NODE_ID))


def _check_room(disk: SystemDisk, data: Path, size: int) -> None:
    _, usable = disk.space(str(data))
    if size > usable:
        raise CommandError(
            f"{size:,} bytes are to be copied, {data} has room for {usable:,}", "Take fewer with --topics."
        )


class _Target:
    """The broker that takes: its logs and its metadata log."""

    def __init__(self, store: LogStore, metadata: FileMetadataStore, now_ms: int) -> None:
        self._store = store
        self._metadata = metadata
        self._now_ms = now_ms
        self.image: ClusterImage = metadata.image

    def take(self, plan: Plan) -> tuple[Plan, list[Log]]:
        """Takes what is planned; the plan that comes back has what was taken."""
        topics, left_out, logs = [], list(plan.left_out), []
        for topic in plan.topics:
            try:
                logs += self._take_topic(topic)
                topics.append(topic)
            except (DamageError, OSError) as error:
                left_out.append(LeftOut(topic.name, str(error)))
                self._forget(topic)
        self._commit(self._identities(plan.metadata, logs))
        return plan._replace(topics=topics, left_out=left_out), logs

    def _take_topic(self, topic: PlannedTopic) -> list[Log]:
        """The folders first: a record without its folder would be an empty partition at the next start."""
        self._forget(topic)  # what an import that was cut off has left
        config = LogConfig.from_topic(topic_values(NO_LAYERS, topic.configs))
        logs = [
            copy_partition(self._store, partition, config, self._now_ms) for partition in topic.partitions
        ]
        topic_id = topic.topic_id if topic.topic_id != ZERO_ID else new_id(self._store.volume.randomness)
        node_id = self._store.node_id
        records: list[Record] = [TopicCreated(topic.name, topic_id)]
        for index, log in enumerate(logs):
            epoch = log.leader_epoch + 1
            records.append(
                PartitionCreated(topic_id, index, node_id, (node_id,), (node_id,), leader_epoch=epoch)
            )
        records += [
            ConfigChanged(TOPIC_RESOURCE, topic.name, key, value) for key, value in topic.configs.items()
        ]
        self._commit(records)
        return logs

    def _identities(self, metadata: KafkaMetadata, logs: Sequence[Log]) -> list[Record]:
        """Producer ids that are in use must not be given out again; and quotas."""
        used = [producer_id for log in logs for producer_id in log.producers.by_id]
        following = max([metadata.next_producer_id, *(number + 1 for number in used)])
        records: list[Record] = []
        if following > self.image.next_producer_id:
            records.append(ProducerIdsAllocated(self._store.node_id, following))
        for entity, limits in metadata.quotas.items():
            if entity not in self.image.quotas:
                records += [ClientQuotaChanged(entity, key, value) for key, value in limits.items()]
        return records

    def _commit(self, records: Sequence[Record]) -> None:
        if records:
            image = fold_all(self.image, records, self.image.index + 1)
            self._metadata.append(records)
            self._metadata.flush()
            self._metadata.applied(image)
            self.image = image

    def _forget(self, topic: PlannedTopic) -> None:
        if topic.name not in self.image.topics:
            for partition in topic.partitions:
                if partition.partition in self._store.logs:
                    self._store.delete(partition.partition)


def as_json(plan: Plan, logs: Sequence[Log], *, executed: bool) -> Json:
    """The stable shape of what is printed."""
    ends = {log.topic_partition: log.log_end_offset for log in logs}
    return {
        "executed": executed,
        "bytes": plan.size,
        "topics": [
            {
                "name": topic.name,
                "id": id_text(topic.topic_id),
                "configs": topic.configs,
                "partitions": [
                    {
                        "partition": partition.partition.partition,
                        "start": partition.first_offset,
                        "end": ends.get(partition.partition),
                        "bytes": partition.size,
                        "from": partition.folder,
                    }
                    for partition in topic.partitions
                ],
            }
            for topic in plan.topics
        ],
        "left_out": [one._asdict() for one in plan.left_out],
    }
