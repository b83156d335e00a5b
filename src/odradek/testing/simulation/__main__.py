"""``python -m odradek.testing.simulation SEED…``: run seeds in parallel, show traces of those that fail."""

import argparse
import contextlib
import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from odradek.testing.simulation.simulation import RUN_MS, Result, Simulation

_LINES_SHOWN = 60
_BLOCK = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m odradek.testing.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="+", help="a seed, FIRST-LAST, or FIRST- without end")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="how many run at a time")
    parser.add_argument("--transactions", action="store_true", help="with transactional producers, too")
    parser.add_argument("--only-power-cuts", action="store_true", help="no other harm, and more often")
    parser.add_argument("--run-ms", type=int, default=RUN_MS, help="how long there is harm, simulated time")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a broker's key")
    parser.add_argument("-t", "--trace", type=Path, help="write the whole trace of a run to this file")
    options = parser.parse_args()
    seeds = itertools.chain.from_iterable(map(_range, options.seeds))
    began = time.monotonic()
    run = partial(
        _run,
        run_ms=options.run_ms,
        overrides=dict(text.split("=", 1) for text in options.set),
        transactions=options.transactions,
        only_power_cuts=options.only_power_cuts,
    )
    failed = done = 0
    totals: dict[str, int] = {}
    with contextlib.suppress(KeyboardInterrupt), Pool(options.jobs, _leave_interrupts_to_us) as pool:
        for result in _results(pool, run, seeds):
            done += 1
            for what, number in result.counts.items():
                totals[what] = totals.get(what, 0) + number
            if options.trace is not None:
                options.trace.write_text("\n".join(result.trace) + "\n")
                print(f"seed {result.seed}: trace {result.digest} in {options.trace}")
            if result.problems:
                failed += 1
                print(describe(result), flush=True)
    print(f"{done} seeds, {failed} failed, {time.monotonic() - began:.0f} s; " + _summary(totals))
    return 1 if failed else 0


def _leave_interrupts_to_us() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _results(pool: Pool, run: Callable[[int], Result], seeds: Iterator[int]) -> Iterator[Result]:
    """In blocks, as a pool takes in all that it is given, and seeds may have no end."""
    while block := list(itertools.islice(seeds, _BLOCK)):
        yield from pool.imap_unordered(run, block)


def describe(result: Result) -> str:
    """What went wrong, the end of the trace, and how to see it again."""
    lines = [f"seed {result.seed} failed:", *(f"  {problem}" for problem in result.problems)]
    lines += [f"| {line}" for line in result.trace[-_LINES_SHOWN:]]
    command = " ".join(["python -m odradek.testing.simulation", str(result.seed), *result.options])
    lines.append(f"replay: {command} --trace trace.txt")
    return "\n".join(lines)


def _summary(totals: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in sorted(totals.items()))


def _run(seed: int, **options: Any) -> Result:
    return Simulation(seed, **options).run()


def _range(text: str) -> Iterable[int]:
    first, dash, last = text.partition("-")
    if dash and not last:
        return itertools.count(int(first))
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
