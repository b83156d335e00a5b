"""Asking the machine."""

import os
from pathlib import Path

from odradek.cli import machine


def test_flush_times_leave_nothing_behind(tmp_path: Path) -> None:
    times = machine.flush_times(tmp_path)
    assert times is not None
    assert 0 < times.median <= times.slowest
    assert list(tmp_path.iterdir()) == []
    assert machine.flush_times(tmp_path / "not there") is None


def test_who_holds_a_folder(tmp_path: Path) -> None:
    assert machine.broker_pid(tmp_path) is None
    (tmp_path / ".lock").write_text(f"{os.getpid()}\n")
    assert machine.broker_pid(tmp_path) == os.getpid()
    (tmp_path / ".lock").write_text("")
    assert machine.broker_pid(tmp_path) is None


def test_open_files_of_this_process() -> None:
    found = machine.open_files(os.getpid())
    if Path("/proc/self/fd").exists():
        assert found is not None
        assert 0 < found.open <= found.limit
    assert machine.open_files(-1) is None


def test_the_clock_is_asked() -> None:
    assert machine.is_clock_synchronized() in (True, False, None)
