"""Counts the lines of a log per minute: a publisher that follows the file, and a group of counters.

    python examples/log_counter.py publish FILE [--follow] [--key N]
    python examples/log_counter.py count --group GROUP      (in as many terminals as you like)
    python examples/log_counter.py totals --group GROUP
    python examples/log_counter.py demo FILE

Needs a broker (`odradek serve`) and `pip install confluent-kafka`. See examples/README.md.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException
from log_counting.counts import Tally
from log_counting.demo import Demo
from log_counting.member import count
from log_counting.publisher import LogPublisher, make_topic
from log_counting.reader import LogReader

FOLLOW_EVERY_S = 0.2


def main() -> int:
    """Run the command line; 0 done, 1 failed or the check did not hold, 2 the command line makes no sense."""
    options = _parser().parse_args()
    try:
        return options.run(options)  # type: ignore[no-any-return]
    except (KafkaException, OSError, RuntimeError) as error:
        print(f"log_counter: {error}", file=sys.stderr)
        return 1


def _publish(options: argparse.Namespace) -> int:
    reader = LogReader(options.file)
    make_topic(options.bootstrap, options.topic, options.partitions)
    publisher = LogPublisher(options.bootstrap, options.topic, key_word=options.key)
    is_stopped = _stop_on_signals()
    while True:
        lines = reader.read_lines()
        for line in lines:
            publisher.publish(line)
        if not lines:
            if not options.follow or is_stopped():
                break
            publisher.serve(FOLLOW_EVERY_S)
    for line in reader.last_lines():
        publisher.publish(line)
    publisher.flush()
    print(f"published {publisher.acknowledged} lines to {options.topic}")
    return 0


def _count(options: argparse.Namespace) -> int:
    count(
        options.bootstrap,
        options.topic,
        options.group,
        name=options.name,
        folder=options.results or _results_of(options.group),
        should_stop=_stop_on_signals(),
        session_timeout_ms=options.session_timeout_ms,
    )
    return 0


def _totals(options: argparse.Namespace) -> int:
    tally = Tally(options.results or _results_of(options.group)).refresh()
    for minute, lines in sorted(tally.per_minute().items()):
        print(f"{minute}  {lines:>8}")
    print(f"all               {len(tally.minutes):>8}   (written again after redelivery: {tally.repeated})")
    return 0


def _demo(options: argparse.Namespace) -> int:
    name = f"log-counter-{time.time_ns() // 1_000_000}"
    demo = Demo(
        options.bootstrap,
        options.file,
        options.results or _results_of(name),
        name=name,
        partitions=options.partitions,
        key_word=options.key,
        session_timeout_ms=options.session_timeout_ms,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    is_stopped = _stop_on_signals(signal.SIGINT) if options.follow else lambda: True
    problems = demo.run(lambda: not is_stopped())
    print(demo.table())
    print(demo.summary())
    for problem in problems:
        print(problem, file=sys.stderr)
    print("every line counted once, none skipped" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


def _stop_on_signals(*signals: signal.Signals) -> Callable[[], bool]:
    """Whether one of ``signals`` (SIGTERM, SIGINT) has come since this call."""
    came: list[int] = []
    for number in signals or (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: came.append(number))
    return lambda: bool(came)


def _results_of(group: str) -> Path:
    return Path("log-counts") / group


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Counts the lines of a log per minute, through a Kafka broker."
    )
    commands = parser.add_subparsers(required=True, metavar="publish|count|totals|demo")

    publish = commands.add_parser("publish", help="publish a file line by line")
    publish.set_defaults(run=_publish)
    counter = commands.add_parser("count", help="count as one member of a group, until Ctrl-C")
    counter.set_defaults(run=_count)
    counter.add_argument("--group", required=True)
    counter.add_argument(
        "--name", default=f"member-{os.getpid()}", help="names the client and its file of counts"
    )
    totals = commands.add_parser("totals", help="print the lines per minute that a group has counted")
    totals.set_defaults(run=_totals)
    totals.add_argument("--group", required=True)
    demo = commands.add_parser("demo", help="publish, count with three members, kill one, check the sum")
    demo.set_defaults(run=_demo)

    for command in (publish, demo):
        command.add_argument("file", type=Path, metavar="FILE")
        command.add_argument(
            "--follow", action="store_true", help="go on with what is appended, until Ctrl-C"
        )
        command.add_argument(
            "--key", type=_positive, default=1, metavar="N", help="the word that is the key (1)"
        )
        command.add_argument("--partitions", type=_positive, default=6, help="of a new topic (6)")
    for command in (publish, counter):
        command.add_argument("--topic", default="log-lines", help="(log-lines)")
    for command in (counter, demo):
        command.add_argument("--session-timeout-ms", type=_positive, help="(the client library's: 45000)")
    for command in (counter, totals, demo):
        command.add_argument("--results", type=Path, metavar="FOLDER", help="(log-counts/GROUP)")
    for command in (publish, counter, demo):
        command.add_argument(
            "--bootstrap",
            default=os.environ.get("ODRADEK_BOOTSTRAP", "localhost:9092"),
            metavar="HOST:PORT",
            help="(the variable ODRADEK_BOOTSTRAP, else localhost:9092)",
        )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
