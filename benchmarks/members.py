"""A thousand members of a group (KIP-848), as far as a broker can tell: heartbeats on a few connections.

Each member does what clients do: it asks every heartbeat interval, takes the assignment that it is given, and
acknowledges it at once.
"""

import asyncio
import contextlib
import struct
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks import coordinator_frames as requests
from benchmarks.admin import Admin, BrokerError
from benchmarks.brokers import Broker
from benchmarks.coordinator_frames import Heartbeat, Owned
from benchmarks.frames import request

CONNECTIONS = 8
FIRST_LIMIT_S = 120.0
SETTLE_LIMIT_S = 60.0
IDLE_GROUPS = 1_000
LEAVE = -1
MEMORY_SETTLES_S = 2.0


@dataclass(slots=True)
class Member:
    """One member; `due` is when it asks next."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    epoch: int = 0
    owned: Owned = field(default_factory=list)
    due: float = 0.0
    has_news: bool = False
    """It has taken an assignment that it has not acknowledged."""

    @property
    def partitions(self) -> Iterator[tuple[bytes, int]]:
        return ((topic, number) for topic, numbers in self.owned for number in numbers)


class Connection:
    """One request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self, body: bytes) -> Heartbeat:
        async with self._lock:
            self._writer.write(request(requests.CONSUMER_GROUP_HEARTBEAT, 1, body))
            (size,) = struct.unpack(">i", await self._reader.readexactly(4))
            answer = await self._reader.readexactly(size)
        beat = Heartbeat(answer[4:])
        if beat.error:
            raise BrokerError(f"ConsumerGroupHeartbeat: error code {beat.error}")
        return beat


class Group:
    """All members of one group over one topic of `partitions`."""

    def __init__(self, connections: list[Connection], group: str, topic: str, partitions: int) -> None:
        self._connections = connections
        self._group = group
        self._topic = topic
        self._partitions = partitions
        self.members: list[Member] = []
        self.interval_s = 5.0

    async def add(self, count: int) -> None:
        """New members join, all at once; from then on they are to be kept alive by :meth:`settle`."""
        joining = [Member() for _ in range(count)]
        self.members += joining
        now = time.monotonic()
        await asyncio.gather(*(self._beat(member) for member in joining))
        for number, member in enumerate(
            joining
        ):  # clients that joined at different times ask at different times
            member.due = now + self.interval_s * (number + 1) / count

    async def remove(self) -> None:
        """The first member leaves."""
        member = self.members.pop(0)
        member.epoch = LEAVE
        await self._beat(member)

    async def settle(self, limit_s: float) -> float:
        """Until every partition is owned once and all members are at the last epoch; returns the seconds."""
        began = time.monotonic()
        while not self._is_settled():
            if time.monotonic() - began > limit_s:
                raise BrokerError(f"a group of {len(self.members)} did not settle in {limit_s:.0f} s")
            await self._live(0.01)
        return time.monotonic() - began

    async def idle(self, seconds: float) -> None:
        """Lets the members live for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self._live(0.01)

    async def _live(self, pause_s: float) -> None:
        now = time.monotonic()
        due = [member for member in self.members if member.has_news or member.due <= now]
        if due:
            await asyncio.gather(*(self._beat(member) for member in due))
        else:
            await asyncio.sleep(pause_s)

    async def _beat(self, member: Member) -> None:
        topics = [self._topic] if member.epoch == 0 else None
        owned = member.owned if member.has_news or member.epoch == 0 else None
        member.has_news = False
        member.due = time.monotonic() + self.interval_s
        connection = self._connections[hash(member.id) % len(self._connections)]
        body = requests.consumer_group_heartbeat(self._group, member.id, member.epoch, topics, owned)
        beat = await connection.ask(body)
        if member.epoch == LEAVE:
            return
        member.epoch = beat.epoch
        self.interval_s = beat.interval_ms / 1000
        if beat.assignment is not None:
            member.has_news = beat.assignment != member.owned
            member.owned = beat.assignment

    def _is_settled(self) -> bool:
        epochs = {member.epoch for member in self.members}
        if len(epochs) != 1 or any(member.has_news for member in self.members):
            return False
        shares = [sum(len(numbers) for _, numbers in member.owned) for member in self.members]
        if max(shares) - min(shares) > 1:
            return False
        owned = [partition for member in self.members for partition in member.partitions]
        return len(owned) == len(set(owned)) == self._partitions


def rebalance(broker: Broker, topic: str, members: int, partitions: int) -> dict[str, float]:
    """How long a settled group takes to settle again when one member joins and when one leaves."""
    with Admin(broker.port) as admin:
        admin.find_coordinator(requests.GROUP, topic)
        scout = str(uuid.uuid4())
        for epoch in (0, LEAVE):  # asks again while the coordinator loads
            admin.heartbeat(topic, scout, epoch, None if epoch else [topic])
    return asyncio.run(_rebalance(broker, topic, members, partitions))


async def _rebalance(broker: Broker, topic: str, members: int, partitions: int) -> dict[str, float]:
    metrics = {}
    async with contextlib.AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(Connection(broker.port)) for _ in range(min(CONNECTIONS, members))
        ]
        group = Group(connections, topic, topic, partitions)
        await group.add(members)
        metrics["first_s"] = await group.settle(FIRST_LIMIT_S)
        for what in ("join", "leave"):
            await group.idle(2 * group.interval_s)
            cpu_s, began = broker.cpu_s(), time.monotonic()
            await (group.add(1) if what == "join" else group.remove())
            await group.settle(SETTLE_LIMIT_S)
            metrics[f"{what}_s"] = time.monotonic() - began
            metrics[f"{what}_cpu_s"] = broker.cpu_s() - cpu_s
        metrics["seconds"] = metrics["first_s"] + metrics["join_s"] + metrics["leave_s"]
    return metrics


def idle_groups(broker: Broker, topic: str) -> dict[str, float]:
    """What IDLE_GROUPS groups of one member, each with a committed offset, add to the broker's memory."""
    names = [f"{topic}-{number}" for number in range(IDLE_GROUPS)]
    with Admin(broker.port) as admin:
        admin.find_coordinator(requests.GROUP, names[0])
        before = broker.private_memory_bytes()
        for name in names:
            member = str(uuid.uuid4())
            epoch = admin.heartbeat(name, member, 0, [topic]).epoch
            admin.send(requests.offset_commit(name, topic, 0, member, epoch))
        time.sleep(MEMORY_SETTLES_S)
        return {"groups_mb": (broker.private_memory_bytes() - before) / 1e6}
