"""Broker settings that change while it runs, and after a restart are as they were changed to."""

from pathlib import Path

import pytest

from odradek.core.config.broker import broker_config
from odradek.core.config.values import ConfigError
from odradek.core.errors import ErrorCode
from tests.unit.broker.harness import Harness
from tests.unit.broker.test_incremental_alter_configs import alter, resource

SET, DELETE = 0, 1


def test_the_value_of_one_broker_goes_before_that_of_all(tmp_path: Path) -> None:
    harness = Harness(tmp_path, max_connections="10")
    told: list[int] = []
    harness.broker.on_config = lambda: told.append(harness.broker.config.max_connections)
    assert alter(harness, resource(4, "", ("max.connections", SET, "20"))) == [0]
    assert alter(harness, resource(4, "1", ("max.connections", SET, "30"))) == [0]
    assert told == [20, 30]
    harness.restart()
    assert harness.broker.config.max_connections == 30
    assert alter(harness, resource(4, "1", ("max.connections", DELETE, None))) == [0]
    assert harness.broker.config.max_connections == 20
    assert alter(harness, resource(4, "", ("max.connections", DELETE, None))) == [0]
    assert harness.broker.config.max_connections == 10
    assert harness.broker.config.static["max.connections"] == "10"
    harness.stop()


def test_producers_are_forgotten_after_the_new_time(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    assert alter(harness, resource(4, "1", ("producer.id.expiration.ms", SET, "5000"))) == [0]
    assert harness.broker.store.volume.producer_expiration_ms == 5_000
    harness.restart()
    assert harness.broker.store.volume.producer_expiration_ms == 5_000
    harness.stop()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max.connections.per.ip.overrides", "nowhere:many"),
        ("listeners", "PLAINTEXT://127.0.0.1"),
        ("listeners", "SECURE://127.0.0.1:0"),
        ("listener.security.protocol.map", "PLAINTEXT:SSL"),
        ("num.partitions", "3"),
    ],
)
def test_what_could_not_be_put_into_force_is_refused(tmp_path: Path, key: str, value: str) -> None:
    harness = Harness(tmp_path)
    assert alter(harness, resource(4, "1", (key, SET, value))) == [ErrorCode.INVALID_REQUEST]
    assert harness.broker.image.configs == {}
    harness.stop()


def test_a_config_follows_and_goes_back() -> None:
    config = broker_config({"max.connections.per.ip": "5"})
    config.follow({"max.connections.per.ip": "7", "listeners": "PLAINTEXT://127.0.0.1:7"})
    assert (config.max_connections_per_ip, config.listeners[0].port) == (7, 7)
    with pytest.raises(ConfigError):
        config.follow({"max.connections.per.ip": "-1"})
    assert config.max_connections_per_ip == 7
    config.follow({})
    assert (config.max_connections_per_ip, config.listeners[0].port) == (5, 9092)
