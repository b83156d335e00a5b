"""DescribeConfigs, AlterConfigs and IncrementalAlterConfigs."""

import json
import time
from typing import Any

from tests.conformance import raw
from tests.conformance.cases import Conversation, case

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)


def describe(
    c: Conversation, kind: int, name: str, keys: list[str] | None, version: int = 4, synonyms: bool = True
) -> Any:
    resource = raw.struct_of(
        "DescribeConfigs",
        "DescribeConfigsResource",
        resource_type=kind,
        resource_name=name,
        configuration_keys=keys,
    )
    return c.quietly(
        raw.request_of("DescribeConfigs", resources=[resource], include_synonyms=synonyms), version
    )


def note(c: Conversation, answer: Any) -> None:
    for result in answer.results:
        configs = {
            one.name: {
                "value": one.value,
                "source": one.config_source,
                "read_only": one.read_only,
                "is_sensitive": one.is_sensitive,
                "type": one.config_type,
                "synonyms": [[synonym.name, synonym.value, synonym.source] for synonym in one.synonyms or []],
            }
            for one in result.configs or []
        }
        name = c.names.get(result.resource_name, result.resource_name)
        c.notes.append(
            {
                "error_code": result.error_code,
                "resource_type": result.resource_type,
                "name": name,
                "configs": configs,
            }
        )


def alter(c: Conversation, kind: int, name: str, *changes: tuple[int, str, str | None], **fields: Any) -> int:
    configs = [
        raw.struct_of(
            "IncrementalAlterConfigs",
            "AlterableConfig",
            name=key,
            config_operation=operation,
            value=value,
        )
        for operation, key, value in changes
    ]
    resource = raw.struct_of(
        "IncrementalAlterConfigs",
        "AlterConfigsResource",
        resource_type=kind,
        resource_name=name,
        configs=configs,
    )
    answer = c.quietly(raw.request_of("IncrementalAlterConfigs", resources=[resource], **fields), 1)
    code: int = answer.responses[0].error_code
    c.notes.append([json.loads(json.dumps(changes)), code])
    return code


def settled(c: Conversation, key: str, value: str | None) -> None:
    """Waits until the broker that is asked knows (Kafka's learns a moment later), then notes."""
    for _ in range(200):
        answer = describe(c, TOPIC, c.topic, [key])
        configs = answer.results[0].configs
        if configs and configs[0].value == value:
            break
    note(c, answer)


@case
def describe_configs_of_a_topic(c: Conversation) -> None:
    """All topic configs with their defaults."""
    c.create()
    answer = describe(c, TOPIC, c.topic, None, synonyms=False)
    for one in answer.results[0].configs:
        one.synonyms = []
    note(c, answer)


@case
def describe_configs_in_every_version(c: Conversation) -> None:
    c.create(configs={"retention.ms": "1234567"})
    for version in range(1, 5):
        for synonyms in (True, False):
            answer = describe(c, TOPIC, c.topic, ["retention.ms", "cleanup.policy"], version, synonyms)
            note(c, answer)


@case
def describe_configs_of_odd_keys(c: Conversation) -> None:
    c.create()
    for keys in (["nonsense"], [], ["retention.ms", "nonsense"], ["retention.ms", "retention.ms"]):
        note(c, describe(c, TOPIC, c.topic, keys, synonyms=False))


@case
def describe_configs_of_what_is_not_there(c: Conversation) -> None:
    for kind, name in (
        (TOPIC, c.new_name("nobody")),
        (TOPIC, "a b"),
        (TOPIC, ""),
        (BROKER, "77"),
        (BROKER, "x"),
    ):
        note(c, describe(c, kind, name, ["retention.ms"]))
    for kind in (0, 3, 127, -1):
        answer = c.ask(
            raw.request_of(
                "DescribeConfigs",
                resources=[
                    raw.struct_of(
                        "DescribeConfigs",
                        "DescribeConfigsResource",
                        resource_type=kind,
                        resource_name="x",
                        configuration_keys=None,
                    )
                ],
            )
        )
        assert answer is None or answer.results[0].error_code


@case
def describe_configs_of_a_broker(c: Conversation) -> None:
    """Sources differ as the two are started differently; values of what nobody set must not."""
    keys = ["num.partitions", "message.max.bytes", "compression.type", "auto.create.topics.enable"]
    answer = describe(c, BROKER, "1", keys)
    c.notes.append(sorted([one.name, one.value, one.read_only] for one in answer.results[0].configs))
    note(c, describe(c, BROKER, "", ["log.retention.ms"]))


@case
def set_and_delete_a_config(c: Conversation) -> None:
    c.create()
    alter(c, TOPIC, c.topic, (SET, "retention.ms", "3600000"))
    settled(c, "retention.ms", "3600000")
    alter(c, TOPIC, c.topic, (DELETE, "retention.ms", None))
    settled(c, "retention.ms", "604800000")
    alter(c, TOPIC, c.topic, (DELETE, "retention.ms", None))


@case
def append_and_subtract(c: Conversation) -> None:
    c.create()
    alter(c, TOPIC, c.topic, (APPEND, "cleanup.policy", "compact"))
    settled(c, "cleanup.policy", "delete,compact")
    alter(c, TOPIC, c.topic, (SUBTRACT, "cleanup.policy", "delete"))
    settled(c, "cleanup.policy", "compact")
    alter(c, TOPIC, c.topic, (APPEND, "cleanup.policy", "compact"))
    alter(c, TOPIC, c.topic, (APPEND, "retention.ms", "1"))
    alter(c, TOPIC, c.topic, (SUBTRACT, "cleanup.policy", "nonsense"))


@case
def invalid_changes(c: Conversation) -> None:
    c.create()
    for change in (
        (SET, "nonsense", "1"),
        (DELETE, "nonsense", None),
        (SET, "retention.ms", "soon"),
        (SET, "retention.ms", None),
        (SET, "retention.ms", ""),
        (SET, "cleanup.policy", "burn"),
        (SET, "min.insync.replicas", "0"),
        (SET, "segment.bytes", "13"),
        (9, "retention.ms", "1"),
        (-1, "retention.ms", "1"),
    ):
        alter(c, TOPIC, c.topic, change)
    alter(c, TOPIC, c.topic, (SET, "retention.ms", "1"), (SET, "retention.ms", "2"))
    alter(c, TOPIC, c.topic, (SET, "retention.bytes", "77"), (SET, "nonsense", "2"))
    note(c, describe(c, TOPIC, c.topic, ["retention.ms", "retention.bytes"]))


@case
def changes_to_what_is_not_there(c: Conversation) -> None:
    alter(c, TOPIC, c.new_name("nobody"), (SET, "retention.ms", "1"))
    alter(c, TOPIC, "a b", (SET, "retention.ms", "1"))
    alter(c, TOPIC, "", (SET, "retention.ms", "1"))
    alter(c, BROKER, "x", (SET, "message.max.bytes", "1"))
    alter(c, BROKER, "1", (SET, "node.id", "7"))
    alter(c, BROKER, "1", (SET, "message.max.bytes", "lots"))
    alter(c, 77, "1", (SET, "message.max.bytes", "1"))


@case
def changes_that_are_only_tried(c: Conversation) -> None:
    c.create()
    alter(c, TOPIC, c.topic, (SET, "retention.ms", "1"), validate_only=True)
    alter(c, TOPIC, c.topic, (SET, "retention.ms", "soon"), validate_only=True)
    note(c, describe(c, TOPIC, c.topic, ["retention.ms"]))


@case
def the_old_alter_configs_replaces_all(c: Conversation) -> None:
    c.create(configs={"retention.ms": "5000", "cleanup.policy": "compact"})

    def replace(version: int, **configs: str | None) -> None:
        entries = [
            raw.struct_of("AlterConfigs", "AlterableConfig", name=name.replace("_", "."), value=value)
            for name, value in configs.items()
        ]
        resource = raw.struct_of(
            "AlterConfigs",
            "AlterConfigsResource",
            resource_type=TOPIC,
            resource_name=c.topic,
            configs=entries,
        )
        c.ask(raw.request_of("AlterConfigs", resources=[resource]), version)

    replace(0, retention_ms="6000")
    settled(c, "retention.ms", "6000")
    settled(c, "cleanup.policy", "delete")
    replace(1, retention_ms="soon")
    replace(2, nonsense="1")
    replace(2, retention_ms=None)
    replace(2)
    settled(c, "retention.ms", "604800000")


@case
def a_dynamic_broker_config_shows_in_its_topics(c: Conversation) -> None:
    c.create()
    alter(c, BROKER, "1", (SET, "log.retention.ms", "777777777"))
    settled(c, "retention.ms", "777777777")
    alter(c, BROKER, "1", (DELETE, "log.retention.ms", None))
    settled(c, "retention.ms", "604800000")
    alter(c, BROKER, "", (SET, "log.retention.ms", "888888888"))
    settled(c, "retention.ms", "888888888")
    alter(c, BROKER, "", (DELETE, "log.retention.ms", None))
    settled(c, "retention.ms", "604800000")


@case
def broker_configs_that_cannot_work(c: Conversation) -> None:
    """Right by themselves, wrong with what else is in force or where they end up."""
    for name, value in (
        ("log.retention.ms", "0"),
        ("log.roll.ms", "0"),
        ("log.roll.jitter.ms", "-1"),
        ("log.cleaner.threads", "0"),
        ("log.cleaner.dedupe.buffer.size", "1048576"),
        ("max.connections.per.ip", "0"),
    ):
        for broker in ("1", ""):
            alter(c, BROKER, broker, (SET, name, value), validate_only=True)
    alter(c, BROKER, "", (SET, "log.cleaner.dedupe.buffer.size", "1048577"), validate_only=True)


@case
def threads_are_at_most_doubled_or_halved(c: Conversation) -> None:
    """At a time, while the broker runs: from what is in force."""
    for name, values in (
        ("log.cleaner.threads", (0, 1, 2, 3)),
        ("num.io.threads", (0, 3, 4, 8, 16, 17)),
        ("num.network.threads", (0, 1, 6, 7)),
        ("num.replica.fetchers", (0, 1, 2, 3)),
        ("num.recovery.threads.per.data.dir", (0, 1, 4, 5)),
        ("background.threads", (4, 5, 20, 21)),
    ):
        for broker in ("1", ""):
            for value in values:
                alter(c, BROKER, broker, (SET, name, str(value)), validate_only=True)
    name = "log.cleaner.threads"
    for value in ("2", "4", "9", "8"):
        alter(c, BROKER, "", (SET, name, value))
        in_force(c, name)
    for value in ("3", "17"):
        alter(c, BROKER, "1", (SET, name, value))
    alter(c, BROKER, "1", (SET, "log.cleaner.backoff.ms", "15001"), validate_only=True)
    alter(c, BROKER, "", (DELETE, name, None))
    in_force(c, name)
    alter(c, BROKER, "1", (SET, name, "6"))
    in_force(c, name)
    alter(c, BROKER, "", (SET, name, "4"))
    alter(c, BROKER, "1", (DELETE, name, None))
    in_force(c, name)
    alter(c, BROKER, "", (SET, name, "2"))
    in_force(c, name)
    alter(c, BROKER, "", (DELETE, name, None))
    in_force(c, name)


def in_force(c: Conversation, key: str) -> None:
    """Notes a setting of the broker, once what was altered last can be seen."""
    time.sleep(0.3)
    note(c, describe(c, BROKER, "1", [key]))


@case
def log_levels_of_a_broker(c: Conversation) -> None:
    """The one logger that both have is the root."""
    for changes in (
        [(SET, "root", "WARN")],
        [(SET, "root", "LOUD")],
        [(SET, "no.such.logger", "INFO")],
        [(DELETE, "root", None)],
        [(DELETE, "no.such.logger", None)],
        [(APPEND, "root", "INFO")],
        [(SUBTRACT, "root", "INFO")],
    ):
        alter(c, BROKER_LOGGER, "1", *changes)
    for name in ("2", "one", ""):
        alter(c, BROKER_LOGGER, name, (SET, "root", "WARN"))
    alter(c, BROKER_LOGGER, "1", (SET, "root", "DEBUG"), validate_only=True)
    note(c, describe(c, BROKER_LOGGER, "1", ["root"]))
