"""OffsetFetch: how far groups have read. What is not durable yet is waited for, so that no consumer starts
from an offset that a crash takes back.

v2 all topics and a top-level error (KIP-88), v5 leader epochs (KIP-320), v6 flexible, v7 may insist on stable
offsets (KIP-447), v8 several groups (KIP-709), v9 member epochs (KIP-848), v10 topic ids (KIP-516).
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Several, Wait
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_TOP_LEVEL_ERROR_FROM = 2
_SEVERAL_GROUPS_FROM = 8
_TOPIC_IDS_FROM = 10


def handle(
    broker: "Broker", request: OffsetFetchRequest, context: RequestContext
) -> OffsetFetchResponse | Wait:
    groups = _groups(request, context.api_version)
    several = Several[OffsetFetchResponseGroup](
        len(groups), lambda fetched: _response(groups, fetched, context.api_version)
    )
    for position, group in enumerate(groups):
        _fetch(broker, group, request.require_stable, context.api_version, several, position)
    return several.wait


def _groups(request: OffsetFetchRequest, version: int) -> list[OffsetFetchRequestGroup]:
    if version >= _SEVERAL_GROUPS_FROM:
        return request.groups
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in request.topics
        ]
    return [OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)]


def _fetch(
    broker: "Broker",
    group: OffsetFetchRequestGroup,
    require_stable: bool,
    version: int,
    several: Several[OffsetFetchResponseGroup],
    position: int,
) -> None:
    unknown: list[OffsetFetchResponseTopics] = []
    if version >= _TOPIC_IDS_FROM and group.topics is not None:
        unknown = _name_topics(broker, group)
    try:
        runner = broker.groups.runner(group.group_id)
        fetched = runner.shard.fetch_offsets(group, require_stable)
    except ApiError as error:
        several.add(position, OffsetFetchResponseGroup(group_id=group.group_id, error_code=error.code))
        return
    if version >= _TOPIC_IDS_FROM and group.topics is None:
        _add_topic_ids(broker, fetched)
    fetched.topics.extend(unknown)

    def settled(code: ErrorCode) -> None:
        if code:
            several.add(position, OffsetFetchResponseGroup(group_id=group.group_id, error_code=code))
        else:
            several.add(position, fetched)

    runner.when_settled(settled)


def _name_topics(broker: "Broker", group: OffsetFetchRequestGroup) -> list[OffsetFetchResponseTopics]:
    """Gives the topics asked for their names; takes those out that no topic has the id of, refused."""
    known, unknown = [], []
    for topic in group.topics or ():
        found = broker.topics.by_id.get(topic.topic_id)
        if found is not None:
            topic.name = found.name
            known.append(topic)
            continue
        partitions = [
            OffsetFetchResponsePartitions(
                partition_index=index,
                committed_offset=-1,
                committed_leader_epoch=-1,
                metadata="",
                error_code=ErrorCode.UNKNOWN_TOPIC_ID,
            )
            for index in topic.partition_indexes
        ]
        unknown.append(OffsetFetchResponseTopics(topic_id=topic.topic_id, partitions=partitions))
    group.topics = known
    return unknown


def _add_topic_ids(broker: "Broker", fetched: OffsetFetchResponseGroup) -> None:
    """Names become ids; a topic that is gone has none, so it is left out."""
    named = []
    for topic in fetched.topics:
        known = broker.topics.by_name.get(topic.name)
        if known is not None:
            topic.topic_id = known.topic_id
            named.append(topic)
    fetched.topics = named


def _response(
    groups: list[OffsetFetchRequestGroup], fetched: list[OffsetFetchResponseGroup], version: int
) -> OffsetFetchResponse:
    if version >= _SEVERAL_GROUPS_FROM:
        return OffsetFetchResponse(groups=fetched)
    (one,) = fetched
    if one.error_code and version < _TOP_LEVEL_ERROR_FROM:
        return _refuse_partitions(groups[0].topics or [], one.error_code)
    topics = [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(
                    partition_index=partition.partition_index,
                    committed_offset=partition.committed_offset,
                    committed_leader_epoch=partition.committed_leader_epoch,
                    metadata=partition.metadata,
                    error_code=partition.error_code,
                )
                for partition in topic.partitions
            ],
        )
        for topic in one.topics
    ]
    return OffsetFetchResponse(topics=topics, error_code=one.error_code)


def _refuse_partitions(topics: list[OffsetFetchRequestTopics], code: int) -> OffsetFetchResponse:
    """Version 1 has no other place for an error."""
    return OffsetFetchResponse(
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=index, committed_offset=-1, metadata="", error_code=code
                    )
                    for index in topic.partition_indexes
                ],
            )
            for topic in topics
        ]
    )


def refuse(request: OffsetFetchRequest, code: ErrorCode, message: str | None) -> OffsetFetchResponse:
    """``code`` at the top (up to v7) and for every group (from v8)."""
    return OffsetFetchResponse(
        error_code=code,
        groups=[
            OffsetFetchResponseGroup(group_id=group.group_id, error_code=code) for group in request.groups
        ],
    )
