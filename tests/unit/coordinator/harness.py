"""A driver for the group machines without a broker: a list is the log, a number is the clock."""

from collections import Counter, deque
from typing import Any

from odradek.coordinator import records
from odradek.coordinator.classic_group import ClassicGroup, State
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.shard import GroupShard
from odradek.coordinator.step import Now, RecordBytes, Step, TimerKey, Write
from odradek.core.errors import ErrorCode

WALL_START_MS = 1_000_000


class Harness:
    """Performs steps as ``broker/groups.py`` does, and checks what must hold for every driver.

    ``flushes`` off holds durability back until :meth:`flush`; ``refusal`` refuses every append meanwhile.
    """

    def __init__(self, settings: GroupSettings = GroupSettings()) -> None:
        self.settings = settings
        self.now_ms = 0
        self.log: list[RecordBytes] = []
        self.flushes = True
        self.refusal: ErrorCode | None = None
        self.in_flight: deque[tuple[int, Write | None]] = deque()
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
        return GroupShard(self.settings, self._new_suffix)

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
            _, write = self.in_flight.popleft()
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
    if records.key_type(key) == records.GROUP_KEY:
        group_id = records.read_group_key(key)
        if value is None:
            return f"group {group_id} deleted"
        group = records.read_group(group_id, value)
        members = " ".join(
            f"{member.member_id}={member.assignment.decode() or '-'}" for member in group.members.values()
        )
        return f"group {group_id} generation {group.generation} leader {group.leader_id or '-'} [{members}]"
    group_id, topic, partition = records.read_offset_key(key)
    if value is None:
        return f"offset {group_id} {topic}-{partition} deleted"
    committed = records.read_offset_value(value, 0)
    return f"offset {group_id} {topic}-{partition} = {committed.offset} {committed.metadata}".rstrip()
