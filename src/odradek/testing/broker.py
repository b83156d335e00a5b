"""The broker for tests: a whole node in a thread of its own, on a free port, with nothing to
install or clean up.

Module-level imports are light on purpose: the node and the client are imported by those who start
and ask one.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

if TYPE_CHECKING:
    from odradek.app import Node
    from odradek.client.client import Client

T = TypeVar("T")

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0

_POLL_MS = 100
_NEVER = str(2**63 - 1)


class Record(NamedTuple):
    """A record as it lies in its topic; ``timestamp`` is in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Broker:
    """A broker on ``127.0.0.1`` for one test or many; start it with ``with`` or :meth:`start`.

    ``partitions`` is what topics get that do not say; ``config`` holds any of Kafka's broker keys
    (booleans and numbers are fine). Differences from ``odradek serve``: data is in a temporary
    folder and not flushed to disk, groups do not wait for more members, ``__consumer_offsets`` has
    one partition. All methods may be called from any thread.
    """

    def __init__(self, *, partitions: int = 1, config: Mapping[str, object] | None = None) -> None:
        self._overrides = {
            "listeners": "PLAINTEXT://127.0.0.1:0",
            "num.partitions": str(partitions),
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.num.partitions": "1",
            "log.flush.interval.messages": _NEVER,
            **{key: _text(value) for key, value in (config or {}).items()},
        }
        self._folder: TemporaryDirectory[str] | None = None
        self._running: _Running | None = None
        self._address: str | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:PORT``, for the ``bootstrap.servers`` of any client; it survives :meth:`restart`."""
        if self._address is None:
            raise RuntimeError("the broker has not been started: use it as `with Broker() as broker`")
        return self._address

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._running is not None

    def start(self) -> Self:
        """Start, returning once clients can connect; raises what kept it from starting, a
        ``StartupError`` mostly.
        """
        if self._running is not None:
            raise RuntimeError("the broker runs already")
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="odradek-", ignore_cleanup_errors=True)
        overrides = {"log.dirs": self._folder.name, **self._overrides}
        if self._address is not None:
            overrides["listeners"] = f"PLAINTEXT://{self._address}"
        self._running = _Running(overrides)
        self._address = self._running.node.bootstrap_servers
        return self

    def stop(self) -> None:
        """Stop and remove the data; a broker that does not run is left as it is."""
        # What is removed next need not be brought to the disk first.
        self._end(clean=False)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._address = None

    def kill(self) -> None:
        """Cut it off as ``kill -9`` would: connections drop, nothing is flushed, the data stays for
        :meth:`restart`.
        """
        self._end(clean=False)

    def restart(self) -> None:
        """Stop cleanly unless it was killed, and start again on the same port with the same data."""
        self._end(clean=True)
        self.start()

    def create_topic(
        self, name: str, *, partitions: int | None = None, config: Mapping[str, object] | None = None
    ) -> None:
        """Make a topic, with topic configs if any; raises ``ApiError`` when there is one of that name."""
        configs = {key: _text(value) for key, value in (config or {}).items()}

        async def work(client: "Client") -> None:
            from odradek.client.admin import create_topic

            await create_topic(client, name, partitions=partitions or -1, configs=configs)

        self._ask(work)

    def records(self, topic: str) -> list[Record]:
        """Everything in ``topic``, partition by partition; raises ``ApiError`` when there is none."""
        return self._ask(lambda client: _read(client, topic, 0))

    def wait_for(self, topic: str, n: int, timeout: float = 10.0) -> list[Record]:
        """The records of ``topic`` once there are at least ``n``; waits for the topic too.

        Raises ``TimeoutError`` after ``timeout`` seconds, saying how many there were.
        """
        found: list[Record] = []

        async def work(client: "Client") -> list[Record]:
            async with asyncio.timeout(timeout):
                return await _read(client, topic, n, found)

        try:
            return self._ask(work)
        except TimeoutError:
            raise TimeoutError(f"{topic} has {len(found)} of {n} records after {timeout} s") from None

    def _ask(self, work: "Callable[[Client], Coroutine[Any, Any, T]]") -> T:
        if self._running is None:
            raise RuntimeError("the broker does not run")

        async def connected() -> T:
            from odradek.client.client import Client

            async with Client(self.bootstrap_servers, client_id="odradek-testing") as client:
                return await work(client)

        return self._running.run(connected())

    def _end(self, *, clean: bool) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.end(clean=clean)


class _Running:
    """One life of a node: its thread and its loop."""

    def __init__(self, overrides: Mapping[str, str]) -> None:
        self.node: Node
        self._loop: asyncio.AbstractEventLoop
        self._is_up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(
            target=self._live, args=(overrides,), name="odradek-broker", daemon=True
        )
        self._thread.start()
        if not self._is_up.wait(START_TIMEOUT_S):
            raise TimeoutError(f"the broker did not start in {START_TIMEOUT_S} s")
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` in the node's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def end(self, *, clean: bool) -> None:
        """Stop or kill the node and end the thread."""
        ending = self.node.stop() if clean else self.node.kill()
        try:
            asyncio.run_coroutine_threadsafe(ending, self._loop).result(STOP_TIMEOUT_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_TIMEOUT_S)

    def _live(self, overrides: Mapping[str, str]) -> None:
        try:
            from odradek.app import Node, new_event_loop
            from odradek.core.config.broker import broker_config

            self._loop = new_event_loop()
        except BaseException as error:
            self._failure = error
            self._is_up.set()
            return
        try:
            self.node = self._loop.run_until_complete(
                Node.start(broker_config(overrides), uses_processes=False)
            )
        except BaseException as error:
            self._failure = error
            self._loop.close()
            self._is_up.set()
            return
        self._is_up.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


async def _read(client: "Client", topic: str, n: int, found: list[Record] | None = None) -> list[Record]:
    """Records of ``topic`` up to its present end, or further until there are ``n``."""
    from odradek.client.fetcher import Fetcher
    from odradek.client.offsets import EARLIEST, LATEST, list_offsets
    from odradek.core.errors import ApiError, ErrorCode
    from odradek.core.ids import TopicPartition

    found = [] if found is None else found
    while True:
        try:
            (described,) = await client.topics([topic])
            break
        except ApiError as error:
            if not n or error.code is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise
            await asyncio.sleep(_POLL_MS / 1000)
    partitions = [TopicPartition(topic, partition.partition) for partition in described.partitions]
    starts = await list_offsets(client, dict.fromkeys(partitions, EARLIEST))
    ends = await list_offsets(client, dict.fromkeys(partitions, LATEST))
    fetcher = Fetcher(client, {key: starts[key].offset for key in partitions})
    try:
        while len(found) < n or any(offset < ends[key].offset for key, offset in fetcher.positions.items()):
            for fetched in await fetcher.poll(_POLL_MS):
                found += (Record(topic, fetched.partition.partition, *record) for record in fetched.records)
    finally:
        fetcher.close()
    return sorted(found)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
