"""Pieces of the past keep out of the way of flushes, and are not kept from the disk for ever."""

import os
import threading
import time

import pytest

from odradek.server.flush_first import LONGEST_WAIT_S, QUIET_S, FlushFirst, FlushSign
from odradek.storage import pacing
from odradek.storage.pacing import GENTLE_SHARE

PATIENCE_S = 30.0


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_it_is_quiet_before_the_first_flush_and_some_time_after_the_last() -> None:
    clock = Clock()
    turns = FlushFirst(clock)
    assert turns.is_quiet
    with turns.flush():
        clock.now_s += 10 * QUIET_S
        assert not turns.is_quiet
    assert not turns.is_quiet
    clock.now_s += QUIET_S / 2
    assert not turns.is_quiet
    clock.now_s += QUIET_S
    assert turns.is_quiet


def test_a_piece_begins_when_the_flush_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.server.flush_first.LONGEST_WAIT_S", PATIENCE_S)
    turns = FlushFirst()
    events: list[str] = []
    thread = threading.Thread(target=lambda: _read(turns, events))
    with turns.flush():
        thread.start()
        events.append("flushed")
    thread.join(PATIENCE_S)
    assert events == ["flushed", "read"]


def test_a_piece_begins_during_a_flush_that_takes_too_long() -> None:
    turns = FlushFirst()
    events: list[str] = []
    with turns.flush():
        _read(turns, events)
    assert events == ["read"]


def test_one_piece_at_a_time_unless_it_is_quiet() -> None:
    clock = Clock()
    turns = FlushFirst(clock)
    events: list[str] = []
    with turns.piece(), turns.piece():
        events.append("both")
    with turns.flush():
        pass
    thread = threading.Thread(target=lambda: _read(turns, events))
    with turns.piece():
        thread.start()
        events.append("first")
    thread.join(PATIENCE_S)
    assert events == ["both", "first", "read"]


def test_a_flush_that_fails_is_over() -> None:
    clock = Clock()
    turns = FlushFirst(clock)
    with pytest.raises(OSError, match="I/O error"), turns.flush():
        raise OSError(5, "I/O error")
    clock.now_s += QUIET_S
    assert turns.is_quiet


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory to share here")
def test_others_see_that_a_flush_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = FlushFirst()
    assert turns.sign is not None
    seen = FlushSign(os.dup(turns.sign.fd))  # as a child process has it
    with turns.flush():
        started_s = time.monotonic()
        seen.give_way()
        assert time.monotonic() - started_s >= LONGEST_WAIT_S, "a bounded time, however long the flush takes"
    monkeypatch.setattr("odradek.server.flush_first.LONGEST_WAIT_S", PATIENCE_S)
    started_s = time.monotonic()
    seen.give_way()
    with pytest.raises(OSError, match="I/O error"), turns.flush():
        raise OSError(5, "I/O error")
    seen.give_way()
    assert time.monotonic() - started_s < PATIENCE_S
    seen.close()
    turns.close()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory to share here")
def test_who_gives_way_goes_on_when_the_flush_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.server.flush_first.LONGEST_WAIT_S", PATIENCE_S)
    turns = FlushFirst()
    assert turns.sign is not None
    events: list[str] = []
    thread = threading.Thread(target=lambda: _give_way(turns.sign, events))
    with turns.flush():
        thread.start()
        events.append("flushed")
    thread.join(PATIENCE_S)
    assert events == ["flushed", "written"]
    turns.close()


def test_without_memory_to_share_flushes_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    turns = FlushFirst()
    assert turns.sign is None
    with turns.flush():
        assert not turns.is_quiet
    turns.close()


def _give_way(sign: FlushSign | None, events: list[str]) -> None:
    assert sign is not None
    sign.give_way()
    events.append("written")


def _read(turns: FlushFirst, events: list[str]) -> None:
    with turns.piece():
        events.append("read")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory to share here")
def test_processes_see_how_much_they_may_work() -> None:
    turns = FlushFirst()
    assert turns.sign is not None
    seen = FlushSign(os.dup(turns.sign.fd))  # as a child process has it
    try:
        assert seen.share == 1.0, "nobody has written yet"
        with turns.flush():
            assert seen.share == 1.0, "it may be of our own"
        turns.show_written()
        assert seen.share == GENTLE_SHARE
        turns.show_urgency(1.0)
        assert seen.share == 1.0
        turns.show_urgency(0.0)
        turns.sign.show_written(time.monotonic() - 2 * pacing.QUIET_S)
        assert seen.share == 1.0
    finally:
        seen.close()
        turns.close()
    turns.show_urgency(1.0)  # nobody is left to see it
    turns.show_written()
