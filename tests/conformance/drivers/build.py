"""Builds the programs of the other languages under ``build/``, once for each state of their sources."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parents[1]
BUILD = Path(__file__).parents[3] / "build" / "conformance"


class Unavailable(Exception):
    """Why a program cannot be built here."""


def _prepare(language: str, tool: str) -> tuple[Path, Path]:
    """The sources copied to a folder of their own, and the stamp that says that they are built already."""
    if shutil.which(tool) is None:
        raise Unavailable(f"there is no {tool} on this machine")
    source, target = SOURCES / language, BUILD / language
    files = sorted(path for path in source.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes())
    stamp = target / f".built-{digest.hexdigest()[:16]}"
    if not stamp.exists():
        for old in target.glob(".built-*"):
            old.unlink()
        shutil.copytree(source, target, dirs_exist_ok=True)
    return target, stamp


def _run(command: Sequence[str], folder: Path, stamp: Path) -> None:
    if stamp.exists():
        return
    result = subprocess.run(
        ["nice", *command], cwd=folder, capture_output=True, text=True, timeout=1_000, check=False
    )
    if result.returncode != 0:
        raise Unavailable(f"{' '.join(command)} failed: {(result.stderr or result.stdout)[-400:]}")
    stamp.touch()


def build_go() -> list[str]:
    target, stamp = _prepare("go", "go")
    _run(["go", "build", "-buildvcs=false", "-o", "driver", "."], target, stamp)
    return [str(target / "driver")]


def build_javascript() -> list[str]:
    target, stamp = _prepare("js", "npm")
    _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], target, stamp)
    return ["node", str(target / "driver.js")]


def build_rust() -> list[str]:
    target, stamp = _prepare("rust", "cargo")
    _run(["cargo", "build", "--quiet"], target, stamp)
    return [str(target / "target" / "debug" / "odradek-conformance")]


BUILDERS: dict[str, Callable[[], list[str]]] = {
    "franz-go": build_go,
    "kafkajs": build_javascript,
    "rskafka": build_rust,
}
_builds: dict[str, "Future[list[str]]"] = {}


def start_builds() -> None:
    """Builds all in the background, so that they are there when their turn comes."""
    if not _builds:
        pool = ThreadPoolExecutor(1)
        _builds.update({name: pool.submit(builder) for name, builder in BUILDERS.items()})
        pool.shutdown(wait=False)


def command_for(name: str) -> list[str]:
    """The command that starts the program; waits for its build; raises ``Unavailable``."""
    start_builds()
    return _builds[name].result()
