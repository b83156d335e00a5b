"""Configuration of groups: IncrementalAlterConfigs, AlterConfigs, DescribeConfigs, ListConfigResources."""

from typing import Any

from tests.conformance import raw
from tests.conformance.cases import Conversation, case
from tests.conformance.cases.configs import APPEND, DELETE, GROUP, SET, alter, describe, note

SESSION = "consumer.session.timeout.ms"
HEARTBEAT = "consumer.heartbeat.interval.ms"
ASSIGNMENT = "consumer.assignment.interval.ms"


def settled(c: Conversation, key: str, value: str) -> None:
    """Waits until the broker that is asked knows, then notes."""
    for _ in range(200):
        answer = describe(c, GROUP, c.group, [key])
        if answer.results[0].configs[0].value == value:
            break
    note(c, answer)


def listed(c: Conversation, kinds: list[int] | None, version: int = 1) -> None:
    """Notes the error and whether the group is in the list."""
    request = raw.request_of("ListConfigResources", **({} if kinds is None else {"resource_types": kinds}))
    answer = c.quietly(request, version)
    ours = [one.resource_type for one in answer.config_resources if one.resource_name == c.group]
    c.notes.append([kinds, answer.error_code, ours])


@case
def describe_configs_of_a_group(c: Conversation) -> None:
    """A group has every config whether it is there or not."""
    note(c, describe(c, GROUP, c.group, None))
    note(c, describe(c, GROUP, c.group, [SESSION, "nonsense"], synonyms=False))
    note(c, describe(c, GROUP, "", None))


@case
def set_and_delete_a_group_config(c: Conversation) -> None:
    alter(c, GROUP, c.group, (SET, SESSION, "50000"), (SET, "share.auto.offset.reset", "by_duration:PT1H"))
    settled(c, SESSION, "50000")
    settled(c, "share.auto.offset.reset", "by_duration:PT1H")
    listed(c, [GROUP])
    listed(c, [])
    listed(c, [2, 4])
    alter(c, GROUP, c.group, (DELETE, SESSION, None), (DELETE, "share.auto.offset.reset", None))
    settled(c, SESSION, "45000")
    listed(c, [GROUP])


@case
def list_config_resources_of_odd_kinds(c: Conversation) -> None:
    listed(c, None, version=0)
    listed(c, [99])
    listed(c, [GROUP, -1])
    listed(c, [GROUP, GROUP])


@case
def invalid_group_configs(c: Conversation) -> None:
    changes: list[tuple[int, str, str | None]] = [
        (SET, "nonsense", "1"),
        (DELETE, "nonsense", None),
        (SET, SESSION, "soon"),
        (SET, SESSION, None),
        (SET, SESSION, ""),
        (SET, SESSION, "0"),
        (SET, SESSION, "44999"),
        (SET, SESSION, "60001"),
        (SET, HEARTBEAT, "4999"),
        (SET, HEARTBEAT, "15001"),
        (SET, ASSIGNMENT, "15001"),
        (SET, ASSIGNMENT, "-1"),
        (APPEND, SESSION, "50000"),
        (SET, "share.auto.offset.reset", "never"),
        (SET, "share.record.lock.duration.ms", "5000"),
        (SET, "share.delivery.count.limit", "11"),
        (SET, "share.isolation.level", "READ_COMMITTED"),
        (SET, "streams.num.standby.replicas", "3"),
    ]
    for change in changes:
        alter(c, GROUP, c.group, change)
    alter(c, GROUP, c.group, (SET, HEARTBEAT, "15000"), (SET, SESSION, "46000"))
    alter(c, GROUP, c.group, (SET, HEARTBEAT, "5000"), (SET, "nonsense", "2"))
    alter(c, GROUP, "", (SET, SESSION, "50000"))
    alter(c, GROUP, c.group, (SET, SESSION, "50000"), validate_only=True)
    settled(c, HEARTBEAT, "15000")
    alter(c, GROUP, c.group, (DELETE, HEARTBEAT, None), (DELETE, SESSION, None))


@case
def the_old_alter_configs_replaces_all_of_a_group(c: Conversation) -> None:
    def replace(**configs: str | None) -> Any:
        entries = [
            raw.struct_of("AlterConfigs", "AlterableConfig", name=name.replace("_", "."), value=value)
            for name, value in configs.items()
        ]
        resource = raw.struct_of(
            "AlterConfigs",
            "AlterConfigsResource",
            resource_type=GROUP,
            resource_name=c.group,
            configs=entries,
        )
        c.ask(raw.request_of("AlterConfigs", resources=[resource]), 2)

    alter(c, GROUP, c.group, (SET, SESSION, "50000"), (SET, HEARTBEAT, "6000"))
    replace(consumer_session_timeout_ms="47000")
    settled(c, SESSION, "47000")
    settled(c, HEARTBEAT, "5000")
    replace(consumer_session_timeout_ms="1")
    replace(consumer_session_timeout_ms=None)
    replace()
    settled(c, SESSION, "45000")
