"""Commands run in this process against an in-process broker, with their real standard streams."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from odradek.cli.main import main
from odradek.testing import Broker


class Done(NamedTuple):
    """What a command wrote; ``json`` reads its output."""

    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run_offline(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """``run("topic", "list", code=0, stdin=b"")``: runs one command and checks its exit code."""
    monkeypatch.delenv("ODRADEK_BOOTSTRAP", raising=False)

    def run(*arguments: object, code: int = 0, stdin: bytes = b"") -> Done:
        path = tmp_path / "stdin"
        path.write_bytes(stdin)
        capfd.readouterr()
        with path.open() as file, monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", file)
            with pytest.raises(SystemExit) as caught:
                main([str(argument) for argument in arguments])
        done = Done(*capfd.readouterr())
        assert caught.value.code == code, done
        return done

    return run


@pytest.fixture
def run(run_offline: Run, odradek_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with a broker to talk to."""
    monkeypatch.setenv("ODRADEK_BOOTSTRAP", odradek_broker.bootstrap_servers)
    return run_offline
