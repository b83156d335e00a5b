"""One connection to one broker: requests go out pipelined, answers come back in their order.

Sources: the Kafka protocol guide (framing, correlation ids), KIP-35 and KIP-511 (ApiVersions).
"""

import asyncio
import os
import socket
import struct
from collections import deque
from typing import Any, Self, TypeVar, cast

from odradek import __version__
from odradek.client.errors import ConnectError, TimedOutError, UnsupportedError
from odradek.core.errors import ApiError, ErrorCode, PeerError
from odradek.protocol.generated.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.protocol.headers import read_response_header, request_header, response_header_version
from odradek.protocol.primitives import Message

CLIENT_ID = "odradek"
MAX_RESPONSE_BYTES = 256 * 1024 * 1024


ResponseT = TypeVar("ResponseT", bound=Message)


class Connection(asyncio.BufferedProtocol):
    """An open connection whose broker has said what it serves. Make one with :meth:`open`."""

    def __init__(self, address: str, client_id: str) -> None:
        self.address = address
        self.versions: dict[int, tuple[int, int]] = {}
        self._client_id = client_id
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[int, asyncio.Future[memoryview]]] = deque()
        self._next_correlation_id = 0
        self._size_view = memoryview(bytearray(4))
        self._frame: memoryview | None = None
        self._filled = 0
        self._failure: ConnectError | PeerError | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def open(
        cls, host: str, port: int, *, client_id: str = CLIENT_ID, timeout_ms: int = 10_000
    ) -> "Connection":
        """Connect and ask for the served versions; raises :class:`ConnectError` or ``PeerError``."""
        address = f"{host}:{port}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                _, connection = await loop.create_connection(lambda: cls(address, client_id), host, port)
        except TimeoutError:
            raise _unreachable(address, f"no connection after {timeout_ms} ms") from None
        except (socket.gaierror, UnicodeError) as error:
            # Its errno is one of getaddrinfo's; a name with a part that is too long is a UnicodeError.
            raise ConnectError(
                f"cannot reach a broker at {address}: the host name {host} cannot be resolved",
                "Check its spelling and this machine's DNS, or name another broker with -b HOST:PORT or "
                "ODRADEK_BOOTSTRAP.",
            ) from error
        except OSError as error:
            raise _unreachable(address, os.strerror(error.errno) if error.errno else str(error)) from error
        try:
            await connection._negotiate(timeout_ms)
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        """Whether requests can still be sent."""
        return self._failure is None and self._transport is not None

    def highest_version(self, request: Message | type[Message], cap: int = 32_767) -> int:
        """The highest version of ``request`` that both sides speak, at most ``cap``.

        Raises :class:`UnsupportedError` when there is none.
        """
        lowest, highest = self.versions.get(request.API_KEY, (0, -1))
        version = min(highest, request.HIGHEST_VERSION, cap)
        if version < max(lowest, request.LOWEST_VERSION):
            served = f"versions {lowest} to {highest}" if highest >= 0 else "none of it"
            raise UnsupportedError(
                f"the broker at {self.address} serves {served} of {request.NAME}, "
                f"this client speaks {request.LOWEST_VERSION} to {min(request.HIGHEST_VERSION, cap)}"
            )
        return version

    async def call(
        self,
        request: Message,
        response_type: type[ResponseT],
        *,
        cap: int = 32_767,
        timeout_ms: int | None = 30_000,
    ) -> ResponseT:
        """Send ``request`` in the highest common version (at most ``cap``) and wait for its answer.

        Raises :class:`ConnectError` (:class:`TimedOutError` after ``timeout_ms``),
        :class:`UnsupportedError`, and ``PeerError`` for bytes that are no answer.
        """
        return await self._call(request, response_type, self.highest_version(request, cap), timeout_ms)

    async def _call(
        self, request: Message, response_type: type[ResponseT], version: int, timeout_ms: int | None
    ) -> ResponseT:
        await self._writable.wait()
        future = self._send(request, version)
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000):
                frame = await future
        except TimeoutError:
            error = TimedOutError(
                f"the broker at {self.address} did not answer {request.NAME} in {timeout_ms} ms"
            )
            self._fail(error)
            raise error from None
        _, position = read_response_header(frame, 0, response_header_version(request.API_KEY, version))
        response, _ = response_type.decode(frame, position, version)
        return response

    async def post(self, request: Message, *, cap: int = 32_767) -> None:
        """Send a request that is never answered (produce with acks=0)."""
        await self._writable.wait()
        self._write(request, self.highest_version(request, cap), self._take_correlation_id())

    async def round_trip(self, timeout_ms: int = 30_000) -> None:
        """Wait until the broker has read all that was sent: it answers in order."""
        await self._call(ApiVersionsRequest(), _AnyApiVersions, 0, timeout_ms)

    def close(self) -> None:
        """Close at once; requests still waiting fail."""
        self._fail(ConnectError(f"the connection to {self.address} was closed"))

    async def _negotiate(self, timeout_ms: int) -> None:
        request = ApiVersionsRequest(client_software_name="odradek", client_software_version=__version__)
        for version in (ApiVersionsRequest.HIGHEST_VERSION, 0):
            response = await self._call(request, _AnyApiVersions, version, timeout_ms)
            if response.error_code == ErrorCode.NONE:
                self.versions = {
                    api.api_key: (api.min_version, api.max_version) for api in response.api_keys or ()
                }
                return
        raise ApiError(ErrorCode(response.error_code), f"the broker at {self.address} refused ApiVersions")

    def _take_correlation_id(self) -> int:
        self._next_correlation_id = (self._next_correlation_id + 1) & 0x7FFFFFFF
        return self._next_correlation_id

    def _send(self, request: Message, version: int) -> "asyncio.Future[memoryview]":
        future: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        correlation_id = self._take_correlation_id()
        self._write(request, version, correlation_id)
        self._waiting.append((correlation_id, future))
        return future

    def _write(self, request: Message, version: int, correlation_id: int) -> None:
        if self._failure is not None or self._transport is None:
            raise self._failure or ConnectError(f"the connection to {self.address} is not open")
        header = request_header(request.API_KEY, version, correlation_id, self._client_id)
        parts: list[Any] = [b"", header]
        try:
            request.encode(parts, version)
        except ValueError as error:
            raise UnsupportedError(f"the broker at {self.address} cannot be asked that: {error}") from error
        parts[0] = struct.pack(">i", sum(map(len, parts)))
        self._transport.writelines(parts)

    # The event loop calls what follows.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by class.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        reason = f": {error}" if error else ""
        self._fail(ConnectError(f"the broker at {self.address} closed the connection{reason}"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def get_buffer(self, size_hint: int) -> memoryview:
        # A frame is read into memory of its own, so that record views of it can be handed out without a copy.
        return (self._size_view if self._frame is None else self._frame)[self._filled :]

    def buffer_updated(self, byte_count: int) -> None:
        self._filled += byte_count
        if self._frame is None:
            if self._filled < 4:
                return
            size = int.from_bytes(self._size_view, "big", signed=True)
            if not 4 <= size <= MAX_RESPONSE_BYTES:
                self._fail(PeerError(f"{self.address} sent a frame of {size} bytes: is it a Kafka listener?"))
                return
            self._frame, self._filled = memoryview(bytearray(size)), 0
        elif self._filled == len(self._frame):
            frame, self._frame, self._filled = self._frame, None, 0
            self._answer(frame.toreadonly())

    def _answer(self, frame: memoryview) -> None:
        correlation_id = int.from_bytes(frame[:4], "big", signed=True)
        if not self._waiting or self._waiting[0][0] != correlation_id:
            self._fail(
                PeerError(f"{self.address} answered request {correlation_id}, which is not the next one")
            )
            return
        _, future = self._waiting.popleft()
        if not future.done():
            future.set_result(frame)

    def _fail(self, error: ConnectError | PeerError) -> None:
        if self._failure is None:
            self._failure = error
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._writable.set()
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(self._failure)


class _AnyApiVersions(ApiVersionsResponse):
    """The answer to ApiVersions, which a broker that does not know the asked version gives in version 0."""

    @classmethod
    def decode(cls, view: memoryview, position: int, version: int) -> tuple[Self, int]:
        error_code = int.from_bytes(view[position : position + 2], "big", signed=True)
        if error_code == ErrorCode.UNSUPPORTED_VERSION:
            version = 0
        return super().decode(view, position, version)


def _unreachable(address: str, reason: str) -> ConnectError:
    return ConnectError(
        f"cannot reach a broker at {address}: {reason}",
        "Start one with `odradek serve`, or name another with -b HOST:PORT or ODRADEK_BOOTSTRAP.",
    )
