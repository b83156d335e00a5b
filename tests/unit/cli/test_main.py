import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from odradek import __version__
from odradek.cli.main import COMMANDS
from tests.unit.cli.conftest import Run

BUDGET_MS = 150
YARDSTICK_MS = 57
"""What importing asyncio and click costs on the machine that the budget is meant for, when it is quiet."""


def test_help_names_every_command_without_importing_one(run_offline: Run) -> None:
    shown = run_offline("--help").out
    assert all(name in shown for name in COMMANDS)
    assert __version__ in run_offline("--version").out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(run_offline: Run, name: str) -> None:
    assert "Usage: odradek" in run_offline(name, "--help").out


def test_a_mistyped_command_names_the_nearest(run_offline: Run) -> None:
    assert "Did you mean topic?" in run_offline("topci", code=2).err
    assert "No such command" in run_offline("zzz", code=2).err
    run_offline("topic", "lits", code=2)


def test_it_runs_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "odradek", "--version"], capture_output=True, text=True, check=True
    )
    assert __version__ in done.stdout


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    program = [
        sys.executable,
        "-c",
        "from odradek.cli.main import main; main(['config', 'keys', '-o', 'json'])",
    ]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.fixture(scope="module")
def byte_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A place for byte code, also where writing it is turned off: what users have is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("byte-code")))
        yield


def import_times(program: str) -> dict[str, int]:
    """Imported modules and their own import time in microseconds, byte code being there already."""
    command = [sys.executable, "-X", "importtime", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", done.stderr, re.MULTILINE)
    return {name: int(time) for time, name in found}


YARDSTICK = "import asyncio, click"
HEAVY = {"rich", "uvloop", "odradek.app", "odradek.broker", "odradek.storage.log", "yaml", "msgspec"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("topic", "list", "-b", "127.0.0.1:1"),
        ("group", "list", "-b", "127.0.0.1:1"),
        ("consume", "t", "-b", "127.0.0.1:1"),
        ("produce", "t", "-b", "127.0.0.1:1"),
        ("config", "keys"),
        ("completion", "bash"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_command_imports_only_what_it_needs(arguments: tuple[str, ...], byte_code: None) -> None:
    program = f"from odradek.cli.main import main; main({list(arguments)!r})"
    times = import_times(program)
    assert not {name for name in times if name in HEAVY or name.split(".")[0] in HEAVY}
    if arguments[0] in ("--help", "config", "completion"):
        assert "asyncio" not in times
    # Busy machines spend more on both, so the ratio is what holds; a burst may still spoil one round.
    assert any(
        sum(import_times(program).values()) < BUDGET_MS / YARDSTICK_MS * sum(import_times(YARDSTICK).values())
        for _ in range(5)
    )
