"""Compiles generator.c and transactions.c, and runs them."""

import contextlib
import json
import os
import shutil
import subprocess
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks import transactions
from benchmarks.frames import Frame, plan
from benchmarks.transactions import Producer

SOURCES = Path(__file__).parent
BUILD = SOURCES.parent / "build" / "benchmarks"
PROGRAMS = ("generator", "transactions")
SPARE_S = 60.0


class GeneratorError(Exception):
    """The generator could not be built, or a run of it failed."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one measured window saw. Times in the broker are user + system of all its threads."""

    requests: int
    bytes: int
    seconds: float
    broker_cpu_s: float
    generator_cpu_s: float
    machine_cpu_s: float
    p50_us: float
    p99_us: float
    p99_9_us: float
    max_us: float
    answer_p50_us: float
    answer_p99_us: float
    answer_p99_9_us: float
    """Until a produce request is answered, where ``latency`` is about consumers."""

    @property
    def metrics(self) -> dict[str, float]:
        """What is compared, and what helps to judge it."""
        return {
            "cpu_us": self.broker_cpu_s / self.requests * 1e6 if self.requests else 0.0,
            "rate": self.requests / self.seconds,
            "mb_s": self.bytes / self.seconds / 1e6,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "p99_9_us": self.p99_9_us,
            "max_us": self.max_us,
            "answer_p50_us": self.answer_p50_us,
            "answer_p99_us": self.answer_p99_us,
            "answer_p99_9_us": self.answer_p99_9_us,
            "broker_cores": self.broker_cpu_s / self.seconds,
            "generator_cores": self.generator_cpu_s / self.seconds,
            "other_cores": (self.machine_cpu_s - self.broker_cpu_s - self.generator_cpu_s) / self.seconds,
            "requests": float(self.requests),
            "seconds": self.seconds,
        }


class Paced(NamedTuple):
    """A run at a fixed pace: ``rate`` times a second ``produce``, and ``fetch`` follows; ``seconds`` long."""

    produce: Frame
    fetch: Frame
    port: int
    broker_pid: int
    rate: int
    warmup_s: float
    seconds: float


class RecordTimes(NamedTuple):
    """Of one record, in nanoseconds of ``time.monotonic_ns``."""

    due_ns: int
    answered_ns: int
    read_ns: int

    @property
    def answer_ns(self) -> int:
        """How long the produce request took."""
        return self.answered_ns - self.due_ns

    @property
    def end_to_end_ns(self) -> int:
        """How long it took until the consumer had it."""
        return self.read_ns - self.due_ns


def compile_generator() -> Path:
    """Builds both generators when their sources are newer, and returns the folder that they are in.

    Raises GeneratorError where there is no C compiler.
    """
    for name in PROGRAMS:
        program, source = BUILD / name, SOURCES / f"{name}.c"
        newest = max(path.stat().st_mtime for path in (source, SOURCES / "common.h"))
        if program.exists() and program.stat().st_mtime >= newest:
            continue
        compiler = os.environ.get("CC") or next(
            (name for name in ("cc", "gcc", "clang") if shutil.which(name)), None
        )
        if compiler is None:
            raise GeneratorError(
                "the load generators are C programs, and there is no C compiler (cc, gcc or clang) here"
            )
        BUILD.mkdir(parents=True, exist_ok=True)
        command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise GeneratorError(f"{compiler} cannot compile {source.name}:\n{done.stderr}")
    return BUILD


@dataclass(slots=True)
class Generator:
    """Runs the compiled generators against a broker on 127.0.0.1, on core `core` when that is given."""

    programs: Path
    scratch: Path
    core: int | None = None

    def load(
        self,
        frames: list[Frame],
        *,
        port: int,
        broker_pid: int,
        connections: int,
        depth: int,
        warmup_s: float = 0.0,
        seconds: float = 0.0,
        max_bytes: int = 0,
        max_requests: int = 0,
    ) -> Measurement:
        """A closed loop of `connections` x `depth` requests; see generator.c."""
        plan_path = self._write(frames)
        numbers = [port, connections, depth, warmup_s, seconds, max_bytes, max_requests, broker_pid]
        return self._run(["load", str(plan_path), *map(str, numbers)], warmup_s + seconds)

    def latency(self, paced: Paced) -> Measurement:
        """How long each record takes until a consumer has it."""
        return self._run(self._latency_arguments(paced), paced.warmup_s + paced.seconds)

    @contextlib.contextmanager
    def latency_times(self, paced: Paced) -> Iterator[tuple[list[RecordTimes], list[Measurement]]]:
        """The same in the background, as long as the context lasts, ``paced.seconds`` at most.

        Both lists are empty until it ends: then every record's times are there, and what was measured in all.
        """
        times: list[RecordTimes] = []
        measured: list[Measurement] = []
        times_path = self.scratch / "times"
        process = self._start([*self._latency_arguments(paced), str(times_path)])
        try:
            yield times, measured
            process.terminate()
            measured.append(_measurement(process, SPARE_S))
        finally:
            _end(process)
        numbers_read = array("q", times_path.read_bytes())
        times += map(RecordTimes, numbers_read[::3], numbers_read[1::3], numbers_read[2::3])

    def transact(
        self, producers: list[Producer], *, port: int, broker_pid: int, warmup_s: float, seconds: float
    ) -> Measurement:
        """Transactions one after the other on each producer's connection; see transactions.c."""
        plan_path = self.scratch / "plan"
        plan_path.write_bytes(transactions.plan(producers))
        numbers = [port, warmup_s, seconds, broker_pid]
        return self._run([str(plan_path), *map(str, numbers)], warmup_s + seconds, "transactions")

    def _write(self, frames: list[Frame]) -> Path:
        path = self.scratch / "plan"
        path.write_bytes(plan(frames))
        return path

    def _latency_arguments(self, paced: Paced) -> list[str]:
        plan_path = self._write([paced.produce, paced.fetch])
        numbers = [paced.port, paced.rate, paced.warmup_s, paced.seconds, paced.broker_pid]
        return ["latency", str(plan_path), *map(str, numbers)]

    def _run(self, arguments: list[str], seconds: float, program: str = "generator") -> Measurement:
        process = self._start(arguments, program)
        try:
            return _measurement(process, seconds + SPARE_S)
        finally:
            _end(process)

    def _start(self, arguments: list[str], program: str = "generator") -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [str(self.programs / program), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self.core is not None:
            os.sched_setaffinity(process.pid, {self.core})
        return process


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _measurement(process: "subprocess.Popen[str]", patience_s: float) -> Measurement:
    """Waits for its end. Raises GeneratorError."""
    try:
        output, errors = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        raise GeneratorError("the generator did not end in time") from None
    if process.returncode:
        raise GeneratorError(errors.strip() or f"exit status {process.returncode}")
    answer = json.loads(output)
    latency = answer["latency_us"]
    answers = answer.get("answer_us", latency)
    return Measurement(
        requests=answer["requests"],
        bytes=answer["bytes"],
        seconds=answer["seconds"],
        broker_cpu_s=answer["broker_cpu_s"],
        generator_cpu_s=answer["generator_cpu_s"],
        machine_cpu_s=answer["machine_cpu_s"],
        p50_us=latency["p50"],
        p99_us=latency["p99"],
        p99_9_us=latency["p99_9"],
        max_us=latency["max"],
        answer_p50_us=answers["p50"],
        answer_p99_us=answers["p99"],
        answer_p99_9_us=answers["p99_9"],
    )
