"""Limits on connections, with real sockets: when one is hit the others do not notice."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from odradek.app import Node
from odradek.client.client import Client
from odradek.client.quotas import alter_quotas
from odradek.core.config.broker import broker_config
from odradek.protocol.generated.api_versions import ApiVersionsRequest
from odradek.protocol.headers import request_header


def api_versions() -> bytes:
    parts: list[bytes] = [request_header(18, 0, 1, "t")]
    ApiVersionsRequest().encode(parts, 0)
    frame = b"".join(parts)
    return struct.pack(">i", len(frame)) + frame


class Peer:
    """A client by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, node: Node, local: str = "127.0.0.1") -> "Peer":
        return cls(*await asyncio.open_connection(*node.addresses[0], local_addr=(local, 0)))

    async def answers(self) -> bool:
        """Whether a request is answered; False when the connection is closed instead."""
        try:
            self.writer.write(api_versions())
            await self.answer()
        except (ConnectionError, asyncio.IncompleteReadError):
            return False
        return True

    async def answer(self) -> bytes:
        """The next response, whole."""
        (size,) = struct.unpack(">i", await asyncio.wait_for(self.reader.readexactly(4), 60))
        return await self.reader.readexactly(size)

    def close(self) -> None:
        self.writer.close()


def running(folder: Path, test: Callable[[Node], Awaitable[None]], **overrides: str) -> None:
    async def run() -> None:
        settings = {"log.dirs": str(folder), "listeners": "PLAINTEXT://127.0.0.1:0"}
        settings |= {key.replace("_", "."): value for key, value in overrides.items()}
        node = await Node.start(broker_config(settings))
        try:
            await test(node)
        finally:
            await node.stop()

    asyncio.run(run())


def test_max_connections(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        peers = [await Peer.connect(node) for _ in range(3)]
        assert [await peer.answers() for peer in peers] == [True, True, False]
        assert node.server.limits.refused_counts == {"max.connections": 1}
        peers[0].close()
        await asyncio.sleep(0.05)
        late = await Peer.connect(node)
        assert await late.answers()
        assert await peers[1].answers()

    running(tmp_path, test, max_connections="2")


def test_connections_of_one_address(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        here = [await Peer.connect(node) for _ in range(2)]
        there = [await Peer.connect(node, "127.0.0.2") for _ in range(3)]
        assert [await peer.answers() for peer in here] == [True, False]
        assert [await peer.answers() for peer in there] == [True, True, True]

    running(
        tmp_path,
        test,
        max_connections_per_ip="1",
        max_connections_per_ip_overrides="127.0.0.2:3,127.0.0.3:0",
    )


def test_a_rate_of_new_connections_makes_them_wait(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        old = await Peer.connect(node)
        assert await old.answers()
        loop = asyncio.get_running_loop()
        started = loop.time()
        # The windows that are taken for granted let one per second and window through.
        peers = [await Peer.connect(node) for _ in range(2)]
        assert await old.answers()
        assert loop.time() - started < 1.0
        assert all([await peer.answers() for peer in peers])
        assert loop.time() - started > 0.9  # the second is a little older than `started`

    running(tmp_path, test, max_connection_creation_rate="1", quota_window_num="2")


def test_a_quota_of_an_address_closes_those_that_come_too_early(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async with Client(node.bootstrap_servers) as client:
            await alter_quotas(client, {"ip": "127.0.0.2"}, {"connection_creation_rate": 2.0})
        early = [await Peer.connect(node, "127.0.0.2") for _ in range(3)]
        assert [await peer.answers() for peer in early] == [True, True, False]
        other = await Peer.connect(node)
        assert await other.answers()

    running(tmp_path, test, quota_window_num="2")


def test_idle_connections_are_closed(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        idle, busy = await Peer.connect(node), await Peer.connect(node)
        async with asyncio.timeout(60):
            while not idle.reader.at_eof():
                assert await busy.answers()
                await asyncio.sleep(0.05)
        assert await idle.reader.read(1) == b""
        assert await busy.answers()

    running(tmp_path, test, connections_max_idle_ms="1500")


def test_halves_of_large_requests_wait_for_room_and_others_do_not_notice(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        half = struct.pack(">i", 600_000) + api_versions()[4:] + bytes(100_000)
        greedy = [await Peer.connect(node) for _ in range(3)]
        for peer in greedy:
            peer.writer.write(half)
            await peer.writer.drain()
        await asyncio.sleep(0.1)
        assert node.server.memory.reserved_bytes == 600_004
        small = await Peer.connect(node)
        assert await small.answers()
        # Small ones that come in two pieces go through as well.
        small.writer.write(api_versions()[:7])
        await small.writer.drain()
        await asyncio.sleep(0.02)
        small.writer.write(api_versions()[7:])
        assert await small.answer()
        greedy[0].close()
        await asyncio.sleep(0.1)
        assert node.server.memory.reserved_bytes == 600_004
        missing = 600_004 - len(half)
        for peer in greedy[1:]:
            peer.writer.write(bytes(missing))
        for peer in greedy[1:]:
            assert await peer.answer()  # what is behind a request's fields is passed over
        assert node.server.memory.reserved_bytes == 0

    room = "1000000"
    running(tmp_path, test, queued_max_request_bytes=room, socket_request_max_bytes=room)


def test_a_frame_that_is_too_large_is_refused_alone(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        bad, good = await Peer.connect(node), await Peer.connect(node)
        bad.writer.write(struct.pack(">i", 2_000_000))
        assert await asyncio.wait_for(bad.reader.read(1), 60) == b""
        assert await good.answers()

    running(tmp_path, test, socket_request_max_bytes="1000000")


def test_the_last_descriptors_are_not_given_to_connections(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        first = await Peer.connect(node)
        assert await first.answers()
        node.server.limits._highest_descriptor = 0
        second = await Peer.connect(node)
        assert not await second.answers()
        assert await first.answers()

    running(tmp_path, test)


def test_a_muted_connection_is_read_no_further(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        muted, other = await Peer.connect(node), await Peer.connect(node)
        assert await muted.answers()
        (connection,) = [
            one
            for one in node.server._connections
            if one.transport.get_extra_info("peername") == muted.writer.get_extra_info("sockname")
        ]
        node.server.broker.quotas.mute(connection.session, 1_000)
        started = asyncio.get_running_loop().time()
        assert await other.answers()
        assert asyncio.get_running_loop().time() - started < 0.9
        assert await muted.answers()
        assert asyncio.get_running_loop().time() - started > 0.95

    running(tmp_path, test)
