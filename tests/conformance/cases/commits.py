"""OffsetCommit, OffsetFetch and OffsetDelete."""

import time
from typing import Any

from tests.conformance import raw
from tests.conformance.cases import Conversation, case
from tests.conformance.cases.groups import join_request, lone_member, ready, subscription


def commit(
    c: Conversation,
    offset: int,
    metadata: str | None = "",
    *,
    partition: int = 0,
    topic: str = "",
    version: int = 9,
    epoch: int = -1,
    **options: Any,
) -> Any:
    where = raw.struct_of(
        "OffsetCommit",
        "OffsetCommitRequestPartition",
        partition_index=partition,
        committed_offset=offset,
        committed_leader_epoch=epoch,
        committed_metadata=metadata,
    )
    named: dict[str, Any] = {"name": topic or c.topic}
    if version >= 10:
        named = {"topic_id": options.pop("topic_id")}
    topics = [raw.struct_of("OffsetCommit", "OffsetCommitRequestTopic", **named, partitions=[where])]
    settings: dict[str, Any] = {"group_id": c.group, "generation_id_or_member_epoch": -1, "topics": topics}
    return c.ask(raw.request_of("OffsetCommit", **{**settings, **options}), version)


def fetch_group(c: Conversation, version: int = 9, topics: Any = None, **options: Any) -> Any:
    group = raw.struct_of(
        "OffsetFetch", "OffsetFetchRequestGroup", **{"group_id": c.group, "topics": topics, **options}
    )
    return c.ask(raw.request_of("OffsetFetch", groups=[group]), version)


@case
def a_commit_outside_a_group(c: Conversation) -> None:
    c.create()
    ready(c)
    commit(c, 7, "read by hand")
    fetch_group(c)
    commit(c, 3, None)
    fetch_group(c)


@case
def commit_in_every_version(c: Conversation) -> None:
    topic_id = c.create()
    ready(c)
    for version in range(2, 11):
        extra = {"topic_id": topic_id} if version >= 10 else {}
        commit(c, version, f"of version {version}", version=version, **extra)
        fetch_group(c)


@case
def offset_fetch_in_every_version(c: Conversation) -> None:
    topic_id = c.create(2)
    ready(c)
    commit(c, 7, "metadata", epoch=0)
    for version in range(1, 8):
        wanted = [
            raw.struct_of("OffsetFetch", "OffsetFetchRequestTopic", name=c.topic, partition_indexes=[0, 1])
        ]
        c.ask(raw.request_of("OffsetFetch", group_id=c.group, topics=wanted), version)
        if version >= 2:
            c.ask(raw.request_of("OffsetFetch", group_id=c.group, topics=None), version)
    for version in range(8, 11):
        named: dict[str, Any] = {"topic_id": topic_id} if version >= 10 else {"name": c.topic}
        wanted = [raw.struct_of("OffsetFetch", "OffsetFetchRequestTopics", **named, partition_indexes=[0, 1])]
        fetch_group(c, version, wanted)
        fetch_group(c, version)


@case
def offset_fetch_of_what_is_not_there(c: Conversation) -> None:
    c.create()
    ready(c)
    wanted = [
        raw.struct_of("OffsetFetch", "OffsetFetchRequestTopics", name=c.topic, partition_indexes=[0, 5])
    ]
    fetch_group(c, 9, wanted)
    nobody = c.new_name("nobody")
    wanted = [raw.struct_of("OffsetFetch", "OffsetFetchRequestTopics", name=nobody, partition_indexes=[0])]
    fetch_group(c, 9, wanted)
    wanted = [
        raw.struct_of(
            "OffsetFetch", "OffsetFetchRequestTopics", topic_id=bytes(range(16)), partition_indexes=[0]
        )
    ]
    fetch_group(c, 10, wanted)
    fetch_group(c, 9, member_id="nobody", member_epoch=5)


@case
def offset_fetch_of_several_groups(c: Conversation) -> None:
    c.create()
    ready(c)
    commit(c, 7, "first")
    other = c.new_name("other")
    commit(c, 8, "second", group_id=other)
    groups = [
        raw.struct_of("OffsetFetch", "OffsetFetchRequestGroup", group_id=group, topics=None)
        for group in (c.group, other, c.new_name("nobody"))
    ]
    c.ask(raw.request_of("OffsetFetch", groups=groups), 9)


@case
def commits_of_unknown_members_are_refused(c: Conversation) -> None:
    c.create()
    ready(c)
    commit(c, 1, member_id="nobody", generation_id_or_member_epoch=1)
    commit(c, 1, member_id="nobody")
    commit(c, 1, generation_id_or_member_epoch=1)
    commit(c, 1, group_instance_id="stranger")
    member_id = lone_member(c)
    commit(c, 1)
    commit(c, 1, member_id="nobody", generation_id_or_member_epoch=1)
    commit(c, 1, member_id=member_id, generation_id_or_member_epoch=0)
    commit(c, 1, member_id=member_id, generation_id_or_member_epoch=2)
    commit(c, 1, member_id=member_id, generation_id_or_member_epoch=1, group_instance_id="stranger")
    commit(c, 1, member_id=member_id, generation_id_or_member_epoch=-1)
    fetch_group(c)
    commit(c, 5, member_id=member_id, generation_id_or_member_epoch=1)
    fetch_group(c)


@case
def commits_during_a_rebalance(c: Conversation) -> None:
    ready(c)
    c.create()
    first = lone_member(c)
    with raw.RawConnection(c.bootstrap) as other:
        second = other.ask(join_request(c), 9).member_id
        c.names[second] = "<second>"
        other.send_frame(raw.encode_request(join_request(c, second), 9, 77))
        beat = raw.request_of("Heartbeat", group_id=c.group, generation_id=1, member_id=first)
        while c.quietly(beat).error_code == 0:
            pass
        commit(c, 5, member_id=first, generation_id_or_member_epoch=1)
        c.quietly(join_request(c, first), 9)
        other.receive_frame()
        commit(c, 6, member_id=first, generation_id_or_member_epoch=1)
        commit(c, 7, member_id=first, generation_id_or_member_epoch=2)
        fetch_group(c)


@case
def commits_of_odd_things(c: Conversation) -> None:
    topic_id = c.create()
    ready(c)
    commit(c, 1, partition=9)
    commit(c, 1, partition=-1)
    commit(c, 1, topic=c.new_name("nobody"))
    commit(c, 1, topic="a b")
    commit(c, -1)
    commit(c, -7)
    commit(c, 1, "m" * 4_096)
    commit(c, 1, "m" * 4_097)
    commit(c, 1, group_id="")
    commit(c, 1, version=10, topic_id=bytes(range(16)))
    commit(c, 1, version=10, topic_id=bytes(16))
    commit(c, 1_000_000, version=10, topic_id=topic_id)
    c.ask(raw.request_of("OffsetCommit", group_id=c.group, generation_id_or_member_epoch=-1, topics=[]), 9)
    fetch_group(c)


def delete(c: Conversation, *partitions: int, topic: str = "", group: str = "") -> None:
    wanted = [
        raw.struct_of("OffsetDelete", "OffsetDeleteRequestPartition", partition_index=index)
        for index in partitions
    ]
    topics = [
        raw.struct_of("OffsetDelete", "OffsetDeleteRequestTopic", name=topic or c.topic, partitions=wanted)
    ]
    c.ask(raw.request_of("OffsetDelete", group_id=group or c.group, topics=topics), 0)


@case
def offset_delete(c: Conversation) -> None:
    c.create(2)
    ready(c)
    delete(c, 0)
    commit(c, 7)
    commit(c, 8, partition=1)
    delete(c, 0)
    fetch_group(c)
    delete(c, 0, 1, 9)
    delete(c, 0, topic=c.new_name("nobody"))
    delete(c, 0, group=c.new_name("no group"))
    c.ask(raw.request_of("OffsetDelete", group_id="", topics=[]), 0)


@case
def offset_delete_while_members_are_there(c: Conversation) -> None:
    c.create()
    ready(c)
    member_id: str = c.quietly(join_request(c, protocols=(("range", subscription(c.topic)),)), 9).member_id
    c.names[member_id] = "<member>"
    c.quietly(join_request(c, member_id, protocols=(("range", subscription(c.topic)),)), 9)
    c.quietly(
        raw.request_of(
            "SyncGroup",
            group_id=c.group,
            generation_id=1,
            member_id=member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[
                raw.struct_of("SyncGroup", "SyncGroupRequestAssignment", member_id=member_id, assignment=b"x")
            ],
        ),
        5,
    )
    commit(c, 7, member_id=member_id, generation_id_or_member_epoch=1)
    delete(c, 0)
    fetch_group(c)


@case
def offsets_of_a_deleted_topic_are_gone(c: Conversation) -> None:
    c.create()
    ready(c)
    commit(c, 7)
    c.quietly(raw.request_of("DeleteTopics", topic_names=[c.topic], timeout_ms=10_000), 5)
    group = raw.struct_of("OffsetFetch", "OffsetFetchRequestGroup", group_id=c.group, topics=None)
    deadline = time.monotonic() + 60
    while c.quietly(raw.request_of("OffsetFetch", groups=[group]), 9).groups[0].topics:
        assert time.monotonic() < deadline, "the offsets stay"
        time.sleep(0.02)
    fetch_group(c)
