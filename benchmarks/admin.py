"""A blocking connection for what surrounds a measurement: is the broker there, make a topic, drop it."""

import socket
import struct
import time
from collections.abc import Mapping
from types import TracebackType

from benchmarks import coordinator_frames as requests
from benchmarks.coordinator_frames import Heartbeat
from benchmarks.frames import Frame, compact_string, request

LIST_OFFSETS, API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS = 2, 18, 19, 20
TIMEOUT_S = 30.0


class BrokerError(Exception):
    """The broker said no, or nothing in time."""


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


class Admin:
    """One connection to 127.0.0.1:`port`. Not for measuring with."""

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)

    def __enter__(self) -> "Admin":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def api_versions(self) -> None:
        """Asks for ApiVersions 0 and returns when it was answered without an error."""
        if self._call(API_VERSIONS, 0, b"")[:2] != b"\0\0":
            raise BrokerError("ApiVersions answered with an error")

    def create_topic(self, name: str, partitions: int, configs: Mapping[str, str]) -> None:
        """Makes a topic and waits until every partition is served (its leader knows that it leads)."""
        body = struct.pack(">i", 1) + _string(name) + struct.pack(">ihi", partitions, 1, 0)
        body += struct.pack(">i", len(configs))
        for key, value in configs.items():
            body += _string(key) + _string(value)
        answer = self._call(CREATE_TOPICS, 4, body + struct.pack(">ib", int(TIMEOUT_S * 1000), 0))
        self._check_topic("CreateTopics", answer, name)
        deadline = time.monotonic() + TIMEOUT_S
        while not self._is_served(name, partitions):
            if time.monotonic() > deadline:
                raise BrokerError(f"topic {name} is not served after {TIMEOUT_S:.0f} s")
            time.sleep(0.02)

    def find_coordinator(self, key_type: int, key: str) -> None:
        """Waits until there is a coordinator for `key`, whose topic may have to be made first."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answer = self._call(
                requests.FIND_COORDINATOR, 4, requests.find_coordinator(key_type, key), flexible=True
            )
            # tags, throttle, one coordinator: key, node id, host, port, error
            position = 1 + 4 + 1 + len(compact_string(key)) + 4
            position += 1 + answer[position] - 1 + 4
            (code,) = struct.unpack_from(">h", answer, position)
            if not code:
                return
            if time.monotonic() > deadline:
                raise BrokerError(f"FindCoordinator {key}: error code {code}")
            time.sleep(0.1)

    def init_producer_id(self, transactional_id: str) -> bytes:
        """Producer id and epoch as they go into requests; retried while the coordinator loads."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            body = requests.init_producer_id(transactional_id)
            answer = self._call(requests.INIT_PRODUCER_ID, 5, body, flexible=True)
            code = int.from_bytes(answer[5:7], "big", signed=True)
            if not code:
                return answer[7 : 7 + requests.IDENTITY_BYTES]
            if time.monotonic() > deadline:
                raise BrokerError(f"InitProducerId {transactional_id}: error code {code}")
            time.sleep(0.1)

    def heartbeat(self, group: str, member: str, epoch: int, topics: list[str] | None) -> Heartbeat:
        """One ConsumerGroupHeartbeat of a member; retried while the coordinator loads."""
        owned: list[tuple[bytes, list[int]]] | None = None if topics is None else []
        body = requests.consumer_group_heartbeat(group, member, epoch, topics, owned)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            beat = Heartbeat(self._call(requests.CONSUMER_GROUP_HEARTBEAT, 1, body, flexible=True))
            if not beat.error:
                return beat
            if time.monotonic() > deadline:
                raise BrokerError(f"ConsumerGroupHeartbeat {group}: error code {beat.error}")
            time.sleep(0.1)

    def send(self, frame: Frame) -> None:
        """Sends a frame, again while its answer holds an error code: the coordinator may still be loading."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            self._socket.sendall(frame.request)
            (size,) = struct.unpack(">i", self._read(4))
            answer = self._read(size)
            codes = [struct.unpack_from(">h", answer, position)[0] for position in frame.error_positions]
            if not any(codes):
                return
            if time.monotonic() > deadline:
                raise BrokerError(f"a request is answered with error codes {codes}")
            time.sleep(0.1)

    def delete_topic(self, name: str) -> None:
        body = struct.pack(">i", 1) + _string(name) + struct.pack(">i", int(TIMEOUT_S * 1000))
        self._check_topic("DeleteTopics", self._call(DELETE_TOPICS, 3, body), name)

    def _check_topic(self, api: str, answer: bytes, name: str) -> None:
        (code,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name))
        if code:
            raise BrokerError(f"{api} {name}: error code {code}")

    def _is_served(self, name: str, partitions: int) -> bool:
        return len(self.end_offsets(name, partitions)) == partitions

    def end_offsets(self, name: str, partitions: int) -> dict[int, int]:
        """Where partitions end; those that do not answer, as they have no leader yet, are left out."""
        body = struct.pack(">ii", -1, 1) + _string(name) + struct.pack(">i", partitions)
        body += b"".join(struct.pack(">iq", partition, -1) for partition in range(partitions))
        answer = self._call(LIST_OFFSETS, 1, body)
        first = 4 + 2 + len(name) + 4
        rows = [struct.unpack_from(">ihqq", answer, first + 22 * number) for number in range(partitions)]
        return {index: offset for index, code, _, offset in rows if not code}

    def _call(self, api_key: int, version: int, body: bytes, *, flexible: bool = False) -> bytes:
        self._socket.sendall(request(api_key, version, body, flexible=flexible))
        (size,) = struct.unpack(">i", self._read(4))
        return self._read(size)[4:]

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            piece = self._socket.recv(count - len(parts))
            if not piece:
                raise BrokerError("the broker closed the connection")
            parts += piece
        return bytes(parts)
