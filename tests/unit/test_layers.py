"""The import direction of the rooms, as docs/architecture.md draws it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "odradek"

LEVEL = {
    "core": 0,
    "protocol": 1,
    "records": 1,
    "storage": 2,
    "coordinator": 2,
    "replication": 2,
    "cluster": 2,
    "client": 2,
    "broker": 3,
    "server": 4,
    "console": 4,
    "app": 5,
    "cli": 6,
    "testing": 6,
    "pytest_plugin": 7,
}
AWAITING_ROOMS = {"server", "console", "client", "app", "cli", "testing"}
CLOCKS_AND_FILES = {"time", "random", "secrets", "tempfile", "subprocess", "threading", "asyncio", "socket"}
SEAMS = {"core/clock.py", "storage/disk.py", "storage/flush_journal.py"}
"""The last has a lock: it is written by whatever thread flushes."""


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or path.stem in LEVEL]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def identify(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", modules(), ids=identify)
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    for name in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "odradek" or len(parts) < 2 or parts[1] not in LEVEL or parts[1] == room:
            continue
        assert LEVEL[parts[1]] < LEVEL[room], f"{room} must not see {parts[1]}"


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if room_of(path) not in AWAITING_ROOMS | {"pytest_plugin"}],
    ids=identify,
)
def test_nothing_below_the_server_awaits_or_reaches_for_the_machine(path: Path) -> None:
    tree = ast.parse(path.read_text())
    awaiting = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
    assert not any(isinstance(node, awaiting) for node in ast.walk(tree))
    if identify(path) not in SEAMS:
        assert not {name.split(".")[0] for name in imports(tree)} & CLOCKS_AND_FILES


@pytest.mark.parametrize("path", [path for path in modules() if "generated" not in path.parts], ids=identify)
def test_no_module_outgrows_its_room(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500
