"""Configuration as DescribeConfigs shows it: effective value, its source, and every synonym that was said.

Source: ``kafka.server.ConfigHelper`` and the answers of a running Kafka 4.3.
"""

from collections.abc import Collection
from typing import NamedTuple

from odradek.core.config.broker_status import broker_key_status
from odradek.core.config.dynamic import is_dynamic
from odradek.core.config.keys import Key, broker_keys, group_keys, topic_keys
from odradek.core.config.layers import BrokerLayers, ConfigSource, Texts, broker_synonyms, topic_default
from odradek.core.config.settings import DYNAMIC_ONLY
from odradek.core.config.topic_keys import TOPIC_DOCUMENTATION
from odradek.core.config.values import ConfigError, parse_type, to_text

TYPES = ("", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD")
"""The wire's number of each type is its position."""

_HIDDEN = """
controller.performance.always.log.threshold.ms controller.performance.sample.period.ms
group.consumer.regex.refresh.interval.ms group.share.initialize.retry.interval.ms
group.share.persister.class.name internal.metadata.delete.delay.millis
internal.metadata.log.segment.bytes internal.metadata.max.batch.size.in.bytes internal.segment.bytes
log.initial.task.delay.ms producer.id.expiration.check.interval.ms
remote.log.index.file.cache.ttl.ms remote.log.manager.task.retry.backoff.max.ms
remote.log.manager.task.retry.backoff.ms remote.log.manager.task.retry.jitter
server.max.startup.time.ms share.coordinator.cold.partition.snapshot.interval.ms
share.coordinator.state.topic.prune.interval.ms unclean.leader.election.interval.ms
unstable.api.versions.enable unstable.feature.versions.enable
"""
HIDDEN = frozenset(_HIDDEN.split())
"""Keys that Kafka keeps to itself: they can be set but are not described."""


class Synonym(NamedTuple):
    """One place that says something of a key."""

    name: str
    value: str | None
    source: ConfigSource


class Entry(NamedTuple):
    """One key of one resource."""

    name: str
    value: str | None
    source: ConfigSource
    type: int
    is_read_only: bool
    is_sensitive: bool
    synonyms: tuple[Synonym, ...]
    documentation: str | None


def describe_topic(layers: BrokerLayers, overrides: Texts, names: Collection[str] | None) -> list[Entry]:
    """Every topic key, or those of ``names``."""
    return [
        _topic_entry(key, layers, overrides)
        for name, key in topic_keys().items()
        if name not in HIDDEN and (not names or name in names)
    ]


def _topic_entry(key: Key, layers: BrokerLayers, overrides: Texts) -> Entry:
    name = key.name
    synonyms = _said(layers, key.broker_keys[0], False) if key.broker_keys else []
    if name in overrides:
        value = to_text(key, parse_type(key, overrides[name]))
        synonyms.insert(0, Synonym(name, value, ConfigSource.TOPIC))
    else:
        value = to_text(key, topic_default(key, layers))
    return _entry(key, value, synonyms, False, TOPIC_DOCUMENTATION.get(name))


def describe_broker(layers: BrokerLayers, names: Collection[str] | None) -> list[Entry]:
    """Every broker key as it is in force, or those of ``names``."""
    entries = []
    for name, key in broker_keys().items():
        if name in HIDDEN or (names and name not in names):
            continue
        said = _said(layers, name, key.is_sensitive)
        value = None if key.is_sensitive else _shown(key, layers.text(name))
        entries.append(_entry(key, value, said, not is_dynamic(name), _documentation(name)))
    for name, key in DYNAMIC_ONLY.items():
        if layers.text(name) is not None and (not names or name in names):
            entries.append(_entry(key, layers.text(name), _said(layers, name, False), False, None))
    return entries


def describe_default_broker(layers: BrokerLayers, names: Collection[str] | None) -> list[Entry]:
    """What was set for all brokers while they ran."""
    entries = []
    for name, text in layers.dynamic_default.items():
        if names and name not in names:
            continue
        key = broker_keys().get(name) or DYNAMIC_ONLY[name]
        said = [
            synonym
            for synonym in _said(layers, name, key.is_sensitive)
            if synonym.source is ConfigSource.DYNAMIC_DEFAULT_BROKER
        ]
        shown = None if key.is_sensitive else text
        entries.append(_entry(key, shown, said, not is_dynamic(name), _documentation(name)))
    return entries


def _documentation(name: str) -> str | None:
    status = broker_key_status().get(name)
    return status.text if status is not None and status.status == "implemented" else None


def describe_group(layers: BrokerLayers, overrides: Texts, names: Collection[str] | None) -> list[Entry]:
    """Every group key, or those of ``names``."""
    entries = []
    for name, key in group_keys().items():
        if names and name not in names:
            continue
        if key.broker_keys:
            synonyms = _said(layers, key.broker_keys[0], False)
        else:
            synonyms = [Synonym(name, key.default, ConfigSource.DEFAULT)]
        if name in overrides:
            value: str | None = overrides[name]
            synonyms.insert(0, Synonym(name, value, ConfigSource.GROUP))
        else:
            value = to_text(key, topic_default(key, layers))
        entries.append(_entry(key, value, synonyms, False, None))
    return entries


def _said(layers: BrokerLayers, name: str, is_sensitive: bool) -> list[Synonym]:
    """All that is said of ``name`` and its synonyms, from the first that bears the name itself."""
    found = [
        Synonym(synonym, None if is_sensitive else text, source)
        for synonym in broker_synonyms(name)
        for source, text in layers.said(synonym)
    ]
    found.sort(key=lambda synonym: synonym.source)
    while found and found[0].name != name:
        del found[0]
    return found


def _shown(key: Key, text: str | None) -> str | None:
    try:
        return to_text(key, parse_type(key, text))
    except ConfigError:
        return text


def _entry(
    key: Key, value: str | None, synonyms: list[Synonym], is_read_only: bool, documentation: str | None
) -> Entry:
    source = synonyms[0].source if synonyms else ConfigSource.DEFAULT
    return Entry(
        key.name,
        value,
        source,
        TYPES.index(key.type),
        is_read_only,
        key.is_sensitive,
        tuple(synonyms),
        documentation,
    )
