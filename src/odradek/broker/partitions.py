"""Topics and partitions at run time: a log, and those who wait for its high watermark to move."""

from collections import deque
from typing import Protocol

from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicId, TopicPartition
from odradek.storage.log import Log

OFFSETS_TOPIC = "__consumer_offsets"
TRANSACTIONS_TOPIC = "__transaction_state"
INTERNAL_TOPICS = frozenset({OFFSETS_TOPIC, TRANSACTIONS_TOPIC, "__share_group_state"})


class CommitWaiter(Protocol):
    """Someone who waits until an offset is below the high watermark."""

    deadline_ms: int | None
    """Monotonic; ``None`` waits for as long as it takes."""

    def committed(self) -> None: ...

    def failed(self, code: ErrorCode) -> None: ...


class FetchWaiter(Protocol):
    """A parked fetch."""

    def wake(self) -> None: ...


class Partition:
    """One partition led by this broker.

    Invariant: ``waiters`` ascend by the offset they wait for, as each is added at the log's end.
    """

    __slots__ = ("bytes_fetched", "fetch_waiters", "index", "leader_epoch", "log", "topic", "waiters")

    def __init__(self, topic: "Topic", index: int, log: Log, leader_epoch: int) -> None:
        self.topic = topic
        self.index = index
        self.log = log
        self.leader_epoch = leader_epoch
        self.bytes_fetched = 0
        """Bytes of records that consumers got since the start."""
        self.waiters: deque[tuple[int, CommitWaiter]] = deque()
        self.fetch_waiters: dict[FetchWaiter, None] = {}

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic.name, self.index)

    def await_commit(self, next_offset: int, waiter: CommitWaiter) -> None:
        """Tells ``waiter`` once high watermark ≥ ``next_offset``; it must not be so already."""
        self.waiters.append((next_offset, waiter))

    def high_watermark_moved(self) -> None:
        """Releases acknowledgements and parked fetches that the new high watermark satisfies."""
        waiters = self.waiters
        if waiters:
            high_watermark = self.log.high_watermark
            while waiters and waiters[0][0] <= high_watermark:
                waiters.popleft()[1].committed()
        if self.fetch_waiters:
            for fetch in list(self.fetch_waiters):
                fetch.wake()

    def fail_waiters(self, code: ErrorCode) -> None:
        """Refuses everyone who waits here: the log went offline or its topic was deleted."""
        waiters, self.waiters = self.waiters, deque()
        for _, waiter in waiters:
            waiter.failed(code)
        for fetch in list(self.fetch_waiters):
            fetch.wake()

    def expire_waiters(self, now_ms: int) -> None:
        """Refuses those whose deadline passed before their offset was committed."""
        expired = [entry for entry in self.waiters if _is_due(entry[1], now_ms)]
        if expired:
            self.waiters = deque(entry for entry in self.waiters if not _is_due(entry[1], now_ms))
            for _, waiter in expired:
                waiter.failed(ErrorCode.REQUEST_TIMED_OUT)


def _is_due(waiter: CommitWaiter, now_ms: int) -> bool:
    return waiter.deadline_ms is not None and waiter.deadline_ms <= now_ms


class Topic:
    """One topic and its partitions, in order of their index."""

    __slots__ = ("is_internal", "name", "partitions", "topic_id")

    def __init__(self, name: str, topic_id: TopicId) -> None:
        self.name = name
        self.topic_id = topic_id
        self.partitions: list[Partition] = []
        self.is_internal = name in INTERNAL_TOPICS

    def partition(self, index: int) -> Partition | None:
        return self.partitions[index] if 0 <= index < len(self.partitions) else None
