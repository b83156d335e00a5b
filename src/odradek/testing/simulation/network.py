"""The network of a simulation: connections in memory, each in order, all at their own pace, until cut."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from odradek.broker.requests import Answer, Close, Parts, Session, Wait
from odradek.protocol import apis
from odradek.protocol.headers import read_response_header, request_header, response_header_version
from odradek.protocol.primitives import Message
from odradek.testing.simulation.loop import Future, Loop

T = TypeVar("T")
TIMEOUT_MS = 3_000


class Disconnected(Exception):
    """The connection is gone, or nobody answered in time; what was asked may or may not have happened."""


class Host(Protocol):
    """The broker's end."""

    @property
    def is_up(self) -> bool: ...
    @property
    def is_paused(self) -> bool: ...
    def handle(self, frame: memoryview, session: Session) -> Answer: ...
    def answered(self, connection: "Connection") -> None: ...


class Network:
    """Delays and cuts. ``slowness`` is the longest that a message is usually on its way, in ms."""

    def __init__(self, loop: Loop, rng: random.Random, host: Host) -> None:
        self.loop = loop
        self.rng = rng
        self.host = host
        self.slowness = 3.0
        self.connections: dict[Connection, None] = {}

    async def connect(self, name: str) -> "Connection":
        """Raises :class:`Disconnected` when nobody listens."""
        await self.loop.sleep(self.delay())
        if not self.host.is_up:
            raise Disconnected("nobody listens")
        connection = Connection(self, name)
        self.connections[connection] = None
        return connection

    def delay(self) -> float:
        rng = self.rng
        return rng.random() * self.slowness * (20 if rng.random() < 0.02 else 1)

    def cut(self, share: float = 1.0) -> None:
        """Cut about this share of all connections."""
        for connection in list(self.connections):
            if self.rng.random() < share:
                connection.close()


class Connection:
    """One connection, both ends of it. Requests are answered in their order."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._session = Session(name, "broker", 9092)
        self._name = name
        self._correlation_id = 0
        self._inbox: deque[bytearray] = deque()
        self._queue: deque[Wait | Parts] = deque()
        self._waiting: deque[tuple[int, type[Message], int, int, Future[Any]]] = deque()
        self._up_at = self._down_at = 0.0
        self.is_open = True

    # The client's end

    def send(self, request: Message, version: int) -> Future[Any]:
        """The answer will be the decoded response; :class:`Disconnected` when it does not come."""
        answer: Future[Any] = Future()
        if not self.is_open:
            answer.fail(Disconnected("closed"))
            return answer
        self._correlation_id += 1
        number = self._correlation_id
        parts: list[Any] = [request_header(request.API_KEY, version, number, self._name)]
        request.encode(parts, version)
        frame = bytearray(b"".join(parts))
        response = apis.load(request.API_KEY).response
        self._waiting.append((number, response, request.API_KEY, version, answer))
        self._up_at = self._carry(self._up_at, lambda: self._receive(frame))
        self._network.loop.after(TIMEOUT_MS, lambda: None if answer.is_done else self.close())
        return answer

    async def call(self, request: Message, version: int) -> Any:
        return await self.send(request, version)

    def close(self) -> None:
        """Both ends learn of it; what is on its way is lost."""
        if not self.is_open:
            return
        self.is_open = False
        self._network.connections.pop(self, None)
        queue, self._queue = self._queue, deque()
        for answer in queue:
            if type(answer) is Wait:
                answer.abandon()
        while self._waiting:
            self._waiting.popleft()[4].fail(Disconnected("cut"))

    def _carry(self, not_before: float, deliver: Callable[[], None]) -> float:
        """Deliver after a while, but behind what was sent before on this way; when."""
        loop = self._network.loop
        at = max(loop.elapsed_ms + self._network.delay(), not_before)
        loop.at(at, lambda: deliver() if self.is_open else None)
        return at

    # The broker's end

    def _receive(self, frame: bytearray) -> None:
        self._inbox.append(frame)
        if len(self._inbox) == 1:
            self._work()

    def _work(self) -> None:
        while self._inbox and self.is_open:
            if self._network.host.is_paused:
                self._network.loop.after(50, self._work)
                return
            self._handle(self._inbox[0])
            self._inbox.popleft()

    def _handle(self, frame: bytearray) -> None:
        answer = self._network.host.handle(memoryview(frame), self._session)
        if isinstance(answer, Close):
            raise AssertionError(f"the broker closes the connection of {self._name}: {answer.reason}")
        if answer is not None and self.is_open:
            self._queue.append(answer)
            if isinstance(answer, Wait):
                answer.notify(lambda: self._network.host.answered(self))
            self.drain()

    def drain(self) -> None:
        """Send the answers that are ready, in order."""
        queue = self._queue
        while queue:
            answer = queue[0]
            parts = answer.parts if isinstance(answer, Wait) else answer
            if parts is None:
                return
            queue.popleft()
            if parts:
                frame = b"".join(parts)
                self._down_at = self._carry(self._down_at, lambda frame=frame: self._answer(frame))  # type: ignore[misc]

    def _answer(self, frame: bytes) -> None:
        number, response, api_key, version, answer = self._waiting.popleft()
        view = memoryview(frame)
        found, position = read_response_header(view, 4, response_header_version(api_key, version))
        assert found == number, "answers came out of order"
        answer.resolve(response.decode(view, position, version)[0])
