"""Where a case's time goes in Odradek: the broker alone, under the case, watched by cProfile or perf."""

import contextlib
import os
import pstats
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.brokers import running_odradek
from benchmarks.cases import Case, ProcessCase, ScenarioCase
from benchmarks.measure import Bench

KINDS = ("cprofile", "perf")


class ProfileError(Exception):
    """The case cannot be profiled, or not like this."""


def profile(case: Case, bench: Bench, *, kind: str, seconds: float, top: int) -> None:
    """Prints the functions that cost most; cProfile sees Python, perf also C and the kernel."""
    if isinstance(case, ProcessCase | ScenarioCase):
        raise ProfileError(f"{case.name} is not one loop of requests")
    if kind == "perf" and shutil.which("perf") is None:
        raise ProfileError("perf is not installed")
    output = bench.scratch / "profile"
    wrapper = [sys.executable, "-m", "cProfile", "-o", str(output)] if kind == "cprofile" else []
    with running_odradek(bench.scratch, wrapper=wrapper) as broker, bench.prepared(case, broker) as run:
        if kind == "perf":
            run(1.0)
        with _perf(broker.pid, output) if kind == "perf" else contextlib.nullcontext():
            metrics = run(seconds)
    print("  ".join(f"{name} {value:,.1f}" for name, value in metrics.items()))
    if kind == "perf":
        _print_perf(output, top)
    else:
        statistics = pstats.Stats(str(output))
        statistics.strip_dirs().sort_stats("tottime").print_stats(top)


@contextlib.contextmanager
def _perf(pid: int, output: Path) -> Iterator[None]:
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-p", str(pid), "-o", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _print_perf(output: Path, top: int) -> None:
    for columns in ("dso", "dso,symbol"):
        command = [
            "perf",
            "report",
            "-q",
            "--stdio",
            "-i",
            str(output),
            "--sort",
            columns,
            "--percent-limit",
            "0.3",
        ]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
        lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
        print("\n".join(lines[:top]), end="\n\n")
