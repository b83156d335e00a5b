"""What goes between the server and the broker: sessions, request contexts and answers.

An answer is one of four: encoded parts (a reply), a :class:`Wait` that is completed later, ``None`` (the
request wants no answer, Produce with acks=0), or a :class:`Close`.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from odradek.broker.repeats import Repeats
from odradek.core.errors import ApiError

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")
Parts = list[Buffer]
"""One response frame, size prefix included, as pieces to be written in order."""


class Message(Protocol):
    """What every generated response offers."""

    def encode(self, parts: Any, version: int, /) -> None: ...


class Session:
    """One connection, as the broker sees it."""

    __slots__ = ("client_host", "host", "listener", "muted_until_ms", "on_muted", "port", "repeats")

    user = "ANONYMOUS"
    """Who has authenticated: nobody can, so far."""

    def __init__(self, client_host: str, host: str, port: int, listener: str = "PLAINTEXT") -> None:
        self.client_host = client_host
        self.host = host
        """The address that the client dialled: Metadata names it unless advertised.listeners is set."""
        self.port = port
        self.listener = listener
        self.repeats = Repeats()
        self.muted_until_ms = 0
        """Monotonic; until then a quota keeps the connection from being read."""
        self.on_muted: Callable[[bool], None] | None = None
        """Told when that begins and ends."""


class RequestContext:
    """One request: who asks, in which version, when (wall clock, milliseconds)."""

    __slots__ = ("api_version", "client_id", "now_ms", "session")

    def __init__(self, session: Session, api_version: int, client_id: str | None, now_ms: int) -> None:
        self.session = session
        self.api_version = api_version
        self.client_id = client_id
        self.now_ms = now_ms


class Close(NamedTuple):
    """The connection must end; ``reason`` is the one line that is logged."""

    reason: str


class Wait:
    """An answer that is not there yet.

    The handler keeps it and calls :meth:`complete` once, with the response message, with the error that
    refuses the request, or with ``None`` where no answer is owed. ``parts`` stays ``None`` until then.
    """

    __slots__ = (
        "_before_encoding",
        "_encode",
        "_notify",
        "_response",
        "is_complete",
        "on_abandoned",
        "parts",
    )

    def __init__(self) -> None:
        self.parts: Parts | None = None
        self.is_complete = False
        self.on_abandoned: Callable[[], None] | None = None
        """Called when the connection ends before the answer is there, so that nothing waits for nobody."""
        self._before_encoding: Callable[[Any], Any] | None = None
        self._response: Message | ApiError | None = None
        self._encode: Callable[[Message | ApiError], Parts] | None = None
        self._notify: Callable[[], None] | None = None

    def complete(self, response: Message | ApiError | None) -> None:
        """Releases the answer; later calls are ignored (a timeout and its event may meet)."""
        if self.is_complete:
            return
        self.is_complete = True
        self.on_abandoned = None
        self._response = response
        if self._encode is not None:
            self.parts = self._encoded(self._encode)
            if self._notify is not None:
                self._notify()

    def bind(self, encode: Callable[[Message | ApiError], Parts]) -> None:
        """Says how the response becomes bytes; the broker calls it when the handler returns."""
        self._encode = encode
        if self.is_complete:
            self.parts = self._encoded(encode)

    def _encoded(self, encode: Callable[[Message | ApiError], Parts]) -> Parts:
        response = self._response
        if response is None:
            return []
        return encode(response if self._before_encoding is None else self._before_encoding(response))

    def before_encoding(self, change: Callable[[Any], Any]) -> None:
        """Has ``change`` (response or error → response) say how long the client is throttled, after those
        who said so before."""
        earlier = self._before_encoding
        self._before_encoding = change if earlier is None else lambda response: change(earlier(response))

    def notify(self, callback: Callable[[], None]) -> None:
        """Says whom to tell of completion; the server calls it when it queues the wait."""
        self._notify = callback

    def abandon(self) -> None:
        """The connection is gone: nobody reads the answer any more."""
        on_abandoned = self.on_abandoned
        self.is_complete = True
        self.on_abandoned = None
        if on_abandoned is not None:
            on_abandoned()


class Several(Generic[T]):
    """An answer that is put together from ``count`` others, each of which may have to wait for its own
    partition: ``make`` gets them in their order."""

    __slots__ = ("_found", "_make", "_missing", "wait")

    def __init__(self, count: int, make: Callable[[list[T]], Message]) -> None:
        self.wait = Wait()
        self._make = make
        self._found: dict[int, T] = {}
        self._missing = count
        if not count:
            self.wait.complete(make([]))

    def add(self, position: int, found: T) -> None:
        self._found[position] = found
        self._missing -= 1
        if not self._missing:
            self.wait.complete(self._make([self._found[position] for position in sorted(self._found)]))


Answer = Parts | Wait | Close | None
