"""The HTTP listener for those who watch: ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz``.

It speaks just enough of HTTP/1.1 to answer a GET and close. ``/healthz`` says that the process answers at
all; ``/readyz`` whether everything in it can be used, and if not, why.
"""

import asyncio
import contextlib
import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from odradek.broker import health
from odradek.core.errors import StartupError
from odradek.server.metrics.collector import MetricsCollector
from odradek.server.metrics.exposition import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from odradek.server.server import Server

log = logging.getLogger("odradek.monitor")

LARGEST_HEAD_BYTES = 16 * 1024
TIMEOUT_S = 10.0
"""How long a request may take to arrive, and its answer to leave."""
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
Response = tuple[HTTPStatus, str, bytes]


class Monitor:
    """One HTTP listener, from :meth:`start` to :meth:`stop`."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._collector = MetricsCollector(server)
        self._one_at_a_time = asyncio.Lock()
        self._listener: asyncio.Server
        self.address: tuple[str, int]

    @classmethod
    async def start(cls, server: "Server", host: str, port: int) -> "Monitor":
        """Listens at ``host:port``. Raises :class:`StartupError` when that cannot be."""
        monitor = cls(server)
        try:
            monitor._listener = await asyncio.start_server(
                monitor._serve, host, port, limit=LARGEST_HEAD_BYTES
            )
        except OSError as error:
            raise StartupError(
                f"odradek.metrics.listener: cannot listen on {host}:{port}: {error.strerror or error}; name"
                " another address with --metrics HOST:PORT"
            ) from error
        monitor.address = monitor._listener.sockets[0].getsockname()[:2]
        return monitor

    async def stop(self) -> None:
        """Closes the listener; answers on their way may still leave."""
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                method, target = _request_line(head)
                status, content_type, body = await self._answer(method, target)
                writer.write(
                    f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                )
                if method != "HEAD":
                    writer.write(body)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # whoever watches will come again
        except Exception:
            log.exception("a request to watch could not be answered")
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _answer(self, method: str, target: str) -> Response:
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"GET only\n"
        match target.partition("?")[0]:
            case "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, await self._metrics()
            case "/healthz":
                return HTTPStatus.OK, JSON, b'{"status": "ok"}\n'
            case "/readyz":
                return self._readiness()
            case _:
                return HTTPStatus.NOT_FOUND, TEXT, b"/metrics, /healthz and /readyz are here\n"

    async def _metrics(self) -> bytes:
        """Made in small pieces: those who produce and consume go first."""
        async with self._one_at_a_time:
            pieces = []
            for piece in self._collector.slices():
                pieces.append(piece)
                await asyncio.sleep(0)
            return b"".join(pieces)

    def _readiness(self) -> Response:
        problems = health.look(self._server.broker).problems
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        body = {
            "status": "not ready" if problems else "ready",
            "problems": problems,
            "background": health.background(self._server.broker),
        }
        return status, JSON, json.dumps(body).encode() + b"\n"


def _request_line(head: bytes) -> tuple[str, str]:
    """(method, target); empty when it is no HTTP."""
    parts = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    return (parts[0], parts[1]) if len(parts) == 3 else ("", "")
