"""Values that are right by themselves and wrong together, or where they end up. Kafka refuses most of it."""

import pytest

from odradek.core.config.broker import broker_config
from odradek.core.config.checks import CHANGED_IN_STEPS
from odradek.core.config.values import ConfigError
from odradek.core.errors import StartupError

QUEUED, LARGEST = "queued.max.request.bytes", "socket.request.max.bytes"
DEDUPE, THREADS = "log.cleaner.dedupe.buffer.size", "log.cleaner.threads"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"log.retention.ms": "0"}, "log.retention.ms=0 would delete all there is"),
        ({"log.retention.minutes": "0"}, "log.retention.minutes=0 would delete"),
        ({"log.retention.hours": "0"}, "log.retention.hours=0 would delete"),
        ({"log.roll.ms": "0"}, "log.roll.ms: Value must be at least 1"),
        ({"log.roll.jitter.ms": "-1"}, "log.roll.jitter.ms: Value must be at least 0"),
        ({THREADS: "0"}, "log.cleaner.enable=false ends compaction"),
        ({DEDUPE: "1048576"}, "must have more than 1048576"),
        ({DEDUPE: "2097152", THREADS: "2"}, "each of log.cleaner.threads=2 must have more"),
        ({"max.connections.per.ip": "0"}, "lets nobody in"),
        (
            {QUEUED: "104857599"},
            "queued.max.request.bytes=104857599 has no room for socket.request.max.bytes=104857600",
        ),
        ({QUEUED: "999", LARGEST: "1000"}, "has no room for socket.request.max.bytes=1000"),
        (
            {"offsets.topic.segment.bytes": "1048575"},
            "offsets.topic.segment.bytes=1048575: __consumer_offsets could not be made with it. Invalid value"
            " 1048575 for configuration segment.bytes: Value must be at least 1048576",
        ),
        ({"transaction.state.log.segment.bytes": "1"}, "__transaction_state could not be made with it"),
    ],
)
def test_what_cannot_work_is_refused(overrides: dict[str, str], reason: str) -> None:
    with pytest.raises(StartupError) as caught:
        broker_config(overrides)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"log.retention.ms": "-1"},
        {"log.retention.ms": "1", "log.retention.hours": "0"},
        {"log.retention.hours": "-3"},
        {"log.roll.ms": "1", "log.roll.jitter.ms": "0"},
        {DEDUPE: "1048577"},
        {DEDUPE: "2097154", THREADS: "2"},
        {"max.connections.per.ip": "0", "max.connections.per.ip.overrides": "127.0.0.1:5"},
        {QUEUED: "0"},
        {QUEUED: "-5"},
        {QUEUED: "1000", LARGEST: "1000"},
        {"offsets.topic.segment.bytes": "1048576", "transaction.state.log.segment.bytes": "1048576"},
    ],
)
def test_what_just_works_is_taken(overrides: dict[str, str]) -> None:
    broker_config(overrides)


def test_what_is_set_while_the_broker_runs_is_checked_with_the_rest() -> None:
    config = broker_config({THREADS: "4"})
    with pytest.raises(ConfigError, match=r"each of log\.cleaner\.threads=4"):
        config.with_dynamic({DEDUPE: "4194304"})
    config.follow({DEDUPE: "4194308"})
    assert config.log_cleaner_dedupe_buffer_size == 4_194_308


@pytest.mark.parametrize("name", CHANGED_IN_STEPS)
def test_threads_are_at_most_doubled_or_halved_while_the_broker_runs(name: str) -> None:
    config = broker_config({name: "5"})
    for value in ("2", "5", "10"):
        config.check_change({name: value})
    for value in ("1", "11"):
        with pytest.raises(ConfigError, match=rf"{name}={value}: from 5 .* to 2 at least and to 10 at most"):
            config.check_change({name: value})


def test_threads_go_from_what_is_in_force() -> None:
    config = broker_config({})
    config.follow({THREADS: "8"})  # as it is found at a start, from wherever
    with pytest.raises(ConfigError, match=r"from 8 .* to 4 at least"):
        config.check_change({})
    config.check_change({THREADS: "8", "log.cleaner.backoff.ms": "15001"})
