"""The consumer group protocol of KIP-848, heartbeat by heartbeat, and groups that change their kind."""

import json
import time
from typing import Any

from tests.conformance import raw
from tests.conformance.cases import Conversation, case
from tests.conformance.cases.configs import GROUP, SET, alter
from tests.conformance.cases.groups import heartbeat, join, join_request, leave, sync
from tests.conformance.cases.groups import subscription as classic_subscription

INTERVAL = "consumer.assignment.interval.ms"


def ready(c: Conversation, partitions: int = 4) -> None:
    """A topic, and a group whose target is made anew whenever it is behind."""
    c.names[c.create(partitions)] = "<topic id>"
    raw.find_coordinator(c.connection, c.group)
    alter(c, GROUP, c.group, (SET, INTERVAL, "0"))
    c.notes.clear()
    time.sleep(0.3)


def beat_request(c: Conversation, member_id: str, epoch: int, **options: Any) -> Any:
    owned = options.pop("owned", [] if epoch == 0 else None)
    parts = owned
    if owned:
        topic_id = next(name for name, word in c.names.items() if word == "<topic id>")
        parts = [
            raw.struct_of(
                "ConsumerGroupHeartbeat", "RequestTopicPartitions", topic_id=topic_id, partitions=owned
            )
        ]
    joining: dict[str, Any] = {}
    if epoch == 0:
        joining = {"rebalance_timeout_ms": 30_000, "subscribed_topic_names": [c.topic]}
    settings: dict[str, Any] = {"group_id": c.group, "member_id": member_id, "member_epoch": epoch}
    return raw.request_of(
        "ConsumerGroupHeartbeat", **{**settings, **joining, "topic_partitions": parts, **options}
    )


def beat(c: Conversation, member_id: str, epoch: int, version: int = 1, **options: Any) -> Any:
    return c.ask(beat_request(c, member_id, epoch, **options), version)


def describe(c: Conversation, *groups: str, version: int = 1) -> None:
    c.ask(raw.request_of("ConsumerGroupDescribe", group_ids=list(groups or (c.group,))), version)


def commit(c: Conversation, member_id: str, epoch: int, *partitions: int, version: int = 9) -> None:
    entries = [
        raw.struct_of(
            "OffsetCommit",
            "OffsetCommitRequestPartition",
            partition_index=partition,
            committed_offset=7,
            committed_metadata="",
        )
        for partition in partitions
    ]
    topic = raw.struct_of("OffsetCommit", "OffsetCommitRequestTopic", name=c.topic, partitions=entries)
    settings = {"group_id": c.group, "member_id": member_id, "generation_id_or_member_epoch": epoch}
    c.ask(raw.request_of("OffsetCommit", **settings, topics=[topic]), version)


def fetch(c: Conversation, member_id: str | None, epoch: int) -> None:
    wanted = raw.struct_of(
        "OffsetFetch",
        "OffsetFetchRequestGroup",
        group_id=c.group,
        member_id=member_id,
        member_epoch=epoch,
        topics=None,
    )
    c.ask(raw.request_of("OffsetFetch", groups=[wanted]), 9)


def kind(c: Conversation) -> None:
    """Notes what ListGroups says of the group."""
    listed = c.quietly(raw.request_of("ListGroups")).groups
    c.notes.append(
        [
            [group.group_type, group.group_state, group.protocol_type]
            for group in listed
            if group.group_id == c.group
        ]
    )


def hide_topic(c: Conversation) -> None:
    """Takes the topic's name, which is another in each run, out of what consumers say among themselves."""
    c.notes = json.loads(json.dumps(c.notes).replace(c.topic.encode().hex(), "<topic>"))


def subscription(topic: str, topic_id_owned: list[int] | None = None) -> bytes:
    """A classic consumer's, version 1, which says what it owns."""
    owned = b"\0\0\0\0"
    if topic_id_owned:
        numbers = b"".join(number.to_bytes(4, "big") for number in topic_id_owned)
        name = len(topic).to_bytes(2, "big") + topic.encode()
        owned = b"\0\0\0\1" + name + len(topic_id_owned).to_bytes(4, "big") + numbers
    return b"\0\1" + classic_subscription(topic)[2:] + owned


@case
def consumer_heartbeats_that_make_no_sense(c: Conversation) -> None:
    ready(c)
    beat(c, "m", -3)
    beat(c, "m", 5)
    beat(c, "m", -1)
    beat(c, "m", -2)
    beat(c, "m", -2, instance_id="i")
    beat(c, "", 0)
    beat(c, "", 1)
    beat(c, "m", 0, group_id="")
    beat(c, "m", 0, instance_id="")
    beat(c, "m", 0, rack_id="")
    beat(c, "m", 0, rebalance_timeout_ms=-1)
    beat(c, "m", 0, owned=None)
    beat(c, "m", 0, owned=[1])
    beat(c, "m", 0, subscribed_topic_names=None)
    beat(c, "m", 0, server_assignor="sticky")
    beat(c, "m", 0, server_assignor="")
    for regex in ("(", "a{2000}", "(?=a)", "\\"):
        beat(c, "m", 0, subscribed_topic_regex=regex)
    describe(c)
    kind(c)


@case
def describe_a_group_without_a_name(c: Conversation) -> None:
    ready(c)
    for version in (0, 1):
        describe(c, "", c.new_name("nobody"), version=version)


@case
def consumer_heartbeats_in_every_version(c: Conversation) -> None:
    ready(c)
    for version in (0, 1):
        beat(c, "m", 0, version)
        beat(c, "m", 2, version)
        beat(
            c,
            "m",
            2,
            version,
            owned=[0, 1, 2, 3],
            rebalance_timeout_ms=30_000,
            subscribed_topic_names=[c.topic],
        )
        describe(c, version=version)
    beat(c, "", 0, 0)


@case
def two_consumers_share_a_topic(c: Conversation) -> None:
    ready(c)
    beat(c, "a", 0)
    kind(c)
    beat(c, "b", 0)
    describe(c)
    beat(c, "b", 3)
    beat(c, "a", 2)
    beat(c, "a", 2, owned=[0, 1, 2, 3])
    beat(c, "b", 3)
    commit(c, "a", 2, 0, 3)
    beat(c, "a", 2, owned=[0, 1])
    describe(c)
    beat(c, "b", 3)
    describe(c)
    commit(c, "b", 3, 2)
    commit(c, "a", 2, 0)
    commit(c, "a", 2, 2)
    commit(c, "a", 2, 0, 2)
    commit(c, "a", 1, 0)
    commit(c, "a", 4, 0)
    commit(c, "a", 3, 0, version=8)
    commit(c, "nobody", 3, 0)
    commit(c, "", -1, 0)
    fetch(c, "a", 3)
    fetch(c, "a", 2)
    fetch(c, "nobody", 3)
    fetch(c, None, -1)
    beat(c, "a", -1)
    describe(c)
    beat(c, "a", 3)
    beat(c, "b", 3)
    describe(c)
    beat(c, "b", -1)
    describe(c)
    kind(c)


@case
def member_epochs_are_fenced(c: Conversation) -> None:
    ready(c)
    beat(c, "a", 0)
    beat(c, "a", 1)
    beat(c, "a", 1, owned=[])
    beat(c, "a", 3)
    beat(c, "b", 0)
    beat(c, "a", 2)
    beat(c, "a", 2, owned=[0])
    beat(c, "a", 2, owned=[0])
    beat(c, "a", 2, owned=[0, 2])
    beat(c, "a", 2)
    beat(c, "a", 0)
    beat(c, "nobody", 2)


@case
def a_subscription_changes(c: Conversation) -> None:
    ready(c)
    beat(c, "a", 0)
    beat(c, "a", 2, subscribed_topic_names=[])
    beat(c, "a", 2, owned=[])
    beat(c, "a", 3, subscribed_topic_names=[c.topic, "a-topic-that-is-not"])
    beat(c, "a", 4, rack_id="r")
    beat(c, "a", 4, rebalance_timeout_ms=5_000)
    beat(c, "a", 4, server_assignor="range")
    beat(c, "a", 4, subscribed_topic_names=[c.topic])
    describe(c)


@case
def static_consumers(c: Conversation) -> None:
    ready(c)
    beat(c, "a", 0, instance_id="i")
    beat(c, "b", 0, instance_id="i")
    beat(c, "a", 0, instance_id="i")
    beat(c, "b", 2, instance_id="i")
    beat(c, "a", 2, instance_id="j")
    beat(c, "a", -2, instance_id="i")
    describe(c)
    beat(c, "a", 2, instance_id="i")
    commit(c, "a", 2, 0)
    beat(c, "b", 0, instance_id="i")
    beat(c, "a", 2, instance_id="i")
    beat(c, "a", 2)
    beat(c, "a", -1, instance_id="i")
    describe(c)
    leave(c, ("", "i"))
    describe(c)
    leave(c, ("", "i"), ("b", None))


@case
def requests_for_the_other_kind_of_group(c: Conversation) -> None:
    ready(c)
    beat(c, "a", 0)
    c.ask(raw.request_of("DescribeGroups", groups=[c.group]), 6)
    c.ask(raw.request_of("DescribeGroups", groups=[c.group]), 5)
    heartbeat(c, 2, "a")
    sync(c, 2, "a")
    join(c, "new", protocol_type="connect")
    c.ask(raw.request_of("DeleteGroups", groups_names=[c.group]))
    leave(c, ("a", None), ("x", None))
    describe(c)
    classic = c.new_name("classic group")
    answer = c.quietly(join_request(c, group_id=classic, protocol_type="connect"), 3)
    assert answer.error_code == 0
    describe(c, classic, c.new_name("no group"))
    beat(c, "a", 0, group_id=classic)
    beat(c, "a", 3, group_id=classic)
    beat(c, "a", -1, group_id=classic)
    c.ask(raw.request_of("DeleteGroups", groups_names=[c.group]))
    describe(c)


@case
def a_classic_member_in_a_consumer_group(c: Conversation) -> None:
    ready(c)
    beat(c, "a", 0)
    protocols = (("range", subscription(c.topic)),)
    member_id = join(c, protocols=protocols).member_id
    c.names[member_id] = "<classic member>"
    join(c, member_id, protocols=protocols)
    heartbeat(c, 3, member_id)
    heartbeat(c, 2, member_id)
    sync(c, 3, member_id)
    sync(c, 2, member_id)
    sync(c, 3, member_id, protocol_name="other")
    beat(c, "a", 2)
    beat(c, "a", 2, owned=[0, 1])
    heartbeat(c, 3, member_id)
    join(c, member_id, protocols=protocols)
    sync(c, 3, member_id)
    heartbeat(c, 3, member_id)
    commit(c, member_id, 3, 2, version=8)
    commit(c, member_id, 2, 2, version=8)
    fetch(c, member_id, 2)
    describe(c)
    join(c, "other", protocols=(("sticky", subscription(c.topic)),))
    leave(c, (member_id, None))
    describe(c)
    hide_topic(c)


@case
def a_classic_group_becomes_a_consumer_group_and_back(c: Conversation) -> None:
    ready(c)
    protocols = (("range", subscription(c.topic)),)
    member_id = join(c, protocols=protocols).member_id
    c.names[member_id] = "<classic member>"
    join(c, member_id, protocols=protocols)
    name = len(c.topic).to_bytes(2, "big") + c.topic.encode()
    numbers = b"".join(number.to_bytes(4, "big") for number in range(4))
    assignment = b"\0\1\0\0\0\1" + name + b"\0\0\0\4" + numbers + b"\xff" * 4
    sync(c, 1, member_id, assignments=[(member_id, assignment)])
    commit(c, member_id, 1, 0)
    beat(c, "a", 0)
    kind(c)
    describe(c)
    heartbeat(c, 1, member_id)
    sync(c, 1, member_id)
    commit(c, member_id, 1, 0)
    join(c, member_id, protocols=(("range", subscription(c.topic, [0, 1, 2, 3])),))
    sync(c, 1, member_id)
    heartbeat(c, 1, member_id)
    join(c, member_id, protocols=(("range", subscription(c.topic, [0, 1])),))
    sync(c, 2, member_id)
    heartbeat(c, 2, member_id)
    beat(c, "a", 2)
    describe(c)
    beat(c, "a", -1)
    kind(c)
    heartbeat(c, 2, member_id)
    join(c, member_id, protocols=(("range", subscription(c.topic, [0, 1])),))
    sync(c, 3, member_id, assignments=[(member_id, assignment)])
    kind(c)
    leave(c, (member_id, None))
    kind(c)
    beat(c, "a", 0)
    kind(c)
    beat(c, "a", -1)
    join(c, protocols=protocols)
    kind(c)
    hide_topic(c)


@case
def a_group_that_only_keeps_offsets_becomes_a_consumer_group(c: Conversation) -> None:
    ready(c)
    commit(c, "", -1, 0)
    kind(c)
    beat(c, "a", 0)
    fetch(c, "a", 2)
    commit(c, "", -1, 0)
    beat(c, "a", -1)
    commit(c, "", -1, 0)
    commit(c, "a", -1, 0)
    commit(c, "a", 2, 0)
    kind(c)
