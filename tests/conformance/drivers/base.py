"""What the scenarios ask of a client library, in words that fit every one of them."""

import abc
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from odradek.core.errors import ErrorCode

Start = Literal["earliest", "latest"] | int
"""Where reading begins: a name or an offset."""
OffsetQuery = Literal["earliest", "latest", "max_timestamp"] | int
"""What an offset is asked for: a name or a timestamp in milliseconds."""


@dataclass(frozen=True)
class Message:
    """One record as it is handed to a producer."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


@dataclass(frozen=True)
class Received:
    """One record as a consumer hands it out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = -1


@dataclass(frozen=True)
class GroupDescription:
    """A group as an admin sees it. ``members``: (group instance id, partitions)."""

    state: str
    members: tuple[tuple[str | None, frozenset[tuple[str, int]]], ...] = field(default=())


class Refused(Exception):
    """The broker's answer carried an error code, as this client reports it."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(f"{code} {message}")
        self.code = ErrorCode(code)


class Lacking(Exception):
    """This client has no call for what the scenario needs."""


class Reader(abc.ABC):
    """Reads one partition without a group."""

    @abc.abstractmethod
    def poll(self, timeout_s: float) -> list[Received]: ...

    @abc.abstractmethod
    def seek(self, offset: int) -> None: ...

    @abc.abstractmethod
    def close(self) -> None: ...

    def take(self, count: int, timeout_s: float = 60.0) -> list[Received]:
        """The next records, ``count`` of them or more; fails with what came when time runs out."""
        received: list[Received] = []
        deadline = time.monotonic() + timeout_s
        while len(received) < count:
            assert time.monotonic() < deadline, f"only {len(received)} of {count} records came"
            received += self.poll(0.5)
        return received


class Member(abc.ABC):
    """One member of a consumer group. It has to be polled, or it is no member for long."""

    @abc.abstractmethod
    def poll(self, timeout_s: float) -> list[Received]: ...

    @abc.abstractmethod
    def assignment(self) -> frozenset[tuple[str, int]]: ...

    @abc.abstractmethod
    def commit(self, metadata: str | None = None) -> None:
        """Commits what was polled, and waits for the answer."""

    def seek(self, topic: str, partition: int, offset: int) -> None:
        raise Lacking("no seek inside a group")

    @abc.abstractmethod
    def close(self) -> None: ...


class TransactionalProducer(abc.ABC):
    """A producer with a transactional id, one transaction at a time."""

    @abc.abstractmethod
    def begin(self) -> None: ...

    @abc.abstractmethod
    def send(self, topic: str, messages: Sequence[Message]) -> None:
        """Publishes and waits until all are acknowledged."""

    def send_offsets(self, member: Member, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Makes offsets of the group that ``member`` is in part of the transaction."""
        raise Lacking("offsets cannot be sent by themselves")

    @abc.abstractmethod
    def end(self, commit: bool) -> None:
        """Commits or aborts; raises ``Refused``."""

    @abc.abstractmethod
    def close(self) -> None: ...


class Driver(abc.ABC):
    """One client library with its default settings. What a library has no call for raises ``Lacking``."""

    name: str
    protocols: tuple[str, ...] = ("classic",)
    """The group protocols that it knows."""
    protocol = "classic"
    """The one that its members use."""

    def lacking(self, what: str) -> Lacking:
        return Lacking(f"{self.name} {what}")

    @abc.abstractmethod
    def produce(
        self,
        topic: str,
        messages: Sequence[Message],
        compression: str = "none",
        max_request_bytes: int = 0,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        """Publishes all and returns the (partition, offset) of each; raises ``Refused``.

        ``max_request_bytes`` lifts the client's own limit, so that the broker's is met; ``idempotent`` asks
        for it where it is not the default.
        """

    @abc.abstractmethod
    def reader(self, topic: str, partition: int, start: Start, committed: bool | None = None) -> Reader:
        """``committed``: whether it is to be shown committed transactions only; ``None`` is its default."""

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        """Makes itself known to the coordinator before it returns."""
        raise self.lacking("knows no transactions")

    def copy(self, group: str, source: str, target: str, count: int) -> None:
        """Copies ``count`` committed records exactly once; every third transaction is aborted first."""
        producer = self.transactional(group)
        copied = number = 0
        deadline = time.monotonic() + 90
        member = self.join(group, source, committed=True)
        while copied < count:
            assert time.monotonic() < deadline, f"only {copied} of {count} records were copied"
            received = member.poll(0.5)
            if not received:
                continue
            number += 1
            producer.begin()
            values = [Message(one.value, one.key, partition=one.partition) for one in received]
            producer.send(target, values)
            ends = {(one.topic, one.partition): one.offset + 1 for one in received}
            producer.send_offsets(member, group, ends)
            producer.end(commit=number % 3 != 1)
            if number % 3 != 1:
                copied += len(received)
            else:
                member.close()
                member = self.join(group, source, committed=True)
        member.close()
        producer.close()

    def join(
        self, group: str, topic: str, instance_id: str | None = None, committed: bool | None = None
    ) -> Member:
        """A member that begins at the earliest record and commits by itself only on closing, if ever."""
        raise self.lacking("knows no consumer groups")

    @abc.abstractmethod
    def create_topic(
        self, topic: str, partitions: int = 1, replication: int = 1, configs: Mapping[str, str] | None = None
    ) -> None: ...

    def delete_topic(self, topic: str) -> None:
        raise self.lacking("cannot delete topics")

    @abc.abstractmethod
    def list_topics(self) -> set[str]: ...

    def partition_count(self, topic: str) -> int:
        """Raises ``Refused`` when there is no such topic."""
        raise self.lacking("cannot describe topics")

    def topic_config(self, topic: str) -> dict[str, str | None]:
        raise self.lacking("cannot describe configs")

    def set_topic_config(self, topic: str, key: str, value: str | None) -> None:
        """``None`` takes the override away."""
        raise self.lacking("cannot alter configs")

    def add_partitions(self, topic: str, total: int) -> None:
        raise self.lacking("cannot add partitions")

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        raise self.lacking("cannot delete records")

    @abc.abstractmethod
    def offset(self, topic: str, partition: int, query: OffsetQuery) -> int | None:
        """``None`` when nothing is that late."""

    def list_groups(self) -> set[str]:
        raise self.lacking("cannot list groups")

    def describe_group(self, group: str) -> GroupDescription:
        raise self.lacking("cannot describe groups")

    def delete_group(self, group: str) -> None:
        raise self.lacking("cannot delete groups")

    def group_offsets(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """Partition → (committed offset, metadata)."""
        raise self.lacking("cannot list a group's offsets")

    def set_group_offset(self, group: str, topic: str, partition: int, offset: int) -> None:
        raise self.lacking("cannot set a group's offsets")

    def delete_group_offset(self, group: str, topic: str, partition: int) -> None:
        raise self.lacking("cannot delete a group's offsets")

    def log_size(self, topic: str) -> int:
        """Bytes on disk of all partitions."""
        raise self.lacking("cannot describe log directories")

    def cluster(self) -> tuple[str, list[int]]:
        """Cluster id and node ids."""
        raise self.lacking("cannot describe the cluster")

    def close(self) -> None:  # noqa: B027
        """Ends what the driver holds open."""


def settle(
    members: Iterable[Member], partitions: int, timeout_s: float = 90.0
) -> tuple[dict[Member, frozenset[tuple[str, int]]], list[Received]]:
    """Polls all members until ``partitions`` are spread over all of them; what came meanwhile is returned."""
    members = list(members)
    received: list[Received] = []
    deadline = time.monotonic() + timeout_s
    while True:
        for member in members:
            received += member.poll(0.1)
        assignments = {member: member.assignment() for member in members}
        owned = [partition for assignment in assignments.values() for partition in assignment]
        if len(owned) == len(set(owned)) == partitions and all(assignments.values()):
            return assignments, received
        assert time.monotonic() < deadline, f"the group did not settle: {list(assignments.values())}"
