"""A blocking connection for what surrounds a measurement: is the broker there, make a topic, drop it."""

import socket
import struct
import time
from collections.abc import Mapping
from types import TracebackType

from benchmarks.frames import request

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

    def delete_topic(self, name: str) -> None:
        body = struct.pack(">i", 1) + _string(name) + struct.pack(">i", int(TIMEOUT_S * 1000))
        self._check_topic("DeleteTopics", self._call(DELETE_TOPICS, 3, body), name)

    def _check_topic(self, api: str, answer: bytes, name: str) -> None:
        (code,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name))
        if code:
            raise BrokerError(f"{api} {name}: error code {code}")

    def _is_served(self, name: str, partitions: int) -> bool:
        body = struct.pack(">ii", -1, 1) + _string(name) + struct.pack(">i", partitions)
        body += b"".join(struct.pack(">iq", partition, -1) for partition in range(partitions))
        answer = self._call(LIST_OFFSETS, 1, body)
        first = 4 + 2 + len(name) + 4
        rows = range(first, first + 22 * partitions, 22)  # index, error code, timestamp, offset
        return all(struct.unpack_from(">h", answer, row + 4) == (0,) for row in rows)

    def _call(self, api_key: int, version: int, body: bytes) -> bytes:
        self._socket.sendall(request(api_key, version, body, flexible=False))
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
