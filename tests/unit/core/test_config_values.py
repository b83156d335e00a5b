"""Values are taken and refused as Kafka 4.3 takes and refuses them (checked against its LogConfig)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.core.config.keys import Key, broker_keys, group_keys, topic_keys
from odradek.core.config.values import ConfigError, Value, parse, to_text


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("retention.ms", " 100 ", 100),
        ("retention.ms", "+5", 5),
        ("retention.ms", "-1", -1),
        ("cleanup.policy", " compact , delete ", ["compact", "delete"]),
        ("cleanup.policy", "delete,delete", ["delete"]),
        ("cleanup.policy", "", []),
        ("compression.type", " gzip", "gzip"),
        ("compression.gzip.level", "-1", -1),
        ("compression.gzip.level", "9", 9),
        ("preallocate", " TRUE ", True),
        ("min.cleanable.dirty.ratio", "1e-1", 0.1),
        ("min.cleanable.dirty.ratio", "0.5f", 0.5),
        ("follower.replication.throttled.replicas", "*", ["*"]),
        ("follower.replication.throttled.replicas", "1:2,3:4", ["1:2", "3:4"]),
    ],
)
def test_taken(name: str, text: str, value: Value) -> None:
    assert parse(topic_keys()[name], text) == value


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("retention.ms", "abc", "Not a number of type LONG"),
        ("retention.ms", "1_000", "Not a number of type LONG"),
        ("retention.ms", "9223372036854775808", "Not a number of type LONG"),
        ("retention.ms", "", "Not a number of type LONG"),
        ("retention.ms", "-2", "Value must be at least -1"),
        ("max.message.bytes", "3000000000", "Not a number of type INT"),
        ("max.message.bytes", "1.5", "Not a number of type INT"),
        ("cleanup.policy", "foo", "String must be one of: compact, delete"),
        ("cleanup.policy", "DELETE", "String must be one of: compact, delete"),
        ("cleanup.policy", "delete,", "values must not be empty"),
        (
            "compression.type",
            "none",
            "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
        ("compression.lz4.level", "18", "Value must be no more than 17"),
        ("preallocate", "yes", "Expected value to be either true or false"),
        ("min.cleanable.dirty.ratio", "1.1", "Value must be no more than 1"),
        ("min.cleanable.dirty.ratio", "x", "Not a number of type DOUBLE"),
        ("message.timestamp.type", "createtime", "String must be one of: CreateTime, LogAppendTime"),
        ("follower.replication.throttled.replicas", "a", "must be '*' or a list"),
        ("segment.bytes", "1048575", "Value must be at least 1048576"),
    ],
)
def test_refused(name: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        parse(topic_keys()[name], text)
    assert reason in str(caught.value)


def test_broker_and_group_values() -> None:
    keys = broker_keys()
    assert parse(keys["group.consumer.migration.policy"], "Disabled") == "Disabled"
    assert parse(keys["sasl.enabled.mechanisms"], "") == []
    with pytest.raises(ConfigError, match="must not be empty"):
        parse(keys["log.dirs"], "")
    with pytest.raises(ConfigError, match="type SHORT"):
        parse(keys["offsets.topic.replication.factor"], "40000")
    offset_reset = group_keys()["share.auto.offset.reset"]
    assert parse(offset_reset, "by_duration:P1DT2H") == "by_duration:P1DT2H"
    with pytest.raises(ConfigError):
        parse(offset_reset, "by_duration:P")


def test_passwords_are_not_shown() -> None:
    key = Key("ssl.key.password", "PASSWORD", None, "[a, b]")
    with pytest.raises(ConfigError) as caught:
        parse(key, "secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (0.5, "0.5"),
        (0.0001, "1.0E-4"),
        (1e7, "1.0E7"),
        (3.0, "3.0"),
    ],
)
def test_doubles_look_like_javas(value: float, text: str) -> None:
    assert to_text(Key("x", "DOUBLE", None, ""), value) == text


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_long_round_trip(number: int) -> None:
    key = Key("x", "LONG", None, "")
    assert parse(key, to_text(key, number)) == number


@given(st.text(max_size=20))
def test_any_text_is_taken_or_refused_with_one_error(text: str) -> None:
    for key_type in ("BOOLEAN", "INT", "DOUBLE", "LIST", "STRING"):
        with contextlib.suppress(ConfigError):
            parse(Key("x", key_type, None, ""), text)
