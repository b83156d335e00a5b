"""Bare connections: requests as bytes, answers as messages, nothing retried and nothing hidden."""

import itertools
import socket
import struct
import time
from typing import Any

from odradek.core.errors import ErrorCode
from odradek.protocol import apis
from odradek.protocol.headers import request_header_version, response_header_version
from odradek.protocol.primitives import Message
from odradek.records.builder import build_batch
from odradek.records.record import Record

API_KEYS = {api.name: key for key, api in apis.APIS.items()}
ANSWER_TIMEOUT_S = 60
_correlation_ids = itertools.count(1)


class Closed(Exception):
    """The broker ended the connection instead of answering."""


class RawConnection:
    """One TCP connection to a broker."""

    def __init__(self, bootstrap: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        host, _, port = bootstrap.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "RawConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, raw: bytes) -> None:
        """Bytes as they are, size prefix and all."""
        try:
            self.socket.sendall(raw)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def send_frame(self, payload: bytes) -> None:
        self.send(struct.pack(">i", len(payload)) + payload)

    def receive_frame(self) -> bytes:
        """The next answer without its size; raises ``Closed`` or ``TimeoutError``."""
        (size,) = struct.unpack(">i", self._receive(4))
        return self._receive(size)

    def _receive(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            try:
                piece = self.socket.recv(size - len(received))
            except ConnectionResetError as error:
                raise Closed from error
            if not piece:
                raise Closed
            received += piece
        return bytes(received)

    def is_closed(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Whether the broker ends the connection (and says nothing before)."""
        self.socket.settimeout(timeout_s)
        try:
            self.receive_frame()
        except Closed:
            return True
        except TimeoutError:
            pass
        return False

    def ask(self, request: Message, version: int | None = None) -> Any:
        """Sends ``request`` (in its highest version) and returns the decoded answer."""
        version = highest_version(request) if version is None else version
        correlation_id = next(_correlation_ids)
        self.send_frame(encode_request(request, version, correlation_id))
        return decode_response(request.API_KEY, version, self.receive_frame(), correlation_id)


def highest_version(request: Message) -> int:
    """The highest that a broker announces (not one that Kafka still calls unstable)."""
    api = apis.APIS[request.API_KEY]
    return api.highest_version - api.is_latest_unstable


def encode_request(request: Message, version: int, correlation_id: int) -> bytes:
    """Header and body, without the size."""
    client_id = b"raw"
    header = struct.pack(">hhih", request.API_KEY, version, correlation_id, len(client_id)) + client_id
    if request_header_version(request.API_KEY, version) == 2:
        header += b"\0"
    parts: list[Any] = [header]
    request.encode(parts, version)
    return b"".join(bytes(part) for part in parts)


def decode_response(api_key: int, version: int, frame: bytes, correlation_id: int) -> Any:
    """Checks that the answer is the one awaited and that every byte of it is understood."""
    (answered_id,) = struct.unpack_from(">i", frame)
    assert answered_id == correlation_id, f"the answer to {answered_id}, not to {correlation_id}"
    position = 4
    if response_header_version(api_key, version) == 1:
        assert frame[4] == 0
        position = 5
    response, end = apis.load(api_key).response.decode(memoryview(frame), position, version)
    assert end == len(frame), f"{len(frame) - end} bytes behind the answer"
    return response


def request_of(name: str, /, **fields: Any) -> Message:
    """A request by the name of its API."""
    return apis.load(API_KEYS[name]).request(**fields)


def struct_of(api: str, name: str, /, **fields: Any) -> Any:
    """A struct inside the messages of ``api``."""
    module = __import__(f"odradek.protocol.generated.{apis.APIS[API_KEYS[api]].module}", fromlist=[name])
    return getattr(module, name)(**fields)


def records_of(
    *values: bytes | None, key: bytes | None = None, timestamp_ms: int | None = None
) -> list[Record]:
    now_ms = int(time.time() * 1_000) if timestamp_ms is None else timestamp_ms
    return [Record(0, now_ms, key, value) for value in values]


def batch_of(*values: bytes | None, **options: Any) -> bytearray:
    """A batch of ``values``; ``options``: those of :func:`build_batch`, ``key`` and ``timestamp_ms``."""
    key, timestamp_ms = options.pop("key", None), options.pop("timestamp_ms", None)
    return build_batch(records_of(*values, key=key, timestamp_ms=timestamp_ms), **options)


def produce_request(
    topic: str, partition: int, records: bytes | None, acks: int = -1, topic_id: bytes | None = None
) -> Message:
    """One batch for one partition; by id in the versions that want ids."""
    data = struct_of("Produce", "PartitionProduceData", index=partition, records=records)
    where: dict[str, Any] = {"name": topic}
    if topic_id is not None:
        where = {"topic_id": topic_id}
    topic_data = struct_of("Produce", "TopicProduceData", **where, partition_data=[data])
    return request_of("Produce", acks=acks, timeout_ms=10_000, topic_data=[topic_data])


PRODUCE_BY_NAME = 12
"""The last version of Produce that names topics."""
FETCH_BY_NAME = 12


def fetch_request(topic: str, partition: int, offset: int, **options: Any) -> Message:
    """One partition, by name, without a session."""
    epoch = options.pop("current_leader_epoch", -1)
    partition_max_bytes = options.pop("partition_max_bytes", 1_048_576)
    where = struct_of(
        "Fetch",
        "FetchPartition",
        partition=partition,
        fetch_offset=offset,
        current_leader_epoch=epoch,
        partition_max_bytes=partition_max_bytes,
    )
    settings: dict[str, Any] = {
        "max_wait_ms": 0,
        "min_bytes": 1,
        "max_bytes": 52_428_800,
        "session_epoch": -1,
    }
    return request_of(
        "Fetch",
        **{**settings, **options},
        topics=[struct_of("Fetch", "FetchTopic", topic=topic, partitions=[where])],
    )


def create_topic(
    connection: RawConnection, topic: str, partitions: int = 1, configs: dict[str, str] | None = None
) -> bytes:
    """Creates ``topic``, waits until it is led, returns its id."""
    entries = [
        struct_of("CreateTopics", "CreatableTopicConfig", name=name, value=value)
        for name, value in (configs or {}).items()
    ]
    wanted = struct_of(
        "CreateTopics",
        "CreatableTopic",
        name=topic,
        num_partitions=partitions,
        replication_factor=1,
        configs=entries,
    )
    answer = connection.ask(request_of("CreateTopics", topics=[wanted], timeout_ms=10_000))
    assert answer.topics[0].error_code == 0, answer.topics[0].error_message
    wait_until_led(connection, topic, partitions)
    topic_id: bytes = answer.topics[0].topic_id
    return topic_id


def wait_until_led(connection: RawConnection, topic: str, partitions: int) -> None:
    """Until the partitions' leaders answer, which with Kafka is a moment after the topic is there."""
    query = [
        struct_of("ListOffsets", "ListOffsetsPartition", partition_index=index, timestamp=-1)
        for index in range(partitions)
    ]
    request = request_of(
        "ListOffsets",
        replica_id=-1,
        topics=[struct_of("ListOffsets", "ListOffsetsTopic", name=topic, partitions=query)],
    )
    deadline = time.monotonic() + 60
    while any(partition.error_code for partition in connection.ask(request).topics[0].partitions):
        assert time.monotonic() < deadline, f"{topic} is not led"
        time.sleep(0.02)


def find_coordinator(connection: RawConnection, group: str) -> None:
    """Waits until the group coordinator is there, as every client does before it joins."""
    deadline = time.monotonic() + 60
    while True:
        answer = connection.ask(request_of("FindCoordinator", key_type=0, coordinator_keys=[group]))
        if answer.coordinators[0].error_code == ErrorCode.NONE:
            break
        assert time.monotonic() < deadline, "no coordinator"
        time.sleep(0.05)
    wanted = struct_of("OffsetFetch", "OffsetFetchRequestGroup", group_id=group, topics=None)
    request = request_of("OffsetFetch", groups=[wanted])
    while connection.ask(request, 9).groups[0].error_code != ErrorCode.NONE:
        assert time.monotonic() < deadline, "the coordinator does not load"
        time.sleep(0.05)
