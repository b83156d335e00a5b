"""Log levels through the config APIs, with Kafka's codes."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from tests.unit.broker.harness import Harness
from tests.unit.broker.test_describe_configs import describe
from tests.unit.broker.test_incremental_alter_configs import alter, resource

SET, DELETE, APPEND = 0, 1, 2


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path)
    before = {name: logging.getLogger(name).level for name in ("odradek.fetch", "odradek.topics")}
    yield harness
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    harness.stop()


def level(harness: Harness, name: str) -> str | None:
    (entry,) = (entry for entry in describe(harness, 8, "1").configs if entry.name == name)
    return entry.value


def test_set_and_unset(harness: Harness) -> None:
    usual = level(harness, "odradek.topics")
    assert alter(harness, resource(8, "1", ("odradek.topics", SET, "TRACE"))) == [0]
    assert level(harness, "odradek.topics") == "TRACE"
    assert logging.getLogger("odradek.topics").level == 5
    assert alter(harness, resource(8, "1", ("odradek.topics", DELETE, None))) == [0]
    assert level(harness, "odradek.topics") == usual


def test_only_looked_at(harness: Harness) -> None:
    assert alter(harness, resource(8, "1", ("odradek.topics", SET, "FATAL")), validate=True) == [0]
    assert level(harness, "odradek.topics") != "FATAL"


def test_beside_a_topic_in_one_request(harness: Harness) -> None:
    changed = alter(
        harness,
        resource(2, "no such topic", ("retention.ms", SET, "5")),
        resource(8, "1", ("odradek.topics", SET, "ERROR")),
    )
    assert changed[1] == 0
    assert changed[0] != 0
    assert level(harness, "odradek.topics") == "ERROR"


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("1", ("no.such.logger", SET, "INFO"), ErrorCode.INVALID_CONFIG),
        ("1", ("odradek.topics", SET, "LOUD"), ErrorCode.INVALID_CONFIG),
        ("1", ("root", DELETE, None), ErrorCode.INVALID_REQUEST),
        ("1", ("odradek.topics", APPEND, "INFO"), ErrorCode.INVALID_REQUEST),
        ("1", ("odradek.topics", 9, "INFO"), ErrorCode.INVALID_REQUEST),
        ("1", ("odradek.topics", SET, None), ErrorCode.INVALID_REQUEST),
        ("1", ("odradek.fetch", SET, "INFO"), ErrorCode.INVALID_REQUEST),
        ("2", ("odradek.topics", SET, "INFO"), ErrorCode.INVALID_REQUEST),
        ("one", ("odradek.topics", SET, "INFO"), ErrorCode.INVALID_REQUEST),
    ],
)
def test_refusals(harness: Harness, name: str, change: tuple[str, int, str | None], code: ErrorCode) -> None:
    before = level(harness, "odradek.topics")
    assert alter(harness, resource(8, name, ("odradek.fetch", SET, "DEBUG"), change)) == [code]
    assert level(harness, "odradek.topics") == before
    assert level(harness, "odradek.fetch") != "DEBUG"
