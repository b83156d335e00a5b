"""Altering configs; codes and reasons are those of a running Kafka 4.3."""

import pytest

from odradek.cluster.configs import (
    DEFAULT_BROKER,
    Alteration,
    Operation,
    alter_configs,
    broker_layers,
    incremental_alter_configs,
)
from odradek.cluster.fold import fold_all
from odradek.cluster.image import (
    BROKER_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
    ClusterImage,
    ConfigResource,
)
from odradek.cluster.records import ConfigChanged
from odradek.core.config.broker import broker_config
from odradek.core.errors import ErrorCode
from tests.unit.cluster.support import image_with

CONFIG = broker_config()
TOPIC: ConfigResource = (TOPIC_RESOURCE, "a")
BROKER: ConfigResource = (BROKER_RESOURCE, "1")
SET, DELETE, APPEND, SUBTRACT = Operation.SET, Operation.DELETE, Operation.APPEND, Operation.SUBTRACT


def altered(image: ClusterImage, resource: ConfigResource, *alterations: Alteration) -> ClusterImage:
    change = incremental_alter_configs(image, [(resource, alterations)], CONFIG)
    assert change.result == {resource: None}
    return fold_all(image, change.records, image.index + 1)


def topic_configs(image: ClusterImage) -> dict[str, str]:
    return dict(image.topics["a"].configs)


def test_set_and_delete() -> None:
    image = altered(image_with("a"), TOPIC, Alteration("retention.ms", SET, "5"))
    assert topic_configs(image) == {"retention.ms": "5"}
    image = altered(image, TOPIC, Alteration("retention.ms", DELETE, None))
    assert topic_configs(image) == {}
    assert altered(image, TOPIC, Alteration("no.such.key", DELETE, None)).topics is image.topics


def test_append_starts_from_the_default() -> None:
    image = altered(image_with("a"), TOPIC, Alteration("cleanup.policy", APPEND, "compact"))
    assert topic_configs(image) == {"cleanup.policy": "delete,compact"}
    image = altered(image, TOPIC, Alteration("cleanup.policy", APPEND, "compact"))
    image = altered(image, TOPIC, Alteration("cleanup.policy", SUBTRACT, "delete,other"))
    assert topic_configs(image) == {"cleanup.policy": "compact"}


def test_unchanged_values_make_no_records() -> None:
    image = altered(image_with("a"), TOPIC, Alteration("retention.ms", SET, "5"))
    change = incremental_alter_configs(image, [(TOPIC, [Alteration("retention.ms", SET, "5")])], CONFIG)
    assert change.records == []


def test_broker_and_default_broker() -> None:
    image = altered(image_with(), BROKER, Alteration("message.max.bytes", SET, "5"))
    image = altered(image, DEFAULT_BROKER, Alteration("message.max.bytes", SET, "6"))
    layers = broker_layers(image, CONFIG)
    assert layers.text("message.max.bytes") == "5"
    image = altered(image, BROKER, Alteration("message.max.bytes", DELETE, None))
    assert broker_layers(image, CONFIG).text("message.max.bytes") == "6"


def test_groups() -> None:
    group: ConfigResource = (GROUP_RESOURCE, "g")
    image = altered(image_with(), group, Alteration("consumer.session.timeout.ms", SET, "50000"))
    assert image.resource_configs(group) == {"consumer.session.timeout.ms": "50000"}
    change = alter_configs(image, [(group, [("consumer.heartbeat.interval.ms", "6000")])], CONFIG)
    image = fold_all(image, change.records, image.index + 1)
    assert image.resource_configs(group) == {"consumer.heartbeat.interval.ms": "6000"}


def test_whole_sets_replace() -> None:
    image = altered(
        image_with("a"), TOPIC, Alteration("retention.ms", SET, "5"), Alteration("segment.ms", SET, "6")
    )
    change = alter_configs(image, [(TOPIC, [("retention.ms", "7")])], CONFIG)
    assert change.records == [
        ConfigChanged(TOPIC_RESOURCE, "a", "retention.ms", "7"),
        ConfigChanged(TOPIC_RESOURCE, "a", "segment.ms", None),
    ]


@pytest.mark.parametrize(
    ("resource", "alterations", "code", "reason"),
    [
        (TOPIC, [("retention.ms", 0, "x")], ErrorCode.INVALID_CONFIG, "Not a number of type LONG"),
        (TOPIC, [("retention", 0, "1")], ErrorCode.INVALID_CONFIG, "Unknown topic config name: retention"),
        (TOPIC, [("retention.ms", 0, None)], ErrorCode.INVALID_REQUEST, "Null value not supported"),
        (TOPIC, [("retention.ms", 0, "1")] * 2, ErrorCode.INVALID_REQUEST, "duplicate config keys"),
        (TOPIC, [("retention.ms", 2, "1")], ErrorCode.INVALID_CONFIG, "Can't APPEND to key retention.ms"),
        (TOPIC, [("foo", 3, "1")], ErrorCode.INVALID_CONFIG, "Can't SUBTRACT to key foo"),
        (TOPIC, [("retention.ms", 9, "1")], ErrorCode.INVALID_REQUEST, "operations type 9"),
        ((2, "z"), [("retention.ms", 0, "1")], ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "'z' does not exist"),
        ((2, "z"), [("retention.ms", 0, "x")], ErrorCode.INVALID_CONFIG, "Not a number"),
        ((2, "a b"), [("retention.ms", 0, "1")], ErrorCode.INVALID_TOPIC_EXCEPTION, "ASCII"),
        ((2, ""), [("retention.ms", 0, "1")], ErrorCode.INVALID_REQUEST, "Default topic resources"),
        (BROKER, [("num.partitions", 0, "3")], ErrorCode.INVALID_REQUEST, "Cannot update these configs"),
        (BROKER, [("message.max.bytes", 0, "-5")], ErrorCode.INVALID_REQUEST, "at least 0"),
        ((4, "7"), [("message.max.bytes", 0, "5")], ErrorCode.INVALID_REQUEST, "expected 1, but received 7"),
        ((4, "x"), [("message.max.bytes", 0, "5")], ErrorCode.INVALID_REQUEST, "must be an integer"),
        (
            (32, "g"),
            [("consumer.session.timeout.ms", 0, "5")],
            ErrorCode.INVALID_CONFIG,
            "greater than or eq",
        ),
        ((32, "g"), [("consumer.session.timeout.ms", 2, "5")], ErrorCode.INVALID_CONFIG, "Can't APPEND"),
        ((32, "g"), [("foo", 0, "5")], ErrorCode.INVALID_CONFIG, "Unknown group config name: foo"),
        ((32, ""), [("consumer.session.timeout.ms", 0, "50000")], ErrorCode.INVALID_REQUEST, "Default group"),
        ((16, "m"), [("interval.ms", 0, "5")], ErrorCode.INVALID_REQUEST, "Client metrics configs"),
        ((8, "1"), [("root", 0, "INFO")], ErrorCode.INVALID_REQUEST, "Broker logger configs"),
        ((3, "x"), [("a", 0, "b")], ErrorCode.INVALID_REQUEST, "Unknown resource type 3"),
    ],
)
def test_refused(
    resource: ConfigResource,
    alterations: list[tuple[str, int, str | None]],
    code: ErrorCode,
    reason: str,
) -> None:
    wanted = [(resource, [Alteration(*alteration) for alteration in alterations])]
    change = incremental_alter_configs(image_with("a"), wanted, CONFIG)
    error = change.result[resource]
    assert error is not None
    assert error.code is code
    assert error.message is not None
    assert reason in error.message
    assert change.records == []


def test_a_resource_fails_as_a_whole_and_alone() -> None:
    image = image_with("a", "b")
    good, bad = Alteration("retention.ms", SET, "5"), Alteration("segment.ms", SET, "x")
    change = incremental_alter_configs(image, [(TOPIC, [good, bad]), ((2, "b"), [good])], CONFIG)
    assert change.records == [ConfigChanged(TOPIC_RESOURCE, "b", "retention.ms", "5")]
    assert change.result[TOPIC] is not None
    assert change.result[2, "b"] is None
