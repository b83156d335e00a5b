"""Cuts the power at many moments of a trace, and opens a broker on what each may leave.

``python -m tests.faults.power`` runs it for as long as wanted and replays a finding.
"""

import pickle
import random
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.faults.power.judge import Problems, Promises, judge
from tests.faults.power.platter import Leftover, Platter
from tests.faults.power.recorder import Create, Event, Remove, Rename, SyncEnd, Told, Trace

CUTS_AT_ONCE = 20
"""Of one walk through a trace."""
SHARES = {
    Leftover.ANYTHING: 5,
    Leftover.NOTHING: 3,
    Leftover.NAMES: 2,
    Leftover.BYTES: 1,
    Leftover.EVERYTHING: 1,
}


class Cut(NamedTuple):
    """A power cut before event ``number``; ``seed`` decides what of the rest is left."""

    number: int
    leftover: Leftover
    seed: int


class Finding(NamedTuple):
    """A cut that costs what it must not."""

    cut: Cut
    problems: Problems

    def __str__(self) -> str:
        number, leftover, seed = self.cut
        lines = [f"power cut at event {number}, {leftover.value} is left of what was not synced ({seed=})"]
        lines += self.problems[:8]
        return "\n  ".join(lines)


def choose_cuts(events: list[Event], rng: random.Random, count: int) -> list[Cut]:
    """Right before or behind what makes something certain, or what changes a name, or anywhere."""
    certain = [number for number, event in enumerate(events) if isinstance(event, SyncEnd | Told)]
    named = [number for number, event in enumerate(events) if isinstance(event, Create | Rename | Remove)]
    cuts = []
    for _ in range(count):
        (kind,) = rng.choices((certain, named, range(len(events))), (5, 3, 2))
        (leftover,) = rng.choices(list(SHARES), SHARES.values())
        cuts.append(Cut(rng.choice(kind) + rng.randrange(2), leftover, rng.randrange(1 << 32)))
    return sorted(cuts, key=lambda cut: cut.number)


def first_finding(events: list[Event], cuts: Iterable[Cut]) -> Finding | None:
    """What is wrong after the first cut after which something is; ``cuts`` ascend."""
    platter, promises = Platter(), Promises()
    position = 0
    with tempfile.TemporaryDirectory(prefix="odradek-power-") as above:
        for cut in cuts:
            for event in events[position : cut.number]:
                platter.take(event)
                if isinstance(event, Told):
                    promises.take(event)
            position = cut.number
            folder = Path(above) / "data"
            platter.leave(folder, cut.leftover, random.Random(cut.seed))
            problems = judge(folder, promises, in_background=cut.seed % 2 == 1)
            if problems:
                return Finding(cut, problems)
            shutil.rmtree(folder)
    return None


class Campaign:
    """Walk after walk through one trace, until time is up or something was found."""

    def __init__(self, events: list[Event], seed: int) -> None:
        self.cuts = 0
        self._events = events
        self._rng = random.Random(seed)

    def run(self, seconds: float) -> Finding | None:
        """At least one walk."""
        deadline = time.monotonic() + seconds
        while True:
            cuts = choose_cuts(self._events, self._rng, CUTS_AT_ONCE)
            finding = first_finding(self._events, cuts)
            self.cuts += len(cuts)
            if finding is not None or time.monotonic() > deadline:
                return finding


def keep(trace: Trace, path: Path) -> None:
    """Write the events down, for :func:`kept`."""
    path.write_bytes(pickle.dumps(trace.events))


def kept(path: Path) -> list[Event]:
    events: list[Event] = pickle.loads(path.read_bytes())
    return events


def story(trace: Trace, seed: int, finding: Finding) -> str:
    """What was found, and how to see it again."""
    path = Path(tempfile.gettempdir()) / f"odradek-power-{seed}.trace"
    keep(trace, path)
    cut = f"{finding.cut.number} {finding.cut.leftover.name} {finding.cut.seed}"
    return f"{finding}\nagain: python -m tests.faults.power --trace {path} --cut {cut}"
