"""Runs cases on both brokers in turn: Kafka, Odradek, Kafka, Odradek, ..."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import machine
from benchmarks.admin import BrokerError
from benchmarks.brokers import Broker
from benchmarks.cases import Case, ClientCase, GroupCase, LoadCase, ProcessCase, ScenarioCase, by_name
from benchmarks.clients import ClientError
from benchmarks.generator import GeneratorError
from benchmarks.measure import RAMP_S, Bench, MeasuredCase, Run
from benchmarks.results import CaseResult, Rounds, judge
from benchmarks.scenarios import SCENARIOS

IDLE_S = 3.0
DISTURBED_CORES = 0.3
TRIES = 4
FIRST_WARM = 3
"""The first case warms a fresh JVM that many times as long: 10 s do not bring its compiler to rest."""
FAILURES = (BrokerError, GeneratorError, ClientError, OSError, subprocess.TimeoutExpired)
Start = Callable[[], contextlib.AbstractContextManager[Broker]]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how often."""

    seconds: float
    rounds: int
    warm_s: float
    """For Kafka, before each case: its JVM compiles while it runs."""
    candidate_warm_s: float
    patience_s: float
    """How long a round may wait for other processes to leave the cores alone."""


@dataclass(slots=True)
class Comparison:
    """Both brokers, started anew by `kafka` and `odradek`, and what was measured of their processes."""

    bench: Bench
    schedule: Schedule
    kafka: Start
    odradek: Start
    is_warm: bool = False

    def run(self, cases: list[Case]) -> Iterator[CaseResult]:
        """Yields a result per case, as it is there. A case that fails does not end the others."""
        starts, idle = (
            self._start_and_idle() if any(isinstance(case, ProcessCase) for case in cases) else ({}, {})
        )
        with self.kafka() as kafka, self.odradek() as odradek:
            pair = {"kafka": kafka, "odradek": odradek}
            for case in cases:
                _say(f"{case.name}: {case.title}")
                if not isinstance(case, ProcessCase):
                    yield self._measure(case, pair)
                elif case.name == "start":
                    yield judge(case, starts["kafka"], starts["odradek"])
                else:
                    yield self._memory(case, pair, idle)

    def _measure(self, case: MeasuredCase | ScenarioCase, pair: dict[str, Broker]) -> CaseResult:
        rounds: dict[str, Rounds] = {name: [] for name in pair}
        try:
            with contextlib.ExitStack() as stack:
                runs = {
                    name: stack.enter_context(self._prepared(case, broker))
                    for name, broker in pair.items()
                    if name == "odradek" or not isinstance(case, ScenarioCase) or case.is_compared
                }
                self._warm_up(case, runs)
                for _ in range(self.schedule.rounds):
                    for name, run in runs.items():
                        metrics = self._undisturbed(run)
                        rounds[name].append(metrics)
                        shown = [*case.shown, "other_cores"]
                        _say(f"  {name:8}" + "".join(f"  {key} {metrics.get(key, 0):,.1f}" for key in shown))
        except FAILURES as error:
            _say(f"  failed: {error}")
            return judge(case, rounds["kafka"], rounds["odradek"], str(error))
        return judge(case, rounds["kafka"], rounds["odradek"])

    def _prepared(
        self, case: MeasuredCase | ScenarioCase, broker: Broker
    ) -> contextlib.AbstractContextManager[Run]:
        if isinstance(case, ScenarioCase):
            return SCENARIOS[case.name](self.bench, broker)
        return self.bench.prepared(case, broker)

    def _warm_up(self, case: MeasuredCase | ScenarioCase, runs: dict[str, Run]) -> None:
        if isinstance(case, GroupCase | ScenarioCase):
            if "kafka" in runs:
                runs["kafka"](self.schedule.seconds)  # once for its JVM
        elif not isinstance(case, ClientCase):
            _repeat(runs["kafka"], self.schedule.warm_s * (1 if self.is_warm else FIRST_WARM))
            self.is_warm = True
            _repeat(runs["odradek"], self.schedule.candidate_warm_s)

    def _undisturbed(self, run: Run) -> dict[str, float]:
        """The least disturbed of a few tries, begun when other processes leave the cores alone."""
        tries: list[dict[str, float]] = []
        for _ in range(TRIES):
            machine.wait_until_idle(DISTURBED_CORES, self.schedule.patience_s)
            tries.append(run(self.schedule.seconds))
            if tries[-1].get("other_cores", 0.0) <= DISTURBED_CORES:
                break
        return min(tries, key=lambda metrics: metrics.get("other_cores", 0.0))

    def _start_and_idle(self) -> tuple[dict[str, Rounds], dict[str, list[float]]]:
        """Each broker started alone, `rounds` times; its memory after IDLE_S without a request."""
        starts: dict[str, Rounds] = {"kafka": [], "odradek": []}
        idle: dict[str, list[float]] = {"kafka": [], "odradek": []}
        for _ in range(self.schedule.rounds):
            for name, start in (("kafka", self.kafka), ("odradek", self.odradek)):
                with start() as broker:
                    starts[name].append({"seconds": broker.start_s})
                    time.sleep(IDLE_S)
                    idle[name].append(broker.private_memory_bytes() / 1e6)
                _say(f"  {name:8}  started in {broker.start_s:.3f} s, {idle[name][-1]:.1f} MB idle")
        return starts, idle

    def _memory(self, case: ProcessCase, pair: dict[str, Broker], idle: dict[str, list[float]]) -> CaseResult:
        load = by_name("produce-64k")
        assert isinstance(load, LoadCase)
        loaded = {}
        try:
            for name, broker in pair.items():
                self.bench.produce(load, broker, self.schedule.seconds)
                loaded[name] = broker.private_memory_bytes() / 1e6
        except FAILURES as error:
            return judge(case, [], [], str(error))
        against = loaded["kafka"]
        kafka = [{"idle_mb": one, "loaded_mb": against, "idle_to_loaded": against} for one in idle["kafka"]]
        ours = loaded["odradek"]
        odradek = [{"idle_mb": one, "loaded_mb": ours, "idle_to_loaded": one} for one in idle["odradek"]]
        return judge(case, kafka, odradek)


def _repeat(run: Callable[[float], dict[str, float]], seconds: float) -> None:
    """Windows end early when they have written enough, so one call may not last `seconds`."""
    busy = 0.0
    while busy < seconds:
        busy += RAMP_S + run(seconds - busy)["seconds"]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
