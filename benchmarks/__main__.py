"""`python -m benchmarks [run]`, `table`, `list` and `profile CASE`."""

import argparse
import contextlib
import datetime
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import machine, report, results
from benchmarks.admin import BrokerError
from benchmarks.brokers import Broker, compile_odradek, running_kafka, running_odradek
from benchmarks.cases import CASES, Case, by_name
from benchmarks.generator import Generator, GeneratorError, compile_generator
from benchmarks.host_memory import host_takes_back_free_memory, kept_from_the_host
from benchmarks.measure import Bench
from benchmarks.peers import ROOT, PeerMissingError, kafka_jars
from benchmarks.profile import KINDS, ProfileError, profile
from benchmarks.rounds import Comparison, Schedule

SCRATCH_PARENT = ROOT / "build" / "benchmarks"
PINNING = ("none", "generator", "split")


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code: int = options.run(options)
    except (
        BrokerError,
        GeneratorError,
        PeerMissingError,
        ProfileError,
        FileNotFoundError,
        ValueError,
    ) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(title="commands")
    run_parser = commands.add_parser("run", help="measure and compare (the default)")
    for one in (parser, run_parser):
        one.add_argument(
            "--only", metavar="CASES", help="comma-separated names, a trailing * matches the rest"
        )
        one.add_argument("--seconds", type=float, help="of each window (default 4)")
        one.add_argument("--rounds", type=int, help="on each broker (default 5)")
        one.add_argument("--warm", type=float, help="seconds for the JVM before each case (default 10)")
        one.add_argument("--records", type=int, help="for the real clients, 1 KB each (default 500,000)")
        one.add_argument("--quick", action="store_true", help="one short round: does it work?")
        one.add_argument(
            "--pin", choices=PINNING, default="none", help="generator, or also the brokers, to cores"
        )
        one.add_argument("--name", help="of the saved result (default: the cpu; --quick saves none)")
        one.add_argument("--add", action="store_true", help="to today's result of that name, not a new one")
        one.add_argument(
            "--candidate", choices=("odradek", "kafka"), default="odradek", help="kafka: noise floor"
        )
    run_parser.set_defaults(run=run)
    commands.add_parser("list", help="the cases").set_defaults(run=list_cases)
    commands.add_parser("table", help="the newest result, short, as Markdown").set_defaults(run=table)
    profile_parser = commands.add_parser("profile", help="where Odradek's time goes in a case")
    profile_parser.add_argument("case", choices=[case.name for case in CASES])
    profile_parser.add_argument("--with", dest="kind", choices=KINDS, default="cprofile")
    profile_parser.add_argument("--seconds", type=float, default=5.0)
    profile_parser.add_argument("--top", type=int, default=30)
    profile_parser.set_defaults(run=profile_case)
    return parser


def selected(only: str | None) -> list[Case]:
    """Raises FileNotFoundError for a pattern that matches nothing."""
    if not only:
        return list(CASES)
    chosen = set()
    for pattern in only.split(","):
        matches = {case.name for case in CASES if case.name == pattern or _matches(case.name, pattern)}
        if not matches:
            raise FileNotFoundError(f"no case is called {pattern}; see the list command")
        chosen |= matches
    return [case for case in CASES if case.name in chosen]


def _matches(name: str, pattern: str) -> bool:
    return pattern.endswith("*") and name.startswith(pattern[:-1])


def list_cases(_: argparse.Namespace) -> int:
    for case in CASES:
        print(f"{case.name:28}{case.title}")
    return 0


def table(_: argparse.Namespace) -> int:
    print(report.summary(results.newest()))
    return 0


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder on the disk that holds the repository, not in a memory file system; removed at the end."""
    SCRATCH_PARENT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH_PARENT, prefix="run-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run(options: argparse.Namespace) -> int:
    quick = options.quick
    warm_s = options.warm if options.warm is not None else (1.0 if quick else 10.0)
    schedule = Schedule(
        seconds=options.seconds or (1.0 if quick else 4.0),
        rounds=options.rounds or (1 if quick else 5),
        warm_s=warm_s,
        candidate_warm_s=warm_s if options.candidate == "kafka" else warm_s / 10,
        patience_s=0.0 if quick else 30.0,
    )
    cases = selected(options.only)
    records = options.records or (20_000 if quick else 500_000)
    program, jars = compile_generator(), kafka_jars()
    compile_odradek()
    cores = sorted(os.sched_getaffinity(0))
    pinned = options.pin != "none" and len(cores) > 1
    hold = host_takes_back_free_memory() and not quick
    with _scratch() as scratch, kept_from_the_host() if hold else contextlib.nullcontext():
        described = machine.describe(scratch, jars)
        outcome = results.Results(
            name=options.name or _slug(described["cpu"]),
            date=datetime.date.today().isoformat(),
            machine=described,
            settings={
                "window": f"{schedule.seconds:g} s, at most 1 GiB written",
                "rounds": schedule.rounds,
                "warm-up": f"Kafka {warm_s:g} s, {options.candidate} {schedule.candidate_warm_s:g} s",
                "records for real clients": records,
                "pinning": options.pin if pinned else "none",
                "free memory kept from the host": "yes" if hold else "no",
                "candidate": options.candidate,
            },
        )
        bench = Bench(Generator(program, scratch, cores[-1] if pinned else None), jars, scratch, records)

        @contextlib.contextmanager
        def start(name: str) -> Iterator[Broker]:
            launch = running_odradek(scratch) if name == "odradek" else running_kafka(jars, scratch)
            with launch as broker:
                if options.pin == "split" and pinned:
                    broker.pin(set(cores[:-1]))
                yield broker

        comparison = Comparison(bench, schedule, lambda: start("kafka"), lambda: start(options.candidate))
        keeps = options.name or not quick
        if options.add:
            outcome.take_over(results.load(outcome.path))
        for result in comparison.run(cases):
            outcome.put(result)
            if keeps:
                outcome.save()  # a run that is cut short has its cases
    report.print_table(outcome)
    if keeps:
        path = outcome.path
        path.with_suffix(".md").write_text(report.markdown(outcome))
        report.plot(outcome, path.with_suffix(".png"))
        print(f"saved as {path.name} under benchmarks/results")
    return 1 if any(case.error for case in outcome.cases) else 0


def profile_case(options: argparse.Namespace) -> int:
    with _scratch() as scratch:
        bench = Bench(Generator(compile_generator(), scratch), kafka_jars(), scratch, client_records=200_000)
        profile(by_name(options.case), bench, kind=options.kind, seconds=options.seconds, top=options.top)
    return 0


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
