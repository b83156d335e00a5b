"""Rounds in, medians, ratios and verdicts out; kept as JSON under benchmarks/results/."""

import json
import math
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, Case, ScenarioCase

FOLDER = Path(__file__).with_name("results")
Rounds = list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one case."""

    metric: str
    kafka: float
    odradek: float
    ratio: float
    target: str
    """As "<= 0.5"; empty where there is none."""
    met: bool | None


@dataclass(slots=True)
class CaseResult:
    """All rounds of one case on both brokers."""

    name: str
    title: str
    kafka: Rounds
    odradek: Rounds
    rows: list[Row]
    error: str = ""


@dataclass(slots=True)
class Results:
    """One run of the whole bench."""

    name: str
    date: str
    machine: dict[str, str]
    settings: dict[str, Any]
    cases: list[CaseResult] = field(default_factory=list)

    @property
    def missed(self) -> list[tuple[CaseResult, Row]]:
        return [(case, row) for case in self.cases for row in case.rows if row.met is False]

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.date}-{self.name}.json"

    def put(self, result: CaseResult) -> None:
        """Adds a case, in the place of what is there of it, in the order of the cases."""
        order = [case.name for case in CASES]
        self.cases = [case for case in self.cases if case.name != result.name] + [result]
        self.cases.sort(key=lambda case: order.index(case.name))

    def take_over(self, earlier: "Results") -> None:
        """Has the cases of an earlier run, too. Raises ValueError when it was not measured like this one."""
        same = ("cpu", "cores", "memory", "kernel", "python", "java", "kafka")
        is_same = all(earlier.machine.get(key) == self.machine.get(key) for key in same)
        if not is_same or earlier.settings != self.settings:
            raise ValueError(f"{self.path.name} was measured on another machine or with other settings")
        for case in earlier.cases:
            self.put(case)

    def save(self) -> None:
        """Writes <date>-<name>.json."""
        FOLDER.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Results:
    raw = json.loads(path.read_text())
    raw["cases"] = [
        CaseResult(**{**case, "rows": [Row(**row) for row in case["rows"]]}) for case in raw["cases"]
    ]
    return Results(**raw)


def newest() -> Results:
    """The result with the latest date; raises FileNotFoundError."""
    paths = sorted(FOLDER.glob("*.json"))
    if not paths:
        raise FileNotFoundError("no result under benchmarks/results/ yet: run make bench")
    return load(paths[-1])


def judge(case: Case, kafka: Rounds, odradek: Rounds, error: str = "") -> CaseResult:
    """Medians over the rounds, and each ratio against its target."""
    rows = []
    targets = {target.metric: target for target in case.targets}
    metrics = [*case.shown, *(metric for metric in targets if metric not in case.shown)]
    is_compared = not (isinstance(case, ScenarioCase) and not case.is_compared)
    for metric in metrics if odradek and (kafka or not is_compared) and not error else []:
        ours, theirs = _median(odradek, metric), _median(kafka, metric)
        ratio = ours / theirs if theirs else 0.0
        target = targets.get(metric)
        sign = "" if target is None else "≤ " if target.bound == "at most" else "≥ "
        unit = " itself" if target and target.is_absolute else ""
        rows.append(
            Row(
                metric=metric,
                kafka=theirs,
                odradek=ours,
                ratio=ratio,
                target=f"{sign}{target.limit}{unit}" if target else "",
                met=target.met(ours if target.is_absolute else ratio) if target else None,
            )
        )
    return CaseResult(case.name, case.title, kafka, odradek, rows, error)


def _median(rounds: Rounds, metric: str) -> float:
    return statistics.median(one[metric] for one in rounds) if rounds else math.nan
