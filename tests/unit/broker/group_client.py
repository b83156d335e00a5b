"""What the tests of group APIs do to get a group into the state that they are about."""

from typing import Any

from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from odradek.protocol.generated.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

from .harness import Harness, Pending

SUBSCRIPTION_T = b"\0\0\0\0\0\1\0\1t\xff\xff\xff\xff"


def with_groups(harness: Harness, *topics: str) -> Harness:
    """Topics (by default t) and the offsets topic are there."""
    names = topics or ("t",)
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name=name) for name in names]), 9)
    harness.call(FindCoordinatorRequest(key="g"), 3)
    return harness


def join_request(group_id: str = "g", member_id: str = "", **fields: Any) -> JoinGroupRequest:
    defaults: dict[str, Any] = {
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 20_000,
        "protocol_type": "consumer",
        "protocols": [JoinGroupRequestProtocol(name="range", metadata=SUBSCRIPTION_T)],
    }
    return JoinGroupRequest(group_id=group_id, member_id=member_id, **{**defaults, **fields})


def start_join(harness: Harness, group_id: str = "g", version: int = 9, **fields: Any) -> Pending:
    """A JoinGroup that waits, after the one for the id where there must be one."""
    if version >= 4 and not fields.get("group_instance_id") and not fields.get("member_id"):
        fields["member_id"] = harness.call(join_request(group_id, **fields), version).member_id
    return harness.send(join_request(group_id, **fields), version)


def stable_member(harness: Harness, group_id: str = "g", version: int = 9, **fields: Any) -> tuple[str, int]:
    """A group with one member, stable; the member's id and generation."""
    pending = start_join(harness, group_id, version, **fields)
    harness.flush()
    harness.advance(0)
    joined = pending.response()
    request = SyncGroupRequest(
        group_id=group_id,
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        assignments=[SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"work")],
    )
    assert harness.call(request, 3).assignment == b"work"
    return joined.member_id, joined.generation_id


def commit_request(
    offset: int, topic: str = "t", partition: int = 0, group_id: str = "g", **fields: Any
) -> OffsetCommitRequest:
    entry = OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
    topics = [OffsetCommitRequestTopic(name=topic, partitions=[entry])]
    return OffsetCommitRequest(group_id=group_id, topics=topics, **fields)


def committed(harness: Harness, group_id: str = "g") -> dict[str, int]:
    """All offsets of a group, by ``topic-partition``."""
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group_id, topics=None)])
    (group,) = harness.call(request, 9).groups
    assert group.error_code == 0
    return {
        f"{topic.name}-{partition.partition_index}": partition.committed_offset
        for topic in group.topics
        for partition in topic.partitions
    }
