"""Runs Java programs: Kafka's own tools, and the sources under ``java/``, compiled when first needed."""

import hashlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.kafka_process import HEAP, ROOT, classpath

SOURCES = Path(__file__).parent / "java"
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For programs that end before a better compiler or collector would pay."""


class Tools:
    """Runs tools against one broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def __call__(self, tool: str, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """What ``tool`` says, without padding; fails the test when it does not end with ``code``."""
        arguments = (*arguments, "--bootstrap-server", self.bootstrap)
        done = java(classpath(), tool, *arguments, stdin=stdin)
        assert done.returncode == code, f"{tool} {arguments}:\n{done.stdout}{done.stderr}"
        lines = (done.stderr + done.stdout).splitlines()
        return "\n".join(line.rstrip() for line in lines if line and not line.startswith("SLF4J"))

    def together(self, *runs: tuple[str, ...]) -> list[str]:
        """What each of these runs says; they share the time that a Java takes to start."""
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(lambda run: self(*run), runs))


def java(
    path: str, *arguments: str, stdin: str = "", timeout_s: float = 240
) -> "subprocess.CompletedProcess[str]":
    command = ["java", HEAP, *QUICK, "-cp", path, *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def run_program(name: str, *arguments: str, timeout_s: float = 900) -> list[str]:
    """The lines that the program ``java/NAME.java`` prints; fails the test when it fails."""
    done = java(program_path(name), name, *arguments, timeout_s=timeout_s)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def program_path(name: str) -> str:
    """A class path with Kafka's jars and the program ``java/NAME.java``."""
    return f"{classpath()}:{_compiled(SOURCES / f'{name}.java')}"


def _compiled(source: Path) -> Path:
    """The folder with the classes of ``source``, compiled once for each state of it."""
    if shutil.which("javac") is None:
        pytest.skip("there is no Java compiler on this machine")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    folder = ROOT / "build" / "conformance" / "java" / digest
    if not (folder / f"{source.stem}.class").exists():
        command = ["javac", "-nowarn", "-cp", classpath(), "-d", str(folder), str(source)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return folder


def rows(table: str, width: int) -> list[list[str]]:
    """The first ``width`` columns of the lines under a table's heading, sorted."""
    lines = [line.split()[:width] for line in table.splitlines()]
    heading = next(at for at, line in enumerate(lines) if line[0].isupper())
    return sorted(lines[heading + 1 :])
