"""Bounds on group configs; the reasons are those of a running Kafka 4.3."""

import pytest

from odradek.core.config.broker import broker_config
from odradek.core.config.groups import (
    ConsumerGroupConfig,
    consumer_group_config,
    validate_group,
    validate_group_defaults,
)
from odradek.core.config.layers import BrokerLayers
from odradek.core.config.values import ConfigError
from odradek.core.errors import StartupError

NOTHING = BrokerLayers({}, {}, {})
SESSION, HEARTBEAT = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"


def test_what_is_good() -> None:
    validate_group(NOTHING, {})
    validate_group(NOTHING, {SESSION: "60000", HEARTBEAT: "15000", "consumer.assignment.interval.ms": "0"})
    validate_group(NOTHING, {"share.auto.offset.reset": "by_duration:PT1H"})
    validate_group_defaults(NOTHING)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"foo": "1"}, "Unknown group config name: foo"),
        ({SESSION: "1", "foo": "1"}, "Unknown group config name: foo"),
        ({SESSION: "x"}, "Not a number of type INT"),
        ({SESSION: "0"}, "Value must be at least 1"),
        (
            {SESSION: "1000"},
            f"{SESSION} must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (
            {SESSION: "60001"},
            f"{SESSION} must be less than or equal to group.consumer.max.session.timeout.ms",
        ),
        ({HEARTBEAT: "4999"}, "greater than or equal to group.consumer.min.heartbeat.interval.ms"),
        (
            {"consumer.assignment.interval.ms": "15001"},
            "less than or equal to group.consumer.max.assignment.interval.ms",
        ),
        (
            {"share.partition.max.record.locks": "4001"},
            "less than or equal to group.share.max.partition.max.record.locks",
        ),
        (
            {"streams.num.standby.replicas": "3"},
            "must be less than or equal to group.streams.max.standby.replicas",
        ),
    ],
)
def test_refused(overrides: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        validate_group(NOTHING, overrides)


def test_a_session_outlasts_a_heartbeat() -> None:
    layers = BrokerLayers(
        {}, {}, {"group.consumer.min.session.timeout.ms": "1", "group.consumer.session.timeout.ms": "5001"}
    )
    validate_group(layers, {HEARTBEAT: "5000"})
    with pytest.raises(ConfigError, match=f"{SESSION} must be greater than {HEARTBEAT}"):
        validate_group(layers, {HEARTBEAT: "5001"})


def test_in_force() -> None:
    layers = BrokerLayers({}, {"group.consumer.assignment.interval.ms": "7"}, {})
    assert consumer_group_config(layers, {}) == ConsumerGroupConfig(45_000, 5_000, 7)
    assert consumer_group_config(layers, {SESSION: " 50000 "}) == ConsumerGroupConfig(50_000, 5_000, 7)


def test_an_override_beyond_later_bounds_counts_as_the_bound() -> None:
    layers = BrokerLayers(
        {},
        {},
        {
            "group.consumer.max.session.timeout.ms": "46000",
            "group.consumer.min.assignment.interval.ms": "300",
        },
    )
    overrides = {SESSION: "60000", "consumer.assignment.interval.ms": "0"}
    assert consumer_group_config(layers, overrides) == ConsumerGroupConfig(46_000, 5_000, 300)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"group.consumer.session.timeout.ms": "1000"},
            "group.consumer.session.timeout.ms must be greater than or equal to "
            "group.consumer.min.session.timeout.ms",
        ),
        (
            {"group.share.min.heartbeat.interval.ms": "20000"},
            "group.share.max.heartbeat.interval.ms must be greater than or equal to "
            "group.share.min.heartbeat.interval.ms",
        ),
        (
            {
                "group.streams.session.timeout.ms": "5000",
                "group.streams.min.session.timeout.ms": "1",
            },
            "group.streams.session.timeout.ms must be greater than group.streams.heartbeat.interval.ms",
        ),
    ],
)
def test_a_broker_whose_own_values_break_its_bounds_does_not_start(
    settings: dict[str, str], reason: str
) -> None:
    with pytest.raises(StartupError, match=reason):
        broker_config(settings)
