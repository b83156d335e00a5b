"""Which of several sources a configuration value comes from, for topics and for the broker itself.

Topic override > this broker's dynamic value > the dynamic default of all brokers > server.properties >
default. Source: ``kafka.server.DynamicBrokerConfig``, ``ServerTopicConfigSynonyms`` (Kafka 4.3).
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from odradek.core.config.defaults import broker_defaults
from odradek.core.config.keys import Key, broker_keys, topic_keys, unknown_key_text
from odradek.core.config.values import ConfigError, Value, parse, parse_type

Texts = Mapping[str, str]

_UNIT_MS = {"ms": 1, "minutes": 60_000, "hours": 3_600_000}
_SYNONYMS = (
    ("log.roll.ms", "log.roll.hours"),
    ("log.roll.jitter.ms", "log.roll.jitter.hours"),
    ("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
)


class ConfigSource(IntEnum):
    """Where a value comes from, as DescribeConfigs numbers it."""

    UNKNOWN = 0
    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    DYNAMIC_BROKER_LOGGER = 6
    CLIENT_METRICS = 7
    GROUP = 8


class BrokerLayers(NamedTuple):
    """What was said about a broker's configuration, by whom, as text."""

    dynamic: Texts
    dynamic_default: Texts
    static: Texts

    def text(self, name: str) -> str | None:
        """The effective text of one broker key, synonyms not looked at."""
        for layer in (self.dynamic, self.dynamic_default, self.static):
            if name in layer:
                return layer[name]
        return broker_defaults().get(name)

    def said(self, name: str) -> list[tuple[ConfigSource, str]]:
        """Every source that says something of ``name``, strongest first."""
        found = []
        for source, layer in (
            (ConfigSource.DYNAMIC_BROKER, self.dynamic),
            (ConfigSource.DYNAMIC_DEFAULT_BROKER, self.dynamic_default),
            (ConfigSource.STATIC_BROKER, self.static),
        ):
            if name in layer:
                found.append((source, layer[name]))
        default = broker_defaults().get(name)
        if default is not None:
            found.append((ConfigSource.DEFAULT, default))
        return found


def broker_synonyms(name: str) -> tuple[str, ...]:
    """Broker keys that mean the same, the one that wins first."""
    if name == "log.flush.interval.ms":
        return (name, "log.flush.scheduler.interval.ms")
    return next((names for names in _SYNONYMS if name in names), (name,))


def topic_default(key: Key, layers: BrokerLayers) -> Value:
    """The value of a topic key for topics that say nothing of it."""
    for name in key.broker_keys:
        text = layers.text(name)
        if text is None:
            continue
        value = parse_type(broker_keys()[name], text)
        if len(key.broker_keys) == 1 or not isinstance(value, int):
            return value
        value *= _UNIT_MS.get(name.rpartition(".")[2], 1)
        return -1 if name.startswith("log.retention.") and value < 0 else value
    return parse_type(key, key.default)


def topic_values(layers: BrokerLayers, overrides: Texts) -> dict[str, Value]:
    """Every topic key's effective value for a topic with these overrides, which must be valid."""
    return {
        name: parse_type(key, overrides[name]) if name in overrides else topic_default(key, layers)
        for name, key in topic_keys().items()
    }


def validate_topic(layers: BrokerLayers, overrides: Texts) -> None:
    """All overrides of a topic, together. Raises :class:`ConfigError` with Kafka's reason.

    Source: ``LogConfig.validate``.
    """
    keys = topic_keys()
    for name, text in overrides.items():
        key = keys.get(name)
        if key is None:
            raise ConfigError(unknown_key_text(name, keys, "topic config"))
        parse(key, text)
    if not overrides:
        return
    values = topic_values(layers, overrides)
    _check_lags(values)
    if values["remote.storage.enable"]:
        raise ConfigError(
            "remote.storage.enable: tiered storage is disabled in this broker, it is not built yet"
        )


def _check_lags(values: Mapping[str, Value]) -> None:
    low, high = values["min.compaction.lag.ms"], values["max.compaction.lag.ms"]
    assert isinstance(low, int)
    assert isinstance(high, int)
    if low > high:
        raise ConfigError(
            f"conflict topic config setting min.compaction.lag.ms ({low}) > max.compaction.lag.ms ({high})"
        )
