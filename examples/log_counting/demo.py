"""The whole story: publish, count in a group of three, kill one member, let it come back, check the sum."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from log_counting.counts import Tally
from log_counting.minutes import minute_of
from log_counting.publisher import LogPublisher, make_topic
from log_counting.reader import LogReader

PROGRAM = Path(__file__).parent.parent / "log_counter.py"
MEMBERS = ("member-1", "member-2", "member-3")
DEFAULT_SESSION_TIMEOUT_MS = 45_000
GRACE_S = 40.0
"""How much longer than a session timeout anything may take; a rebalance takes a few seconds."""
LOOK_EVERY_S = 0.05


class Demo:
    """One run over the log at ``path``; a new topic and a new group each time, both called ``name``."""

    def __init__(
        self,
        bootstrap: str,
        path: Path,
        folder: Path,
        *,
        name: str,
        partitions: int,
        key_word: int,
        session_timeout_ms: int | None,
    ) -> None:
        self._bootstrap = bootstrap
        self._reader = LogReader(path)
        self._folder = folder
        self._name = name
        self._session_timeout_ms = session_timeout_ms
        self._members: dict[str, subprocess.Popen[bytes]] = {}
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._expected: dict[tuple[int, int], str] = {}
        make_topic(bootstrap, name, partitions)
        self._publisher = LogPublisher(bootstrap, name, key_word=key_word, on_delivered=self._delivered)
        self._tally = Tally(folder)

    def run(self, should_go_on: Callable[[], bool]) -> list[str]:
        """Play it to the end; what is wrong with the result, one line each.

        What the file holds at first is published in three parts: before the kill, while one member is dead,
        and after it came back. Then what else comes, until ``should_go_on()`` is false. Raises
        ``TimeoutError`` for a step that does not come about, ``KafkaException`` from the library.
        """
        try:
            lines = self._lines_at_first()
            third = -(-len(lines) // 3)
            for member in MEMBERS:
                self._start(member)
            self._await_group(MEMBERS)
            self._publish(lines[:third], "while all three count")
            self._await(lambda: bool(self._tally.refresh().written), "somebody to count")
            victim = max(MEMBERS, key=self._tally.written.__getitem__)
            self._kill(victim)
            self._publish(lines[third : 2 * third], f"while {victim} is dead")
            self._await_group([member for member in MEMBERS if member != victim])
            self._await_all_counted()
            self._say("the other two have counted all that was published")
            self._start(victim, "came back")
            self._await_group(MEMBERS)
            written_before = self._tally.refresh().written[victim]
            self._publish(lines[2 * third :], f"after {victim} came back")
            self._follow(should_go_on)
            self._await_all_counted()
            written = self._tally.written[victim] - written_before
            self._say(f"{victim} counted {written} lines since it came back")
            self._stop_members()
        finally:
            self._kill_members()
        return self._problems()

    def table(self) -> str:
        """The counted lines per minute, and how many of them the file has."""
        counted, in_file = self._tally.per_minute(), Counter(self._expected.values())
        rows = [("minute", "counted", "in the file")]
        rows += [(m, str(counted[m]), str(in_file[m])) for m in sorted({*counted, *in_file})]
        rows += [("all", str(counted.total()), str(in_file.total()))]
        return "\n".join(f"{minute:<18}{left:>9}{right:>13}" for minute, left, right in rows)

    def summary(self) -> str:
        """The figures of the run, as one line of JSON."""
        figures = {
            "topic": self._name,
            "lines": len(self._expected),
            "minutes": len(set(self._expected.values())),
            "counted": len(self._tally.minutes),
            "written_again": self._tally.repeated,
            "written_by": dict(sorted(self._tally.written.items())),
        }
        return json.dumps(figures)

    def _lines_at_first(self) -> list[bytes]:
        lines: list[bytes] = []
        while more := self._reader.read_lines():
            lines += more
        return lines

    def _follow(self, should_go_on: Callable[[], bool]) -> None:
        if should_go_on():
            self._say("following the file; Ctrl-C ends it")
        last_look = False
        while True:
            lines = self._reader.read_lines()
            for line in lines:
                self._publisher.publish(line)
            if not lines:
                if last_look:
                    break
                last_look = not should_go_on()
                self._publisher.serve(LOOK_EVERY_S)
        self._publish(self._reader.last_lines(), "that the file ends with")

    def _publish(self, lines: list[bytes], when: str) -> None:
        for line in lines:
            self._publisher.publish(line)
        self._publisher.flush()
        if lines:
            self._say(f"published {len(lines)} lines {when}")

    def _delivered(self, partition: int, offset: int, line: bytes, arrival_ms: int) -> None:
        self._expected[partition, offset] = minute_of(line, arrival_ms)

    def _start(self, member: str, what: str = "started") -> None:
        command = [sys.executable, str(PROGRAM), "count", "--bootstrap", self._bootstrap]
        command += ["--topic", self._name, "--group", self._name]
        command += ["--name", member, "--results", str(self._folder)]
        if self._session_timeout_ms is not None:
            command += ["--session-timeout-ms", str(self._session_timeout_ms)]
        # Its own session, so that Ctrl-C ends the following and not the counting.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        self._members[member] = process
        self._say(f"{member} {what} (process {process.pid})")

    def _kill(self, member: str) -> None:
        process = self._members.pop(member)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._say(f"{member} was killed (process {process.pid}, SIGKILL)")

    def _stop_members(self) -> None:
        for process in self._members.values():
            process.terminate()
        for member, process in self._members.items():
            if code := process.wait(GRACE_S):
                raise RuntimeError(f"{member} ended with {code}")
        self._members.clear()
        self._tally.refresh()

    def _kill_members(self) -> None:
        for process in self._members.values():
            process.kill()
            process.wait()

    def _await_group(self, members: tuple[str, ...] | list[str]) -> None:
        """Until the group consists of just ``members``, each with partitions, as the broker says."""
        wanted = sorted(members)

        def is_so() -> bool:
            group = self._admin.describe_consumer_groups([self._name])[self._name].result()
            have = [member.client_id for member in group.members if member.assignment.topic_partitions]
            return (
                group.state == ConsumerGroupState.STABLE
                and len(group.members) == len(wanted)
                and sorted(have) == wanted
            )

        self._await(is_so, f"a group of {', '.join(wanted)}")
        self._say(f"the group has {len(wanted)} members: {', '.join(wanted)}")

    def _await_all_counted(self) -> None:
        self._await(
            lambda: self._expected.keys() <= self._tally.refresh().minutes.keys(), "every line to be counted"
        )

    def _await(self, is_so: Callable[[], bool], what: str) -> None:
        timeout_s = (self._session_timeout_ms or DEFAULT_SESSION_TIMEOUT_MS) / 1000 + GRACE_S
        deadline = time.monotonic() + timeout_s
        while not is_so():
            for member, process in self._members.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{member} ended by itself with {process.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout_s:.0f} s for {what}")
            time.sleep(LOOK_EVERY_S)

    def _problems(self) -> list[str]:
        counted, expected = self._tally.minutes, self._expected
        problems = []
        if len(expected) != self._publisher.published:
            problems.append(
                f"{self._publisher.published} lines published, {len(expected)} places in the topic"
            )
        for place in sorted(expected.keys() | counted.keys()):
            if place not in counted:
                problems.append(f"partition {place[0]} offset {place[1]} was not counted")
            elif place not in expected:
                problems.append(f"partition {place[0]} offset {place[1]} was counted and never published")
            elif counted[place] != expected[place]:
                problems.append(f"{place} was counted in {counted[place]} and belongs to {expected[place]}")
        return problems

    def _say(self, what: str) -> None:
        print(f"{what}\n", end="", flush=True)
