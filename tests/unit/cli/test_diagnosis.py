"""What the doctor concludes."""

import pytest

from odradek.cli import diagnosis
from odradek.cli.diagnosis import Finding, TopicUse
from odradek.cli.machine import FlushTimes, OpenFiles


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_addresses() -> None:
    told = {1: "localhost:9092", 2: "kafka.example:9092", 3: "gone.example:9092"}
    reachable = {1: True, 2: True, 3: False}
    assert levels(diagnosis.address("10.1.2.3", told, reachable)) == ["problem", "ok", "problem"]
    assert levels(diagnosis.address("localhost", told, reachable)) == ["ok", "ok", "problem"]


@pytest.mark.parametrize(
    ("usable", "grown", "level", "says"),
    [
        (10, 0, "problem", "left"),
        (500, 0, "ok", "does not grow"),
        (500, -5, "ok", "does not grow"),
        (500, 100, "warning", "full in 10 seconds"),
        (900, 1, "warning", "full in 29 minutes"),
    ],
)
def test_disk(usable: int, grown: int, level: str, says: str) -> None:
    found = diagnosis.disk("/data", 1000, usable, 20, grown, 2.0)
    assert found.level == level
    assert says in found.text


def test_a_disk_that_lasts() -> None:
    assert diagnosis.disk("/data", 1 << 40, 1 << 39, 1 << 30, 1024, 1.0).level == "ok"


def test_retention() -> None:
    assert levels(diagnosis.retention(1000, 10, [])) == ["ok"]
    found = diagnosis.retention(1000, 2000, [f"t{number}" for number in range(7)])
    assert levels(found) == ["warning", "hint"]
    assert "and 2 more" in found[1].text


def test_flushes_and_files() -> None:
    assert diagnosis.flushes("/d", FlushTimes(0.001, 0.01)).level == "ok"
    assert diagnosis.flushes("/d", FlushTimes(0.05, 0.1)).level == "warning"
    assert diagnosis.files(OpenFiles(100, 100_000), 50).level == "ok"
    assert diagnosis.files(OpenFiles(900, 1_024), 5).level == "warning"
    assert diagnosis.files(OpenFiles(10, 10_000), 10_000).level == "warning"


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        (TopicUse("t", 64, 0, 2, False), "at most 2 members"),
        (TopicUse("t", 64, 0, 0, False), "more than 32 per broker"),
        (TopicUse("t", 12, 11, 0, False), "11 of them never had a record"),
        (TopicUse("t", 12, 12, 0, False), None),
        (TopicUse("t", 8, 0, 1, False), None),
        (TopicUse("__consumer_offsets", 50, 49, 0, True), None),
    ],
)
def test_partitions(topic: TopicUse, says: str | None) -> None:
    (found,) = diagnosis.partitions([topic], 1)
    assert (found.level, says is None or says in found.text) == ("ok" if says is None else "hint", True)


def test_settings() -> None:
    risky = {
        "log.dirs": "/tmp/kafka-logs",
        "listeners": "PLAINTEXT://0.0.0.0:9092",
        "log.flush.interval.messages": "9223372036854775807",
        "auto.create.topics.enable": "true",
        "message.max.bytes": "2000",
        "socket.request.max.bytes": "1000",
    }
    assert levels(diagnosis.settings(risky)) == ["problem", "warning", "warning", "hint", "warning"]
    sound = {
        "log.dirs": "/var/lib/odradek",
        "listeners": "PLAINTEXT://10.0.0.1:9092",
        "log.flush.interval.messages": "1",
        "auto.create.topics.enable": "false",
        "message.max.bytes": "1000",
        "socket.request.max.bytes": "1000",
    }
    assert levels(diagnosis.settings(sound)) == ["ok"]


def test_clock() -> None:
    assert levels(diagnosis.clock(None, {"t": 1_000}, 1_000)) == ["ok"]
    found = diagnosis.clock(False, {"t": 7_201_000}, 1_000)
    assert levels(found) == ["warning", "warning"]
    assert "2 hours ahead" in found[1].text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 seconds"), (150, "2 minutes"), (7_200, "2 hours"), (864_000, "10 days"), (1e12, "many years")],
)
def test_durations(seconds: float, text: str) -> None:
    assert diagnosis.duration(seconds) == text
