"""Loading in threads: answers come in the loop, errors too, and after a stop nobody is called."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from odradek.server.cold_reader import ColdReader
from odradek.server.flush_first import FlushFirst
from odradek.storage.cold import ColdRange
from odradek.storage.disk import SystemDisk


class Refusing(SystemDisk):
    def pread(self, fd: int, length: int, position: int, /) -> bytes:  # type: ignore[override]
        raise OSError(5, "I/O error")


def test_ranges_are_loaded_in_a_thread_and_told_of_in_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000))
    gone = ColdRange(str(tmp_path / "gone"), 0, 10)

    async def scenario(disk: SystemDisk) -> tuple[Sequence[OSError | None], list[str]]:
        loop = asyncio.get_running_loop()
        settled = asyncio.Event()
        told: list[Sequence[OSError | None]] = []
        threads: list[str] = []

        def loaded(errors: Sequence[OSError | None]) -> None:
            threads.append(threading.current_thread().name)
            told.append(errors)

        reader = ColdReader(loop, disk, FlushFirst(), after=settled.set)
        reader.load([ColdRange(str(path), 0, 10_000), gone], loaded)
        await asyncio.wait_for(settled.wait(), 30)
        reader.stop()
        return told[0], threads

    errors, threads = asyncio.run(scenario(SystemDisk()))
    assert errors == [None, None]
    assert threads == [threading.main_thread().name]
    errors, _ = asyncio.run(scenario(Refusing()))
    assert [str(error) for error in errors] == ["[Errno 5] I/O error", "None"]


def test_without_a_thread_to_be_had_it_is_read_right_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario() -> Sequence[OSError | None]:
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[Sequence[OSError | None]] = loop.create_future()
        reader = ColdReader(loop, SystemDisk(), FlushFirst(), after=lambda: None)
        reader.load([ColdRange(str(path), 0, 10_000)], loaded.set_result)
        errors = await asyncio.wait_for(loaded, 20)
        reader.stop()
        return errors

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert asyncio.run(scenario()) == [None]


def test_after_a_stop_nobody_is_called(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000))
    called: list[str] = []

    async def scenario() -> None:
        reader = ColdReader(
            asyncio.get_running_loop(), SystemDisk(), FlushFirst(), after=lambda: called.append("after")
        )
        reader.load([ColdRange(str(path), 0, 10_000)], lambda errors: called.append("loaded"))
        reader.stop()
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert not called
