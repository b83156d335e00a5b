"""Listeners that come and go while the server runs."""

import asyncio
import socket
from pathlib import Path

from odradek.app import Node
from odradek.client.admin import ResourceType, alter_configs
from odradek.client.client import Client
from tests.unit.server.test_limits import Peer, running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_listeners_come_and_go(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        old, new = node.addresses[0][1], free_port()
        first = f"PLAINTEXT://127.0.0.1:{old}"
        async with Client(node.bootstrap_servers) as client:
            both = {
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT",
                "listeners": f"{first},EXTRA://127.0.0.1:{new}",
            }
            await alter_configs(client, ResourceType.BROKER, "1", both)
            extra = await connect(new)
            assert await extra.answers()
            await alter_configs(client, ResourceType.BROKER, "1", {"listeners": first})
            assert await asyncio.wait_for(extra.reader.read(1), 5) == b""
            assert not await is_open(new)
        assert await (await Peer.connect(node)).answers()

    async def connect(port: int) -> Peer:
        for _ in range(100):
            try:
                return Peer(*await asyncio.open_connection("127.0.0.1", port))
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
        raise TimeoutError

    async def is_open(port: int) -> bool:
        try:
            await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return False
        return True

    port = free_port()
    running(tmp_path, test, listeners=f"PLAINTEXT://127.0.0.1:{port}")


def test_limits_change_for_those_who_come(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        first = await Peer.connect(node)
        async with Client(node.bootstrap_servers) as client:
            await alter_configs(client, ResourceType.BROKER, "1", {"max.connections": "2"})
        await asyncio.sleep(0.05)
        second, third = await Peer.connect(node), await Peer.connect(node)
        assert [await peer.answers() for peer in (first, second, third)] == [True, True, False]

    running(tmp_path, test)
