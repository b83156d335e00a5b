"""The log counter's whole story, on the access log of a real web server and a real broker."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.examples.access_log import LoggedServer
from tests.examples.conftest import EXAMPLES
from tests.support.broker_process import BrokerProcess

PROGRAM = EXAMPLES / "log_counter.py"
SESSION_TIMEOUT_MS = 6000
"""The client's 45 s would make the survivors wait that long; 6 s is the least that brokers allow."""
STEP_TIMEOUT_S = 90.0
PARTITIONS = 6
PATH_WORD = 7
MINUTES = 4


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    broker = BrokerProcess(tmp_path / "data").start()
    yield broker
    broker.kill()


class Running:
    """The example in a process; what it says is read line by line."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.said: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def await_line(self, pattern: str) -> re.Match[str]:
        """The next line with ``pattern`` in it; fails when it does not come in time."""
        deadline = time.monotonic() + STEP_TIMEOUT_S
        while (line := self._next(deadline)) is not None:
            if found := re.search(pattern, line):
                return found
        pytest.fail(f"ended without saying {pattern!r}:\n" + "\n".join(self.said))

    def await_end(self) -> int:
        deadline = time.monotonic() + STEP_TIMEOUT_S
        while self._next(deadline) is not None:
            pass
        return self._process.wait(STEP_TIMEOUT_S)

    def interrupt(self) -> None:
        """As Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Stops it, and by that the members that it has started."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _next(self, deadline: float) -> str | None:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            pytest.fail(f"nothing more in {STEP_TIMEOUT_S} s after:\n" + "\n".join(self.said))
        if line is not None:
            self.said.append(line)
        return line

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def minute_in(line: str) -> str:
    """The minute of a line of http.server's access log, found in another way than the example does."""
    text = line.split("[", 1)[1].split("]", 1)[0]
    return datetime.strptime(text, "%d/%b/%Y %H:%M:%S").strftime("%Y-%m-%d %H:%M")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def lines_in_topic(bootstrap: str, topic: str) -> dict[tuple[int, int], str]:
    """Every record of ``topic`` by (partition, offset), read without a group."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader-of-the-test"})
    lines: dict[tuple[int, int], str] = {}
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 60)[1] for p in range(PARTITIONS)}
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    deadline = time.monotonic() + STEP_TIMEOUT_S
    while len(lines) < sum(ends.values()) and time.monotonic() < deadline:
        for message in consumer.consume(500, 0.2):
            assert message.error() is None
            partition, offset, value = message.partition(), message.offset(), message.value()
            assert partition is not None
            assert offset is not None
            assert value is not None
            lines[partition, offset] = value.decode()
    consumer.close()
    assert {partition for partition, _ in lines} == {p for p, end in ends.items() if end}
    return lines


def written_down(folder: Path) -> list[tuple[str, int, int, str]]:
    """(member, partition, offset, minute) of every complete line that a member has written."""
    rows = []
    for path in sorted(folder.iterdir()):
        for line in path.read_text().split("\n")[:-1]:
            partition, offset, minute = line.split("\t")
            rows.append((path.stem, int(partition), int(offset), minute))
    return rows


@pytest.mark.clients
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_line_is_counted_once_though_a_member_is_killed_and_comes_back(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    log_path, pages, results = tmp_path / "access.log", tmp_path / "pages", tmp_path / "results"
    pages.mkdir()
    for minutes_east in range(MINUTES - 1):
        with LoggedServer(pages, log_path, minutes_east) as server:
            server.get_pages(150)
    arguments = ["demo", str(log_path), "--follow", "--key", str(PATH_WORD), "--results", str(results)]
    arguments += ["--partitions", str(PARTITIONS), "--session-timeout-ms", str(SESSION_TIMEOUT_MS)]
    demo = Running(*arguments, "--bootstrap", broker.bootstrap, cwd=tmp_path)
    try:
        with LoggedServer(pages, log_path, MINUTES - 1) as server:
            demo.await_line("the group has 3 members")
            dead, dead_pid = demo.await_line(r"(member-\d) was killed \(process (\d+)").groups()
            assert not is_alive(int(dead_pid))
            server.get_pages(100)
            demo.await_line("the group has 2 members")
            back_pid = int(demo.await_line(rf"{dead} came back \(process (\d+)").group(1))
            assert back_pid != int(dead_pid)
            assert is_alive(back_pid)
            demo.await_line("the group has 3 members")
            demo.await_line("following the file")
            server.get_pages(100)
        demo.interrupt()
        assert demo.await_end() == 0, "\n".join(demo.said)
    finally:
        demo.close()

    figures = json.loads(next(line for line in demo.said if line.startswith("{")))
    file_lines = log_path.read_text().splitlines()
    published = lines_in_topic(broker.bootstrap, figures["topic"])
    assert Counter(published.values()) == Counter(file_lines)

    rows = written_down(results)
    counted = {(partition, offset): minute for _, partition, offset, minute in rows}
    assert counted == {place: minute_in(line) for place, line in published.items()}
    per_minute = Counter(minute_in(line) for line in file_lines)
    assert Counter(counted.values()) == per_minute
    assert len(per_minute) >= MINUTES
    assert {member for member, *_ in rows} == {"member-1", "member-2", "member-3"}
    own_places = Counter((member, partition, offset) for member, partition, offset, _ in rows)
    assert figures["written_again"] == len(rows) - len(counted)
    assert own_places.total() == sum(figures["written_by"].values())
    since_back = int(next(line for line in demo.said if "since it came back" in line).split()[2])
    assert since_back > 0


def test_publish_count_and_totals_work_by_themselves(broker: BrokerProcess, tmp_path: Path) -> None:
    log_path = tmp_path / "some.log"
    log_path.write_text("2026-11-24T03:31:42 a one\n2026-11-24T03:31:59 b two\n2026-11-24T03:32:00 a three")
    common = ["--bootstrap", broker.bootstrap]
    publish = Running("publish", str(log_path), "--key", "2", *common, cwd=tmp_path)
    assert publish.await_end() == 0
    assert "published 3 lines to log-lines" in publish.said
    member = Running("count", "--group", "g", "--name", "me", *common, cwd=tmp_path)
    try:
        deadline = time.monotonic() + STEP_TIMEOUT_S
        counts = tmp_path / "log-counts" / "g" / "me.counts"
        while not counts.exists() or counts.read_text().count("\n") < 3:
            assert time.monotonic() < deadline, member.said
            time.sleep(0.02)
        member.interrupt()
        assert member.await_end() == 0
    finally:
        member.close()
    totals = Running("totals", "--group", "g", cwd=tmp_path)
    assert totals.await_end() == 0
    assert [line.split()[:3] for line in totals.said[:2]] == [
        ["2026-11-24", "03:31", "2"],
        ["2026-11-24", "03:32", "1"],
    ]
