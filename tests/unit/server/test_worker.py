"""Jobs in real child processes and in threads: results, failures, death, pace, and a quick end."""

import asyncio
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from odradek.core.errors import DamageError
from odradek.server import worker as worker_module
from odradek.server.flush_first import LONGEST_WAIT_S, FlushFirst, FlushSign
from odradek.server.worker import Worker
from odradek.server.worker_process import AUTOGROUP, LONGEST_WORK_S, SLICE_NS, TURN_S, Pace
from odradek.storage import jobs
from odradek.storage.disk import Disk
from odradek.storage.jobs import (
    UNLIMITED_RATE,
    Job,
    JobFailedError,
    JobStoppedError,
    Meter,
    Outcome,
    Submitted,
    ignore_part,
)

RUN = """
from odradek.storage import jobs
jobs.KINDS["play"] = "tests.unit.server.test_worker:play"
"""
RUN += worker_module.MAIN[1]


def play(disk: Disk, argument: tuple[str, object], meter: Meter) -> object:
    word, value = argument
    if word == "return":
        meter.hand_over([value])
        print("what a job prints does not get into its answer")
        return value
    if word == "raise":
        assert isinstance(value, Exception)
        raise value
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "nice":
        return os.nice(0)
    if word == "slice":
        details = Path("/proc/self/sched").read_text()
        return details.split("se.slice")[1].split()[1] if "se.slice" in details else ""
    if word == "session":
        return Path(AUTOGROUP).read_text()
    if word == "give way":
        started_s = time.monotonic()
        meter.give_way()
        return time.monotonic() - started_s
    if word == "file":
        assert isinstance(value, int)
        return os.fstat(value).st_ino
    assert isinstance(value, str)
    Path(value).write_text(str(os.getpid()))
    while True:
        meter.moved(1000)
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KINDS", {"play": f"{__name__}:play"})
    monkeypatch.setattr(worker_module, "MAIN", ["-c", RUN])


async def one(
    argument: tuple[str, object],
    *,
    is_urgent: bool = False,
    in_processes: bool = True,
    on_part: Callable[[object], None] = ignore_part,
) -> Outcome:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Outcome] = loop.create_future()
    worker = Worker(loop, is_urgent=is_urgent, in_processes=in_processes)
    worker.submit(Job("play", argument), outcome.set_result, on_part)
    try:
        return await asyncio.wait_for(outcome, 60)
    finally:
        worker.stop()


@pytest.mark.parametrize("in_processes", [True, False])
def test_results_and_errors(in_processes: bool) -> None:
    parts: list[object] = []

    def outcome(word: str, value: object) -> Outcome:
        return asyncio.run(one((word, value), in_processes=in_processes, on_part=parts.append))

    assert outcome("return", {"a": [1, b"2"]}) == Outcome({"a": [1, b"2"]})
    assert parts == [[{"a": [1, b"2"]}]], "handed over before the end"
    damage = outcome("raise", DamageError("/x.log", 61, "CRC")).error
    assert isinstance(damage, DamageError)
    assert (damage.path, damage.position, damage.reason) == ("/x.log", 61, "CRC")
    full = outcome("raise", OSError(28, "no space")).error
    assert isinstance(full, OSError)
    assert full.errno == 28
    ours = outcome("raise", ZeroDivisionError("us")).error
    assert isinstance(ours, JobFailedError)
    assert "ZeroDivisionError: us" in str(ours)


def test_a_process_that_dies_is_a_failed_job() -> None:
    error = asyncio.run(one(("die", None))).error
    assert isinstance(error, JobFailedError)
    assert "-9" in str(error)


@pytest.mark.parametrize(("number", "kind"), [(errno.EMFILE, OSError), (errno.ENOENT, JobFailedError)])
def test_whether_the_want_of_a_process_passes_is_told(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "no process")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert isinstance(asyncio.run(one(("return", 1))).error, kind)


def test_so_is_the_want_of_a_thread_and_nobody_waits_for_one_that_never_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        worker = Worker(loop, in_processes=False)
        outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", refuse)
            for number in range(2):
                worker.submit(Job("play", ("return", number)), outcomes.put_nowait)
            assert outcomes.empty()  # it is told later, as ever
            ended = [await asyncio.wait_for(outcomes.get(), 20) for _ in range(2)]
            worker.submit(Job("play", ("return", 2)), outcomes.put_nowait)
            worker.stop()
        worker = Worker(loop, in_processes=False)
        worker.submit(Job("play", ("return", 3)), outcomes.put_nowait)
        ended.append(await asyncio.wait_for(outcomes.get(), 20))
        worker.stop()
        return ended

    *refused, last = asyncio.run(run())
    assert [cast("OSError", outcome.error).errno for outcome in refused] == [errno.EAGAIN] * 2
    assert last.result == 3


def test_only_urgent_jobs_have_the_brokers_priority() -> None:
    assert asyncio.run(one(("nice", None))).result == 19
    assert asyncio.run(one(("nice", None), is_urgent=True)).result == os.nice(0)


@pytest.mark.skipif(not os.path.exists(AUTOGROUP), reason="sessions have no priority here")
def test_nor_has_the_session_of_others_any() -> None:
    own = Path(AUTOGROUP).read_text()
    assert asyncio.run(one(("session", None))).result.split()[1:] == ["nice", "19"]
    assert asyncio.run(one(("session", None), is_urgent=True)).result.split()[1:] == ["nice", "0"]
    assert Path(AUTOGROUP).read_text() == own


def _has_turns_to_choose() -> bool:
    """Linux 6.12 or later, on a processor that we know."""
    release = os.uname().release.split(".")
    is_new = sys.platform == "linux" and (int(release[0]), int(release[1])) >= (6, 12)
    return is_new and os.uname().machine in ("x86_64", "aarch64")


@pytest.mark.skipif(not _has_turns_to_choose(), reason="the kernel gives out turns as it likes")
def test_who_wakes_up_need_not_wait_for_the_end_of_a_turn() -> None:
    chosen = asyncio.run(one(("slice", None))).result
    assert chosen in (str(SLICE_NS), ""), "or a kernel that does not tell"


async def _endless(
    path: Path, in_processes: bool, end: Callable[[Worker, list[Submitted]], object]
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    worker = Worker(asyncio.get_running_loop(), limit=1, in_processes=in_processes)
    submitted = [worker.submit(Job("play", ("loop", str(path))), outcomes.append)]
    submitted.append(worker.submit(Job("play", ("loop", str(path))), outcomes.append))
    try:
        while submitted[0].bytes_moved == 0:
            await asyncio.sleep(0.01)
        assert submitted[1].bytes_moved == 0, "one at a time"
        end(worker, submitted)
        while not worker.is_stopped and len(outcomes) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    finally:
        worker.stop()
    return outcomes


@pytest.mark.parametrize("in_processes", [True, False])
def test_cancelled_and_stopped_jobs_end_at_once(tmp_path: Path, in_processes: bool) -> None:
    def cancel(worker: Worker, submitted: list[Submitted]) -> None:
        submitted[1].cancel()
        submitted[0].cancel()

    outcomes = asyncio.run(_endless(tmp_path / "pid", in_processes, cancel))
    assert [type(outcome.error) for outcome in outcomes] == [JobStoppedError, JobStoppedError]

    took_s: list[float] = []

    def stop(worker: Worker, _: list[Submitted]) -> None:
        started_s = time.monotonic()
        worker.stop()
        took_s.append(time.monotonic() - started_s)

    outcomes = asyncio.run(_endless(tmp_path / "pid", in_processes, stop))
    assert outcomes == [], "a stopped worker calls nobody back"
    assert took_s[0] < worker_module.STOP_S, "nobody was waited for in vain"
    if in_processes:
        assert not _is_alive(int((tmp_path / "pid").read_text()))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_ends_when_its_broker_is_killed(tmp_path: Path) -> None:
    """All it sees of that: its standard input closes."""
    child = subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin is not None
    with child:
        pickle.dump((Job("play", ("loop", str(tmp_path / "pid"))), False, None), child.stdin)
        child.stdin.flush()
        while not (tmp_path / "pid").exists():
            assert child.poll() is None
            time.sleep(0.01)
        child.stdin.close()
        assert child.wait(60) == 1


def test_a_child_that_can_tell_nobody_its_result_ends_without_a_word() -> None:
    """The broker may be killed just when the job is done."""
    child = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    with child:
        child.stdout.close()
        pickle.dump((Job("play", ("return", 1)), False, None), child.stdin)
        child.stdin.flush()
        assert child.wait(30) == 1
        assert b"Traceback" not in child.stderr.read()


A_TURN_S = 1.01 * TURN_S


class Timer:
    """A clock that goes on while somebody works or sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s = 0.0

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_s += seconds


class Sign:
    """In place of a FlushSign."""

    share = 1.0


def test_pace() -> None:
    shown: list[int] = []
    timer = Timer()
    pace = Pace(1_000_000, shown.append, ignore_part, every_s=0.0, clock=timer.clock, sleep=timer.sleep)
    for _ in range(10):
        pace.moved(10_000)
    assert timer.slept_s == pytest.approx(0.1)
    assert shown[-1] == 100_000


def test_pace_rests_from_a_turn_of_work() -> None:
    timer, sign = Timer(), Sign()
    pace = Pace(
        UNLIMITED_RATE,
        ignore_part,
        ignore_part,
        sign=cast(FlushSign, sign),
        clock=timer.clock,
        sleep=timer.sleep,
    )

    def work(seconds: float) -> float:
        """How long it rests from them."""
        before_s, timer.now_s = timer.slept_s, timer.now_s + seconds
        pace.moved(1_000)
        return timer.slept_s - before_s

    assert work(A_TURN_S) == 0, "nobody is there"
    sign.share = 0.25
    assert work(A_TURN_S * 0.6) == 0, "its turn is not over"
    assert work(A_TURN_S * 0.6) == pytest.approx(3 * 1.2 * A_TURN_S)
    assert work(A_TURN_S * 0.6) == 0, "what was slept is no work"
    assert work(1_000) == pytest.approx(3 * (0.6 * A_TURN_S + LONGEST_WORK_S)), (
        "it was stopped, or had no core"
    )
    sign.share = 1.0
    assert work(A_TURN_S) == 0


def test_pace_keeps_both_limits() -> None:
    timer, sign = Timer(), Sign()
    sign.share = 0.5
    pace = Pace(
        1_000_000,
        ignore_part,
        ignore_part,
        sign=cast(FlushSign, sign),
        clock=timer.clock,
        sleep=timer.sleep,
    )
    for worked_s, moved, slept_s in (
        (A_TURN_S, 1_000, A_TURN_S),
        (A_TURN_S, 250_000, 0.251 - 3 * A_TURN_S),
        (A_TURN_S / 2, 1_000, 0.0),
        (A_TURN_S / 2, 1_000, A_TURN_S),
    ):
        before_s, timer.now_s = timer.slept_s, timer.now_s + worked_s
        pace.moved(moved)
        assert timer.slept_s - before_s == pytest.approx(slept_s)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory to share here")
def test_processes_see_that_a_flush_goes_on() -> None:
    async def run() -> Outcome:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        turns = FlushFirst()
        worker = Worker(loop, sign=turns.sign)
        with turns.flush():
            worker.submit(Job("play", ("give way", None)), outcome.set_result)
            try:
                return await asyncio.wait_for(outcome, 60)
            finally:
                worker.stop()
                turns.close()

    assert asyncio.run(run()).result >= LONGEST_WAIT_S


def test_processes_hold_what_they_inherit(tmp_path: Path) -> None:
    """A lock among it is free only when the last of them has ended."""

    async def run() -> Outcome:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        with (tmp_path / "lock").open("w") as file:
            worker = Worker(loop, inherited=(file.fileno(),))
            worker.submit(Job("play", ("file", file.fileno())), outcome.set_result)
            try:
                return await asyncio.wait_for(outcome, 60)
            finally:
                worker.stop()

    assert asyncio.run(run()).result == os.stat(tmp_path / "lock").st_ino
