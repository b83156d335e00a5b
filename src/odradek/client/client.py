"""A client of a whole cluster: finds brokers, leaders and coordinators, and keeps one connection to each.

It speaks of topics by their names, so it stays below the versions that only know topic ids.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from typing import NamedTuple, Self, TypeVar

from odradek.client.connection import CLIENT_ID, Connection
from odradek.client.errors import ConnectError
from odradek.core.errors import RETRIABLE, ApiError, ErrorCode
from odradek.core.ids import TopicId, TopicPartition
from odradek.protocol.generated.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)

T = TypeVar("T")

_FIRST_BACKOFF_MS = 20
_LONGEST_BACKOFF_MS = 1000


class CoordinatorType(IntEnum):
    """Kinds of coordinators. Source: ``FindCoordinatorRequest.CoordinatorType``."""

    GROUP = 0
    TRANSACTION = 1


class BrokerInfo(NamedTuple):
    """Where a broker listens."""

    node_id: int
    host: str
    port: int
    rack: str | None


class PartitionInfo(NamedTuple):
    """A partition; ``leader`` is -1 while it has none, and ``error`` says why."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: list[int]
    in_sync: list[int]
    offline: list[int]
    error: ErrorCode = ErrorCode.NONE


class TopicInfo(NamedTuple):
    """A topic, its partitions in order; ``error`` is NONE when it can be used."""

    name: str
    topic_id: TopicId
    is_internal: bool
    partitions: list[PartitionInfo]
    error: ErrorCode


class ClusterInfo(NamedTuple):
    """What one Metadata answer said."""

    cluster_id: str | None
    controller: int
    brokers: dict[int, BrokerInfo]
    topics: dict[str, TopicInfo]


class Client:
    """Use as ``async with Client("localhost:9092") as client``; several bootstrap addresses are
    parted by commas.
    """

    def __init__(self, bootstrap: str, *, client_id: str = CLIENT_ID, timeout_ms: int = 30_000) -> None:
        self.timeout_ms = timeout_ms
        self.on_retry: Callable[[ApiError | ConnectError], None] = lambda error: None
        """Told of each failure after which something is tried again."""
        self._addresses = [parse_address(text) for text in bootstrap.split(",")]
        self._client_id = client_id
        self._bootstrap: Connection | None = None
        self._connections: dict[int, Connection] = {}
        self._brokers: dict[int, BrokerInfo] = {}
        self._leaders: dict[TopicPartition, int] = {}
        self._leaderless: dict[TopicPartition, ErrorCode] = {}
        """Why there is no leader."""
        self._coordinators: dict[tuple[CoordinatorType, str], int] = {}
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.any_broker()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        for connection in (self._bootstrap, *self._connections.values()):
            if connection is not None:
                connection.close()

    async def any_broker(self) -> Connection:
        """A connection to some broker; raises :class:`ConnectError` when none can be reached."""
        async with self._connecting:
            if self._bootstrap is not None and self._bootstrap.is_open:
                return self._bootstrap
            failure: ConnectError | None = None
            known = [(broker.host, broker.port) for broker in self._brokers.values()]
            for host, port in [*self._addresses, *known]:
                try:
                    self._bootstrap = await self._open(host, port)
                    return self._bootstrap
                except ConnectError as error:
                    failure = failure or error
            assert failure is not None
            raise failure

    async def broker(self, node_id: int) -> Connection:
        """The connection to one broker of the cluster."""
        if node_id not in self._brokers:
            await self.cluster([])
        if node_id not in self._brokers:
            raise ApiError(ErrorCode.BROKER_NOT_AVAILABLE, f"broker {node_id} is not running")
        address = self._brokers[node_id]
        async with self._connecting:
            connection = self._connections.get(node_id)
            if connection is None or not connection.is_open:
                bootstrap = self._bootstrap
                if bootstrap is not None and bootstrap.is_open and bootstrap.address == _text(address):
                    connection = bootstrap
                else:
                    connection = await self._open_advertised(address)
                self._connections[node_id] = connection
            return connection

    async def cluster(
        self, topics: Iterable[str] | None = None, *, create_missing: bool = False
    ) -> ClusterInfo:
        """Ask for the brokers and for ``topics`` (None: all of them); remembers who leads what."""
        request = MetadataRequest(
            topics=None if topics is None else [MetadataRequestTopic(name=name) for name in topics],
            allow_auto_topic_creation=create_missing,
        )
        connection = await self.any_broker()
        response = await connection.call(request, MetadataResponse, timeout_ms=self.timeout_ms)
        found = _cluster_info(response)
        self._brokers = found.brokers
        for topic in found.topics.values():
            for partition in topic.partitions:
                key = TopicPartition(topic.name, partition.partition)
                self._leaders[key] = partition.leader
                if partition.leader < 0:
                    self._leaderless[key] = partition.error
        return found

    async def topics(self, names: Iterable[str], *, create_missing: bool = False) -> list[TopicInfo]:
        """The named topics, in order; raises ``ApiError`` for the first that cannot be used."""
        names = list(names)

        async def ask() -> list[TopicInfo]:
            found = (await self.cluster(names, create_missing=create_missing)).topics
            for name in names:
                error = found[name].error if name in found else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                if error is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and not create_missing:
                    raise _Final(ApiError(error, f"there is no topic {name}"))
                if error is not ErrorCode.NONE:
                    raise ApiError(error, f"topic {name}")
            return [found[name] for name in names]

        return await self.retrying(ask)

    async def leader(self, partition: TopicPartition) -> int:
        """The node id of the leader of ``partition``; raises ``ApiError`` while there is none."""
        if self._leaders.get(partition, -1) < 0:
            await self.topics([partition.topic])
        leader = self._leaders.get(partition)
        if leader is None:
            raise ApiError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                f"topic {partition.topic} has no partition {partition.partition}",
            )
        if leader < 0 and self._leaderless[partition] is ErrorCode.KAFKA_STORAGE_ERROR:
            raise ApiError(
                ErrorCode.KAFKA_STORAGE_ERROR,
                f"{partition} is offline, as its files are damaged or cannot be read or written;"
                " the broker's own log names file and cause",
            )
        if leader < 0:
            raise ApiError(ErrorCode.LEADER_NOT_AVAILABLE, f"{partition} has no leader")
        return leader

    async def by_leader(self, partitions: Iterable[TopicPartition]) -> dict[int, list[TopicPartition]]:
        """``partitions`` under the node ids of their leaders."""
        grouped: dict[int, list[TopicPartition]] = {}
        for partition in partitions:
            grouped.setdefault(await self.leader(partition), []).append(partition)
        return grouped

    def forget_leaders(self, partitions: Iterable[TopicPartition]) -> None:
        """Ask again who leads ``partitions`` when it is next needed."""
        for partition in partitions:
            self._leaders.pop(partition, None)

    async def controller(self) -> Connection:
        """The connection that takes changes of topics."""
        found = await self.cluster([])
        return await (self.broker(found.controller) if found.controller >= 0 else self.any_broker())

    async def coordinator_id(self, name: str, kind: CoordinatorType = CoordinatorType.GROUP) -> int:
        """The node id of the coordinator of a group or, as ``kind`` says, a transactional id."""
        if (kind, name) not in self._coordinators:
            self._coordinators[kind, name] = await self._find_coordinator(name, kind)
        return self._coordinators[kind, name]

    async def coordinator(self, name: str, kind: CoordinatorType = CoordinatorType.GROUP) -> Connection:
        """The connection to the coordinator of a group or, as ``kind`` says, a transactional id."""
        try:
            return await self.broker(await self.coordinator_id(name, kind))
        except ConnectError:
            self.forget_coordinator(name, kind)
            raise

    def forget_coordinator(self, name: str, kind: CoordinatorType = CoordinatorType.GROUP) -> None:
        """Ask again who the coordinator is when it is next needed."""
        self._coordinators.pop((kind, name), None)

    async def retrying(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work`` again, waiting longer each time, while it fails with a retriable code or a
        lost connection.

        Gives up after the client's timeout with the last error.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout_ms / 1000
        backoff_ms = _FIRST_BACKOFF_MS
        while True:
            try:
                return await work()
            except _Final as final:
                raise final.error from None
            except (ApiError, ConnectError) as error:
                is_final = isinstance(error, ApiError) and error.code not in RETRIABLE
                if is_final or loop.time() + backoff_ms / 1000 > deadline:
                    raise
                self.on_retry(error)
            await asyncio.sleep(backoff_ms / 1000)
            backoff_ms = min(2 * backoff_ms, _LONGEST_BACKOFF_MS)

    async def _find_coordinator(self, name: str, kind: CoordinatorType) -> int:
        from odradek.protocol.generated.find_coordinator import (
            FindCoordinatorRequest,
            FindCoordinatorResponse,
        )

        async def ask() -> int:
            request = FindCoordinatorRequest(key_type=kind, coordinator_keys=[name])
            connection = await self.any_broker()
            response = await connection.call(request, FindCoordinatorResponse, timeout_ms=self.timeout_ms)
            coordinator = response.coordinators[0]
            if coordinator.error_code:
                raise ApiError(ErrorCode(coordinator.error_code), coordinator.error_message)
            node_id: int = coordinator.node_id
            return node_id

        return await self.retrying(ask)

    async def _open(self, host: str, port: int) -> Connection:
        return await Connection.open(host, port, client_id=self._client_id, timeout_ms=self.timeout_ms)

    async def _open_advertised(self, broker: BrokerInfo) -> Connection:
        try:
            return await self._open(broker.host, broker.port)
        except ConnectError as error:
            raise ConnectError(
                f"broker {broker.node_id} is said to be at {_text(broker)}, which cannot be reached",
                "Set advertised.listeners on that broker to an address that its clients can reach.",
            ) from error


class _Final(Exception):
    """Carries an error with a retriable code past the retries: trying again would not help here."""

    def __init__(self, error: ApiError) -> None:
        self.error = error


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``HOST`` (port 9092) or ``[IPv6]:PORT``; raises :class:`ConnectError`."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or (port and text.strip().endswith("]")):
        host, port = text.strip(), "9092"
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConnectError(f"{text!r} is no address of a broker", "Say HOST:PORT, like localhost:9092.")
    return host, int(port)


def _text(broker: BrokerInfo) -> str:
    return f"{broker.host}:{broker.port}"


def _cluster_info(response: MetadataResponse) -> ClusterInfo:
    return ClusterInfo(
        response.cluster_id,
        response.controller_id,
        {
            broker.node_id: BrokerInfo(broker.node_id, broker.host, broker.port, broker.rack)
            for broker in response.brokers
        },
        {
            topic.name: TopicInfo(
                topic.name,
                topic.topic_id,
                topic.is_internal,
                sorted(
                    PartitionInfo(
                        partition.partition_index,
                        partition.leader_id,
                        partition.leader_epoch,
                        partition.replica_nodes,
                        partition.isr_nodes,
                        partition.offline_replicas,
                        ErrorCode(partition.error_code),
                    )
                    for partition in topic.partitions
                ),
                ErrorCode(topic.error_code),
            )
            for topic in response.topics
            if topic.name is not None
        },
    )
