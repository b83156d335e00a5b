"""Which layer wins, and how DescribeConfigs shows it (expected values come from a running Kafka 4.3)."""

import pytest

from odradek.core.config.describe import (
    Synonym,
    describe_broker,
    describe_default_broker,
    describe_group,
    describe_topic,
)
from odradek.core.config.dynamic import validate_broker_update
from odradek.core.config.keys import own_keys
from odradek.core.config.layers import BrokerLayers, ConfigSource, topic_values, validate_topic
from odradek.core.config.values import ConfigError

NOTHING = BrokerLayers({}, {}, {})


def test_layer_order() -> None:
    overrides: dict[str, str] = {}
    layers = BrokerLayers({}, {}, {})
    expected = [1_048_588]
    assert topic_values(layers, overrides)["max.message.bytes"] == expected[0]
    layers = BrokerLayers({}, {}, {"message.max.bytes": "1"})
    assert topic_values(layers, overrides)["max.message.bytes"] == 1
    layers = BrokerLayers({}, {"message.max.bytes": "2"}, {"message.max.bytes": "1"})
    assert topic_values(layers, overrides)["max.message.bytes"] == 2
    layers = BrokerLayers({"message.max.bytes": "3"}, {"message.max.bytes": "2"}, {})
    assert topic_values(layers, overrides)["max.message.bytes"] == 3
    assert topic_values(layers, {"max.message.bytes": "4"})["max.message.bytes"] == 4


def test_our_flush_default() -> None:
    assert topic_values(NOTHING, {})["flush.messages"] == 1


@pytest.mark.parametrize(
    ("static", "retention_ms"),
    [
        ({}, 604_800_000),
        ({"log.retention.hours": "1"}, 3_600_000),
        ({"log.retention.hours": "1", "log.retention.minutes": "2"}, 120_000),
        ({"log.retention.hours": "1", "log.retention.ms": "3"}, 3),
        ({"log.retention.minutes": "-1"}, -1),
    ],
)
def test_retention_units(static: dict[str, str], retention_ms: int) -> None:
    assert topic_values(BrokerLayers({}, {}, static), {})["retention.ms"] == retention_ms


def test_topic_entry_with_all_synonyms() -> None:
    layers = BrokerLayers({"message.max.bytes": "3"}, {"message.max.bytes": "2"}, {"message.max.bytes": "1"})
    (entry,) = describe_topic(layers, {"max.message.bytes": " 4 "}, ["max.message.bytes"])
    assert (entry.value, entry.source, entry.type, entry.is_read_only) == ("4", ConfigSource.TOPIC, 3, False)
    assert entry.synonyms == (
        Synonym("max.message.bytes", "4", ConfigSource.TOPIC),
        Synonym("message.max.bytes", "3", ConfigSource.DYNAMIC_BROKER),
        Synonym("message.max.bytes", "2", ConfigSource.DYNAMIC_DEFAULT_BROKER),
        Synonym("message.max.bytes", "1", ConfigSource.STATIC_BROKER),
        Synonym("message.max.bytes", "1048588", ConfigSource.DEFAULT),
    )


def test_topic_entry_by_a_coarser_synonym_is_shown_as_default() -> None:
    (entry,) = describe_topic(BrokerLayers({}, {}, {"log.retention.hours": "1"}), {}, ["retention.ms"])
    assert (entry.value, entry.source, entry.synonyms) == ("3600000", ConfigSource.DEFAULT, ())


def test_describe_topic_lists_what_kafka_lists() -> None:
    entries = describe_topic(NOTHING, {}, None)
    assert len(entries) == 33
    assert "internal.segment.bytes" not in {entry.name for entry in entries}


def test_broker_entries() -> None:
    layers = BrokerLayers({}, {}, {"node.id": "1", "ssl.key.password": "secret"})
    entries = {entry.name: entry for entry in describe_broker(layers, None)}
    assert len(entries) == 340 + len(own_keys())
    assert entries["node.id"].source is ConfigSource.STATIC_BROKER
    assert entries["node.id"].is_read_only
    assert not entries["message.max.bytes"].is_read_only
    password = entries["ssl.key.password"]
    assert password.is_sensitive
    assert password.value is None
    assert [synonym.value for synonym in password.synonyms] == [None]
    assert entries["log.cleaner.io.max.bytes.per.second"].value == "1.7976931348623157E308"
    assert [synonym.name for synonym in entries["log.retention.hours"].synonyms] == ["log.retention.hours"]


def test_default_broker_shows_only_what_was_set() -> None:
    layers = BrokerLayers({}, {"message.max.bytes": "2"}, {"message.max.bytes": "1"})
    (entry,) = describe_default_broker(layers, None)
    assert (entry.name, entry.value) == ("message.max.bytes", "2")
    assert [synonym.source for synonym in entry.synonyms] == [ConfigSource.DYNAMIC_DEFAULT_BROKER]


def test_group_entries() -> None:
    entries = {
        entry.name: entry for entry in describe_group(NOTHING, {"share.session.timeout.ms": "50000"}, None)
    }
    assert len(entries) == 17
    assert entries["share.session.timeout.ms"].source is ConfigSource.GROUP
    assert entries["consumer.session.timeout.ms"].synonyms == (
        Synonym("group.consumer.session.timeout.ms", "45000", ConfigSource.DEFAULT),
    )
    assert entries["share.isolation.level"].value == "read_uncommitted"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"retention.sm": "1"}, "did you mean 'retention.ms'"),
        ({"retention.ms": "x"}, "Not a number"),
        (
            {"min.compaction.lag.ms": "100", "max.compaction.lag.ms": "50"},
            r"\(100\) > max.compaction.lag.ms \(50\)",
        ),
        ({"remote.storage.enable": "true"}, "tiered storage"),
    ],
)
def test_topic_overrides_that_are_refused(overrides: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        validate_topic(NOTHING, overrides)


@pytest.mark.parametrize(
    ("values", "is_per_broker", "reason"),
    [
        ({"num.partitions": "3"}, True, r"Cannot update these configs dynamically: \[num.partitions\]"),
        ({"log.retention.ms": "x"}, True, "Not a number"),
        ({"message.max.byte": "1"}, True, "did you mean 'message.max.bytes'"),
        ({"ssl.client.auth": "none"}, False, "broker id must be specified"),
        ({"ssl.keystore.location": "/x"}, True, "refused"),
        ({"listeners": "PLAINTEXT://:1"}, False, "broker id must be specified"),
        ({"max.connections": "-5"}, False, "at least 0"),
        ({"leader.replication.throttled.rate": "-1"}, True, "at least 0"),
    ],
)
def test_dynamic_updates_that_are_refused(values: dict[str, str], is_per_broker: bool, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        validate_broker_update(values, is_per_broker=is_per_broker)


def test_dynamic_updates_that_are_taken() -> None:
    validate_broker_update({"message.max.bytes": "5", "num.io.threads": "16"}, is_per_broker=False)
    validate_broker_update({"max.connections.per.ip.overrides": "host:5"}, is_per_broker=True)
