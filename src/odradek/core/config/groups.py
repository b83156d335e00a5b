"""Configuration of single groups: bounds that the broker's keys set, and the values in force.

Source: ``GroupConfig`` (``validate``, ``evaluate``) and ``GroupCoordinatorConfig`` of Kafka 4.3.
"""

from collections.abc import Mapping
from typing import NamedTuple

from odradek.core.config.keys import broker_keys, group_keys, unknown_key_text
from odradek.core.config.layers import BrokerLayers, Texts, topic_default
from odradek.core.config.values import ConfigError, Value, parse, parse_type

_BOUNDED_KEYS = """
consumer.heartbeat.interval.ms consumer.session.timeout.ms consumer.assignment.interval.ms
share.heartbeat.interval.ms share.session.timeout.ms share.record.lock.duration.ms
share.delivery.count.limit share.partition.max.record.locks share.assignment.interval.ms
streams.heartbeat.interval.ms streams.session.timeout.ms streams.num.standby.replicas
streams.assignment.interval.ms
"""
_BOUNDED = tuple(_BOUNDED_KEYS.split())
_KINDS = ("consumer", "share", "streams")


class ConsumerGroupConfig(NamedTuple):
    """What a consumer group obeys (KIP-848), in milliseconds."""

    session_timeout_ms: int
    heartbeat_interval_ms: int
    assignment_interval_ms: int


def consumer_group_config(layers: BrokerLayers, overrides: Texts) -> ConsumerGroupConfig:
    """The values in force for a consumer group. An override that was valid when it was made and is beyond
    the broker's bounds now counts as the bound."""
    return ConsumerGroupConfig(
        _in_force(layers, overrides, "consumer.session.timeout.ms"),
        _in_force(layers, overrides, "consumer.heartbeat.interval.ms"),
        _in_force(layers, overrides, "consumer.assignment.interval.ms"),
    )


def _in_force(layers: BrokerLayers, overrides: Texts, name: str) -> int:
    if name not in overrides:
        return _default(layers, name)
    value = _number(parse_type(group_keys()[name], overrides[name]))
    for bound, is_lowest in _bounds(name):
        limit = _broker_value(layers, bound)
        value = max(value, limit) if is_lowest else min(value, limit)
    return value


def validate_group(layers: BrokerLayers, overrides: Texts) -> None:
    """All overrides of a group, together. Raises :class:`ConfigError` with Kafka's reason."""
    keys = group_keys()
    for name in overrides:
        if name not in keys:
            raise ConfigError(unknown_key_text(name, keys, "group config"))
    values = {name: parse(keys[name], text) for name, text in overrides.items()}
    if values:
        _check(layers, values)


def validate_group_defaults(layers: BrokerLayers) -> None:
    """The broker's own keys that groups start from. Raises :class:`ConfigError`."""
    for name in _BOUNDED:
        limits = [_broker_value(layers, bound) for bound, _ in _bounds(name)]
        if limits != sorted(limits):
            lowest, highest = (bound for bound, _ in _bounds(name))
            raise ConfigError(f"{highest} must be greater than or equal to {lowest}")
        _check_bounds(layers, f"group.{name}", name, _default(layers, name))
    for kind in _KINDS:
        _check_session(layers, {}, kind, "group.")


def _check(layers: BrokerLayers, values: Mapping[str, Value]) -> None:
    for name in _BOUNDED:
        if name in values:
            _check_bounds(layers, name, name, _number(values[name]))
    for kind in _KINDS:
        _check_session(layers, values, kind, "")


def _check_bounds(layers: BrokerLayers, said: str, name: str, value: int) -> None:
    for bound, is_lowest in _bounds(name):
        limit = _broker_value(layers, bound)
        if value < limit if is_lowest else value > limit:
            relation = "greater" if is_lowest else "less"
            raise ConfigError(f"{said} must be {relation} than or equal to {bound}")


def _check_session(layers: BrokerLayers, values: Mapping[str, Value], kind: str, prefix: str) -> None:
    session, heartbeat = f"{kind}.session.timeout.ms", f"{kind}.heartbeat.interval.ms"
    session_ms, heartbeat_ms = (
        _number(values[name]) if name in values else _default(layers, name) for name in (session, heartbeat)
    )
    if session_ms <= heartbeat_ms:
        raise ConfigError(f"{prefix}{session} must be greater than {prefix}{heartbeat}")


def _bounds(name: str) -> list[tuple[str, bool]]:
    """The broker keys that bound the group key ``name``, each with whether it is the lower bound."""
    kind, _, rest = name.partition(".")
    if rest == "num.standby.replicas":
        return [("group.streams.max.standby.replicas", False)]
    return [(f"group.{kind}.min.{rest}", True), (f"group.{kind}.max.{rest}", False)]


def _broker_value(layers: BrokerLayers, name: str) -> int:
    return _number(parse_type(broker_keys()[name], layers.text(name)))


def _default(layers: BrokerLayers, name: str) -> int:
    return _number(topic_default(group_keys()[name], layers))


def _number(value: Value) -> int:
    assert isinstance(value, int)
    return value
