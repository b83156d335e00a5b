import io
import sys

import pytest

from odradek.cli import progress
from odradek.cli.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return clock


def test_the_bar_is_drawn_on_a_terminal_when_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = ProgressBar("sending", 100)
    bar.update(10)
    assert terminal.getvalue() == ""
    clock.now_s = 1.5
    bar.update(50, "5 records")
    bar.close()
    assert "5 records" in terminal.getvalue()
    bar.close()


def test_elsewhere_and_while_someone_types_there_is_none(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    quiet = ProgressBar("sending")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdin", Terminal())
    typing = ProgressBar("sending")
    clock.now_s = 9.0
    for bar in (quiet, typing):
        bar.update(1)
        assert bar._bar is None
