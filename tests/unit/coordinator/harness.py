"""A driver for the group machines without a broker: a list is the log, a number is the clock."""

from collections import Counter, deque
from typing import Any, NamedTuple

from odradek.coordinator import consumer_changes, records
from odradek.coordinator.classic_group import ClassicGroup, State
from odradek.coordinator.consumer_changes import (
    PutEpoch,
    PutProgress,
    PutRegex,
    PutSubscription,
    PutTarget,
    PutTargetEpoch,
)
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.shard import GroupShard
from odradek.coordinator.step import Now, RecordBytes, Step, TimerKey, Write
from odradek.coordinator.topics_view import NO_TOPICS, TopicsView
from odradek.core.config.groups import ConsumerGroupConfig
from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicId
from odradek.protocol.generated.consumer_protocol import ConsumerProtocolAssignment

WALL_START_MS = 1_000_000
CONSUMER_CONFIG = ConsumerGroupConfig(
    session_timeout_ms=45_000, heartbeat_interval_ms=5_000, assignment_interval_ms=1_000
)


class FakePartition(NamedTuple):
    """A partition as the topics view wants it."""

    replicas: tuple[int, ...] = (1,)


class FakeTopic(NamedTuple):
    """A topic as the topics view wants it."""

    name: str
    topic_id: TopicId
    partitions: tuple[FakePartition, ...]


def topic_id_of(name: str) -> TopicId:
    return name.encode().ljust(16, b"_")


class Harness:
    """Performs steps as ``broker/groups.py`` does, and checks what must hold for every driver.

    ``flushes`` off holds durability back until :meth:`flush`; ``refusal`` refuses every append meanwhile.
    """

    def __init__(self, settings: GroupSettings = GroupSettings()) -> None:
        self.settings = settings
        self.config = CONSUMER_CONFIG
        self.topics = NO_TOPICS
        self.now_ms = 0
        self.log: list[RecordBytes] = []
        self.flushes = True
        self.refusal: ErrorCode | None = None
        self.in_flight: deque[tuple[int, Write | None]] = deque()
        self.durable_length = 0
        """Records of the log that no crash takes back."""
        self.timers: dict[TimerKey, int] = {}
        self.replies: dict[Any, Any] = {}
        self.reply_counts: Counter[Any] = Counter()
        self.written: list[RecordBytes] = []
        """Records of the last inputs, until someone takes them."""
        self.released: list[tuple[Any, Any]] = []
        """Replies of the last inputs, until someone takes them."""
        self.refused_keys: set[bytes] = set()
        """Keys whose last record was refused: what memory holds of them may be ahead of the log."""
        self._suffixes = 0
        self.shard = self._new_shard()

    def _new_shard(self) -> GroupShard:
        shard = GroupShard(self.settings, lambda _: self.config, self._new_suffix)
        shard.topics = self.topics
        return shard

    def set_topics(self, counts: dict[str, int]) -> None:
        """The cluster now has these topics, with so many partitions each; a topic that stays keeps its id."""
        before = self.topics.by_name
        topics = {}
        for name, count in counts.items():
            topic = FakeTopic(name, topic_id_of(name), tuple([FakePartition()] * count))
            topics[name] = before[name] if before.get(name) == topic else topic
        by_id = {topic.topic_id: topic for topic in topics.values()}
        self.topics = TopicsView(topics, by_id, {}, self.topics.version + 1)
        changed = {name for name, topic in topics.items() if before.get(name) is not topic}
        self.shard.topics_changed(self.topics, changed | (before.keys() - topics.keys()))

    def _new_suffix(self) -> str:
        self._suffixes += 1
        return str(self._suffixes)

    @property
    def now(self) -> Now:
        return Now(WALL_START_MS + self.now_ms, self.now_ms)

    def perform(self, step: Step | None) -> None:
        if step is None:
            return
        second = None
        if step.records:
            base_offset = len(self.log)
            keys = {key for key, _ in step.records}
            if self.refusal is not None:
                self.refused_keys |= keys
                second = step.write.refused(self.refusal, self.now) if step.write is not None else None
            else:
                self.refused_keys -= keys
                self.log.extend(step.records)
                self.written.extend(step.records)
                if step.write is not None:
                    step.write.appended(base_offset)
                self.in_flight.append((len(self.log), step.write))
        self._release(step)
        self.perform(second)
        if self.flushes:
            self.flush()

    def _release(self, step: Step) -> None:
        for token, response in step.replies:
            assert token is not None
            self.reply_counts[token] += 1
            assert self.reply_counts[token] == 1, f"{token} was answered twice"
            self.replies[token] = response
            self.released.append((token, response))
        for key, deadline_ms in step.timers:
            if deadline_ms is None:
                self.timers.pop(key, None)
            else:
                self.timers[key] = deadline_ms

    def flush(self) -> None:
        while self.in_flight:
            self.durable_length, write = self.in_flight.popleft()
            if write is not None:
                self.perform(write.durable(self.now))

    def fail(self) -> None:
        """The log goes offline with appends in flight: everyone who waits is answered."""
        self.timers.clear()
        self._release(self.shard.unload())
        while self.in_flight:
            _, write = self.in_flight.popleft()
            step = write.refused(ErrorCode.KAFKA_STORAGE_ERROR, self.now) if write is not None else None
            if step is not None:
                step.timers = []
                self._release(step)

    def cut_power(self) -> None:
        """What is not durable is gone, and with it everyone who waited; then it starts again."""
        del self.log[self.durable_length :]
        self.restart()

    def advance(self, to_ms: int) -> None:
        """Moves the clock, firing what is due on the way."""
        while due := [(deadline, key) for key, deadline in self.timers.items() if deadline <= to_ms]:
            deadline_ms, key = min(due)
            self.now_ms = max(self.now_ms, deadline_ms)
            del self.timers[key]
            self.perform(self.shard.on_timer(key, self.now))
        self.now_ms = to_ms

    def replayed(self) -> GroupShard:
        """A shard rebuilt from the log."""
        shard = self._new_shard()
        for offset, (key, value) in enumerate(self.log):
            shard.replay(offset, -1, key, value)
        return shard

    def restart(self) -> None:
        """Forgets everything but the log."""
        self.timers.clear()
        self.in_flight.clear()
        self.durable_length = len(self.log)
        self.shard = self.replayed()
        self.perform(self.shard.loaded(self.now))


def durable_view(group: ClassicGroup) -> dict[str, Any]:
    """What of a group survives a restart; only meaningful while it is Empty or Stable."""
    return {
        "state": group.state,
        "generation": group.generation,
        "protocol_type": group.protocol_type,
        "protocol_name": group.protocol_name,
        "leader": group.leader_id,
        "subscribed": group.subscribed_topics,
        "since": group.state_since_ms if group.state is State.EMPTY else None,
        "members": {
            member.member_id: (
                member.group_instance_id,
                member.client_id,
                member.client_host,
                member.session_timeout_ms,
                member.rebalance_timeout_ms,
                member.metadata(group.protocol_name),
                member.assignment,
            )
            for member in group.members.values()
        },
    }


def describe_record(key: bytes, value: bytes | None) -> str:
    """A record in words."""
    if records.key_type(key) in consumer_changes.KEYS:
        return describe_consumer_record(records.key_type(key), key, value)
    if records.key_type(key) == records.GROUP_KEY:
        group_id = records.read_group_key(key)
        if value is None:
            return f"group {group_id} deleted"
        group = records.read_group(group_id, value)
        members = " ".join(
            f"{member.member_id}={show_work(member.assignment)}" for member in group.members.values()
        )
        return f"group {group_id} generation {group.generation} leader {group.leader_id or '-'} [{members}]"
    group_id, topic, partition = records.read_offset_key(key)
    if value is None:
        return f"offset {group_id} {topic}-{partition} deleted"
    committed = records.read_offset_value(value, 0)
    return f"offset {group_id} {topic}-{partition} = {committed.offset} {committed.metadata}".rstrip()


def show_work(assignment: bytes) -> str:
    """A member's assignment: words as they stand, the consumer protocol's as ``t:0,1 u:0``."""
    if assignment[:1] != b"\0":
        return assignment.decode() or "-"
    decoded, _ = ConsumerProtocolAssignment.decode(memoryview(assignment), 2, 0)
    parts = decoded.assigned_partitions
    return " ".join(f"{part.topic}:{','.join(map(str, part.partitions))}" for part in parts) or "-"


def describe_consumer_record(kind: int, key: bytes, value: bytes | None) -> str:
    """A record of a consumer group in words."""
    group_id, change = consumer_changes.read_change(kind, key, value)
    if change is None:
        what = {consumer_changes.EPOCH_KEY: "epoch", consumer_changes.TARGET_EPOCH_KEY: "target epoch"}
        return f"{group_id} {what.get(kind, 'partition metadata')} deleted"
    who = f"{group_id} {change[0]}" if isinstance(change[0], str) else group_id
    match change:
        case PutSubscription(_, said):
            if said is None:
                return f"{who} subscription deleted"
            parts = [",".join(sorted(said.topics)) or "-"]
            parts += [f"regex={said.regex}"] if said.regex else []
            parts += [f"instance={said.instance_id}"] if said.instance_id is not None else []
            parts += [f"rack={said.rack_id}"] if said.rack_id is not None else []
            parts += [f"assignor={said.server_assignor}"] if said.server_assignor is not None else []
            parts += (
                ["classic=" + ",".join(name for name, _ in said.classic.protocols)] if said.classic else []
            )
            return f"{who} subscribes to {' '.join(parts)}"
        case PutProgress(_, at):
            return f"{who} has nothing" if at is None else f"{who} is at {show_progress(at)}"
        case PutTarget(_, target):
            return f"{who} target {'deleted' if target is None else show_partitions(target)}"
        case PutEpoch(epoch, metadata_hash):
            return f"{group_id} epoch {epoch}{'' if metadata_hash else ' without topics'}"
        case PutTargetEpoch(epoch, _):
            return f"{group_id} target epoch {epoch}"
        case PutRegex(_, resolved):
            matched = "deleted" if resolved is None else ",".join(sorted(resolved.topics)) or "nothing"
            return f"{group_id} regex {change[0]} {matched}"
    raise AssertionError(change)


def show_partitions(partitions: Any) -> str:
    """``t:0,1 u:0`` by topic and number."""
    return (
        " ".join(
            f"{topic_id.rstrip(b'_').decode()}:{','.join(map(str, sorted(numbers)))}"
            for topic_id, numbers in sorted(partitions.items())
        )
        or "-"
    )


def show_progress(at: Any) -> str:
    """Epoch (and the one before), state, what is assigned and what is to be given up."""
    revoking = f" revoking {show_partitions(at.revoking)}" if at.revoking else ""
    return f"{at.epoch}({at.previous_epoch}) {at.state.name} {show_partitions(at.assigned)}{revoking}"
