"""Listeners that come and go while the server runs, and when the next flush begins."""

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from odradek.app import Node
from odradek.broker.broker import Flush
from odradek.broker.table import OFFSET_COMMIT, PRODUCE
from odradek.client.admin import ResourceType, alter_configs
from odradek.client.client import Client
from odradek.core.config.broker import broker_config
from odradek.server import server as server_module
from odradek.server.riders import PROMPT_TIMES, Riders
from odradek.server.server import OVERLAP_FROM_BYTES
from odradek.storage.pacing import GENTLE_SHARE, IDLE_COMMITS
from odradek.storage.volume import Volume
from tests.support.ports import ReservedPort
from tests.unit.server.test_limits import Peer, running

ADD_PARTITIONS_TO_TXN, TXN_OFFSET_COMMIT = 24, 28


def test_listeners_come_and_go(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        old, new = ports[0].number, ports[1].number
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
            assert await asyncio.wait_for(extra.reader.read(1), 60) == b""
            assert not await is_open(new)
        assert await (await Peer.connect(node)).answers()

    async def connect(port: int) -> Peer:
        for _ in range(3_000):
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

    ports = ReservedPort(), ReservedPort()
    running(tmp_path, test, listeners=f"PLAINTEXT://127.0.0.1:{ports[0].number}")


def test_what_is_removed_gives_way_to_flushes(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        assert node.server.broker.store.remover.turn == node.server.turns.piece

    running(tmp_path, test)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory to share here")
@pytest.mark.parametrize(
    ("api_key", "more"),
    [(PRODUCE, 1), (OFFSET_COMMIT, IDLE_COMMITS + 1), (ADD_PARTITIONS_TO_TXN, 1), (TXN_OFFSET_COMMIT, 1)],
)
def test_processes_are_told_of_writers_and_of_what_is_urgent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_key: int, more: int
) -> None:
    monkeypatch.setattr(server_module, "HOUSEKEEPING_S", 0.01)

    async def test(node: Node) -> None:
        server, sign = node.server, node.server.turns.sign
        assert sign is not None

        async def shows(share: float) -> None:
            while sign.share != share:
                await asyncio.sleep(0.01)

        server.broker.apis[OFFSET_COMMIT].requests += IDLE_COMMITS  # by consumers that read nothing
        while server._committed < IDLE_COMMITS:
            await asyncio.sleep(0.01)
        assert sign.share == 1.0
        server.broker.apis[api_key].requests += more  # what nobody flushes
        await asyncio.wait_for(shows(GENTLE_SHARE), 60)
        server.broker.store.set_tight(True)
        await asyncio.wait_for(shows(1.0), 60)

    running(tmp_path, test)


def test_without_a_thread_to_be_had_it_tells_once_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[int] = []
    chores = [partial(done.append, number) for number in range(4)]

    async def test() -> None:
        settings = {"log.dirs": str(tmp_path), "listeners": "PLAINTEXT://127.0.0.1:0"}
        node = await Node.start(broker_config(settings))
        due = iter([chores[:2], chores[2:3], chores[3:]])
        monkeypatch.setattr(node.server.broker, "housekeep", lambda: next(due))
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", refuse)
            node.server._housekeep()
            node.server._housekeep()
            assert caplog.text.count("can't start new thread") == 1
            assert not done
        node.server._housekeep()
        while len(done) < len(chores):
            await asyncio.sleep(0.01)
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", refuse)
            await asyncio.wait_for(node.stop(), 60)

    asyncio.run(test())
    assert sorted(done) == [0, 1, 2, 3]
    assert (tmp_path / ".kafka_cleanshutdown").exists()


def test_limits_change_for_those_who_come(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        first = await Peer.connect(node)
        async with Client(node.bootstrap_servers) as client:
            await alter_configs(client, ResourceType.BROKER, "1", {"max.connections": "2"})
        await asyncio.sleep(0.05)
        second, third = await Peer.connect(node), await Peer.connect(node)
        assert [await peer.answers() for peer in (first, second, third)] == [True, True, False]

    running(tmp_path, test)


@pytest.mark.parametrize(
    ("waiting", "is_begun"), [(OVERLAP_FROM_BYTES - 1, False), (OVERLAP_FROM_BYTES, True)]
)
def test_the_next_flush_begins_before_the_answers_when_there_is_enough_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int, is_begun: bool
) -> None:
    async def test(node: Node) -> None:
        server, happened = node.server, []
        broker = server.broker
        flush = broker.begin_flush()
        assert flush is None
        monkeypatch.setattr(Volume, "unflushed_bytes", lambda _: waiting)
        monkeypatch.setattr(server, "_flush", lambda: happened.append("flush"))

        def finish(_: object, begin_next: Callable[[], None]) -> None:
            broker.want_flush(is_urgent=True)
            begin_next()
            happened.append("answers")

        monkeypatch.setattr(broker, "finish_flush", finish)
        server._flushed(Flush(None, None, ()))
        assert happened == (["flush", "answers"] if is_begun else ["answers"])
        await asyncio.sleep(0.01)
        assert happened.count("flush") >= 1, "the other comes a moment later"
        monkeypatch.undo()

    running(tmp_path, test)


@pytest.mark.parametrize(
    ("ride_s", "waiting", "is_put_off"), [(60.0, 1, True), (0.0, 1, False), (60.0, OVERLAP_FROM_BYTES, False)]
)
def test_a_flush_of_little_is_put_off_while_requests_come_in_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ride_s: float, waiting: int, is_put_off: bool
) -> None:
    async def test(node: Node) -> None:
        server = node.server
        flushes: list[str] = []
        monkeypatch.setattr(server_module, "RIDE_S", ride_s)
        monkeypatch.setattr(Volume, "unflushed_bytes", lambda _: waiting)
        monkeypatch.setattr(server, "_flush", lambda: flushes.append("flush"))
        for _ in range(10):
            server.broker.want_flush(is_urgent=True)
            server.settle()
            await asyncio.sleep(0)
        assert bool(flushes) is not is_put_off
        for _ in range(3):
            await asyncio.sleep(0)
        assert flushes, "a wake-up brought nothing"
        monkeypatch.undo()

    running(tmp_path, test)


@pytest.mark.parametrize("is_held", [False, True])
def test_slices_go_behind_the_beginning_of_a_flush_or_while_it_waits_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_held: bool
) -> None:
    async def test(node: Node) -> None:
        server, happened = node.server, []
        monkeypatch.setattr(server_module, "RIDE_S", 60.0)
        monkeypatch.setattr(server_module, "PROMPT_S", 60.0)
        server.riders = Riders(lambda: 1_000.0)
        if is_held:
            server.riders.answered([Rider()])
        begin = server.broker.begin_flush

        def flush() -> object:
            happened.append("flush")
            return begin()

        monkeypatch.setattr(server.broker, "begin_flush", flush)
        server.slice_soon(lambda: happened.append("first"))
        await asyncio.sleep(0)
        assert happened == ["first"], "no flush is due"
        server.broker.want_flush(is_urgent=True)
        server.settle()
        server.slice_soon(lambda: happened.append("second"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert happened == (["first", "second"] if is_held else ["first", "flush", "second"])
        server.slice_soon(lambda: happened.append("third"))
        await asyncio.sleep(0)
        assert happened[-1] == "third", "a flush that waits for others is not waited for"
        monkeypatch.undo()

    running(tmp_path, test)


class Rider:
    """Somebody who was prompt so far."""

    def __init__(self) -> None:
        self.answered_s = 0.0
        self.prompt_times = PROMPT_TIMES
        self.outstanding = 1


@pytest.mark.parametrize("what", ["comes", "is late", "much to flush"])
def test_a_flush_waits_for_those_who_will_be_back_in_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def test(node: Node) -> None:
        server, rider = node.server, Rider()
        flushes, waiting = 0, 1
        monkeypatch.setattr(server_module, "RIDE_S", 60.0)
        monkeypatch.setattr(server_module, "PROMPT_S", 0.05 if what == "is late" else 60.0)
        monkeypatch.setattr(Volume, "unflushed_bytes", lambda _: waiting)
        server.riders = Riders(lambda: 1_000.0)
        begin = server.broker.begin_flush

        def flush() -> object:
            nonlocal flushes
            flushes += 1
            return begin()

        monkeypatch.setattr(server.broker, "begin_flush", flush)
        server.riders.answered([rider])
        server.broker.want_flush(is_urgent=True)
        server.settle()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not flushes, "it is waited for, though no wake-up brings anything"
        if what == "comes":
            server.riders.came(rider, wants_flush=True)
            server.settle()
        elif what == "much to flush":
            waiting = OVERLAP_FROM_BYTES
            server.settle()
        else:
            await asyncio.sleep(0.1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert flushes == 1
        assert rider.prompt_times == (0 if what == "is late" else PROMPT_TIMES)
        monkeypatch.undo()

    running(tmp_path, test)
