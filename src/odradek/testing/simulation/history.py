"""What clients were told, and whether the log keeps it: the checker of a simulation.

Promises that are checked: no acknowledged record is lost, nothing that was read changes or goes, offsets
ascend, each producer's records are there once and in its order, committed offsets are not lost. A record may
be gone when its topic was deleted, DeleteRecords asked for it, or retention may have come for it.
"""

from typing import NamedTuple

from odradek.core.ids import TopicId

PartitionKey = tuple[TopicId, int]


class Entry(NamedTuple):
    """One record: who sent it as its how manieth, and its timestamp (ms)."""

    producer: str
    sequence: int
    timestamp: int

    def __str__(self) -> str:
        return f"{self.producer}:{self.sequence}"


def value_of(producer: str, sequence: int, size: int) -> bytes:
    return f"{producer}:{sequence} ".encode().ljust(size, b".")


def parse_value(value: bytes, timestamp: int) -> Entry:
    producer, _, sequence = value.partition(b" ")[0].decode().rpartition(":")
    return Entry(producer, int(sequence), timestamp)


class TopicPromise(NamedTuple):
    """What a topic's configs promise: ``is_strict`` that a power cut takes nothing, ``retention_ms`` for how
    long records stay (-1: for ever)."""

    name: str
    is_strict: bool
    retention_ms: int


class History:
    """Collects while clients work, and judges. ``problems`` is empty as long as all is well."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.topics: dict[TopicId, TopicPromise] = {}
        """Topics whose creation was acknowledged, until somebody asks for their deletion."""
        self.acknowledged: dict[PartitionKey, dict[int, Entry]] = {}
        self.seen: dict[PartitionKey, dict[int, Entry]] = {}
        self.deletable: dict[PartitionKey, int] = {}
        """Below it DeleteRecords was asked for."""
        self.deleted: dict[PartitionKey, int] = {}
        """Below it DeleteRecords was acknowledged."""
        self.committed: dict[tuple[str, str, int], int] = {}
        self.attempted: dict[tuple[str, str, int], int] = {}
        self.power_cuts = 0
        self.counts: dict[str, int] = {}

    def problem(self, text: str) -> None:
        if len(self.problems) < 50:
            self.problems.append(text)

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    def _name(self, key: PartitionKey) -> str:
        topic = self.topics.get(key[0])
        return f"{topic.name if topic else key[0].hex()}-{key[1]}"

    def power_was_cut(self) -> None:
        self.power_cuts += 1
        for key in [*self.acknowledged, *self.seen]:
            if not self._is_kept(key):
                self.acknowledged.pop(key, None)
                self.seen.pop(key, None)

    # What clients were told

    def record_acknowledged(self, key: PartitionKey, offset: int, entry: Entry) -> None:
        """With acks=all, at this offset."""
        self.count("acknowledged")
        other = self.acknowledged.setdefault(key, {}).setdefault(offset, entry)
        if other != entry and self._is_kept(key):
            self.problem(f"{self._name(key)}: offset {offset} was acknowledged to {other} and to {entry}")
        self._compare(key, offset, entry, self.seen.get(key, {}).get(offset))

    def record_read(self, key: PartitionKey, offset: int, entry: Entry) -> None:
        """Somebody read it."""
        self.count("read")
        topic = self.topics.get(key[0])
        if topic is not None and not topic.is_strict and self.power_cuts:
            return
        other = self.seen.setdefault(key, {}).setdefault(offset, entry)
        self._compare(key, offset, entry, other)
        self._compare(key, offset, entry, self.acknowledged.get(key, {}).get(offset))

    def _compare(self, key: PartitionKey, offset: int, entry: Entry, other: Entry | None) -> None:
        if other is not None and other != entry and self._is_kept(key):
            self.problem(f"{self._name(key)}: offset {offset} was {other}, now it is {entry}")

    def _is_kept(self, key: PartitionKey) -> bool:
        topic = self.topics.get(key[0])
        return topic is not None and (topic.is_strict or not self.power_cuts)

    def deletion_asked(self, topic_id: TopicId) -> None:
        self.topics.pop(topic_id, None)

    def records_deletion_asked(self, key: PartitionKey, offset: int) -> None:
        self.deletable[key] = max(offset, self.deletable.get(key, 0))

    def records_deleted(self, key: PartitionKey, offset: int) -> None:
        self.deleted[key] = max(offset, self.deleted.get(key, 0))

    def commit_asked(self, group: str, topic: str, partition: int, offset: int) -> None:
        place = (group, topic, partition)
        self.attempted[place] = max(offset, self.attempted.get(place, -1))

    def commit_acknowledged(self, group: str, topic: str, partition: int, offset: int) -> None:
        self.count("commits")
        place = (group, topic, partition)
        self.committed[place] = max(offset, self.committed.get(place, -1))

    def least_commit(self, group: str, topic: str, partition: int) -> int:
        """What a fetch that is sent now must at least find."""
        return self.committed.get((group, topic, partition), -1)

    def commit_read(self, group: str, topic: str, partition: int, offset: int, least: int) -> None:
        most = self.attempted.get((group, topic, partition), -1)
        if not least <= offset <= most:
            self.problem(
                f"group {group}: {topic}-{partition} is committed up to {offset}, which must be between "
                f"{least} (acknowledged) and {most} (asked for)"
            )

    def read_from(self, key: PartitionKey, position: int, log_start: int, now_ms: int) -> None:
        """A reader at ``position`` was told that the log begins at ``log_start`` only."""
        self._check_gone(
            key, [offset for offset in self._known(key) if position <= offset < log_start], now_ms
        )

    # The end

    def _known(self, key: PartitionKey) -> dict[int, Entry]:
        return {**self.acknowledged.get(key, {}), **self.seen.get(key, {})}

    def _check_gone(self, key: PartitionKey, offsets: list[int], now_ms: int) -> None:
        topic = self.topics.get(key[0])
        if topic is None or not self._is_kept(key):
            return
        known, deletable = self._known(key), self.deletable.get(key, 0)
        for offset in offsets:
            age_ms = now_ms - known[offset].timestamp
            if offset >= deletable and not 0 <= topic.retention_ms <= age_ms:
                self.problem(f"{self._name(key)}: {known[offset]} at offset {offset} is lost")
                return

    def check_log(self, key: PartitionKey, log_start: int, log: list[tuple[int, Entry]], now_ms: int) -> None:
        """``log`` is all of a partition in the end, as offsets and entries."""
        there = dict(log)
        for offset, entry in self._known(key).items():
            found = there.get(offset)
            if found is not None and found != entry and self._is_kept(key):
                self.problem(f"{self._name(key)}: offset {offset} was {entry}, in the end it is {found}")
        gone = [offset for offset in self._known(key) if offset not in there]
        self._check_gone(key, sorted(gone, reverse=True), now_ms)
        if log_start < self.deleted.get(key, 0):
            self.problem(f"{self._name(key)}: begins at {log_start}, deleted below {self.deleted[key]}")
        self.check_order(key, log)

    def check_order(self, key: PartitionKey, log: list[tuple[int, Entry]]) -> None:
        last_offset = -1
        last: dict[str, int] = {}
        for offset, entry in log:
            if offset <= last_offset:
                self.problem(f"{self._name(key)}: offset {offset} after {last_offset}")
            last_offset = offset
            before = last.get(entry.producer, -1)
            if entry.sequence == before:
                self.problem(f"{self._name(key)}: {entry} is there twice, again at offset {offset}")
            elif entry.sequence < before:
                self.problem(f"{self._name(key)}: {entry} at offset {offset} after its sequence {before}")
            last[entry.producer] = entry.sequence
