"""What every client of a simulation shares: a connection that is made again, and the topics there are."""

from typing import TYPE_CHECKING, Any

from odradek.core.errors import RETRIABLE, ErrorCode
from odradek.core.ids import TopicId
from odradek.protocol.primitives import Message
from odradek.testing.simulation.network import Connection, Disconnected

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation

BACKOFF_MS = 100


class TopicInfo:
    """A topic as clients know it; ``is_alive`` until its deletion is asked for."""

    __slots__ = ("is_alive", "is_strict", "name", "partitions", "topic_id")

    def __init__(self, name: str, topic_id: TopicId, partitions: int, is_strict: bool) -> None:
        self.name = name
        self.topic_id = topic_id
        self.partitions = partitions
        self.is_strict = is_strict
        self.is_alive = True


class Client:
    """One client with at most one connection."""

    def __init__(self, world: "Simulation", name: str) -> None:
        self.world = world
        self.name = name
        self.rng = world.rng
        self.loop = world.loop
        self.history = world.history
        self._connection: Connection | None = None

    def note(self, what: str) -> None:
        self.world.trace.note(self.name, what)

    async def connection(self) -> Connection:
        """Connected, however long that takes."""
        while self._connection is None or not self._connection.is_open:
            try:
                self._connection = await self.world.node.network.connect(self.name)
            except Disconnected:
                await self.loop.sleep(BACKOFF_MS)
        return self._connection

    async def call(self, request: Message, version: int) -> Any:
        """Raises :class:`Disconnected`; whether the broker has done it is not known then."""
        return await (await self.connection()).call(request, version)

    async def granted(self, *calls: tuple[Message, int]) -> Any:
        """Makes these calls (request and version) one after the other until the last is answered without an
        error, however often that takes; its answer."""
        while True:
            try:
                for request, version in calls:
                    answer = await self.call(request, version)
                if answer.error_code == 0:
                    return answer
            except Disconnected:
                pass
            await self.back_off()

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def back_off(self) -> None:
        await self.loop.sleep(BACKOFF_MS * (0.5 + self.rng.random()))

    def some_topic(self) -> TopicInfo | None:
        alive = [topic for topic in self.world.topics if topic.is_alive]
        return self.rng.choice(alive) if alive else None

    def is_retriable(self, code: int) -> bool:
        return ErrorCode(code) in RETRIABLE and code not in (
            ErrorCode.UNKNOWN_TOPIC_ID,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        )

    def unexpected(self, topic: TopicInfo, what: str, code: int) -> None:
        """An error that only a topic in deletion may give."""
        if topic.is_alive:
            self.history.problem(f"{self.name}: {what} of {topic.name} is answered {ErrorCode(code).name}")
