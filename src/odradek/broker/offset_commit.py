"""OffsetCommit: keeps how far a group has read, in ``__consumer_offsets``; answered once that is durable.

v5 no retention of its own any more (KIP-211), v6 leader epochs (KIP-320), v7 static members (KIP-345),
v8 flexible, v9 member epochs and GROUP_ID_NOT_FOUND (KIP-848), v10 topic ids (KIP-516).
A hot path: one partition of one topic is the case that must be cheap. Commits that come with one read of a
connection go into one batch, as Kafka's do that come within ``group.coordinator.append.linger.ms``.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.broker.shard_runner import Independent
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_TOPIC_IDS_FROM = 10


def handle(
    broker: "Broker", request: OffsetCommitRequest, context: RequestContext
) -> OffsetCommitResponse | Wait:
    response = OffsetCommitResponse(topics=[])
    topics = existing_topics(broker, request, context.api_version, response)
    if not topics:
        return response
    wait = Wait()
    try:
        runner = broker.groups.runner(request.group_id)
        step = runner.shard.commit_offsets(request, topics, response, context.api_version, wait, runner.now())
    except ApiError as error:
        for topic in topics:
            response.topics.append(_refused(topic, topic.partitions, error.code))
        return _merged(response)
    if step.write is not None and step.records:
        broker.gathered.add_step(runner, Independent(step, step.write, wait))
    else:
        runner.perform(step)
    return wait


def existing_topics(
    broker: "Broker", request: OffsetCommitRequest, version: int, response: OffsetCommitResponse
) -> list[OffsetCommitRequestTopic]:
    """What is asked for partitions that exist, with name and id of their topic; the rest is refused in
    ``response``."""
    by_id = version >= _TOPIC_IDS_FROM
    existing = []
    for topic in request.topics:
        known = broker.topics.by_id.get(topic.topic_id) if by_id else broker.topics.by_name.get(topic.name)
        if known is None:
            code = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            response.topics.append(_refused(topic, topic.partitions, code))
            continue
        topic.name, topic.topic_id = known.name, known.topic_id
        count = len(known.partitions)
        missing = [partition for partition in topic.partitions if not 0 <= partition.partition_index < count]
        if missing:
            response.topics.append(_refused(topic, missing, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
            topic.partitions = [
                partition for partition in topic.partitions if 0 <= partition.partition_index < count
            ]
        if topic.partitions:
            existing.append(topic)
    return existing


def _refused(
    topic: OffsetCommitRequestTopic, partitions: list[OffsetCommitRequestPartition], code: ErrorCode
) -> OffsetCommitResponseTopic:
    return OffsetCommitResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[
            OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
            for partition in partitions
        ],
    )


def _merged(response: OffsetCommitResponse) -> OffsetCommitResponse:
    """Each topic once, as clients expect it."""
    merged: dict[tuple[str, bytes], OffsetCommitResponseTopic] = {}
    for topic in response.topics:
        first = merged.setdefault((topic.name, topic.topic_id), topic)
        if first is not topic:
            first.partitions.extend(topic.partitions)
    response.topics = list(merged.values())
    return response


def refuse(request: OffsetCommitRequest, code: ErrorCode, message: str | None) -> OffsetCommitResponse:
    """``code`` for every partition asked for."""
    return OffsetCommitResponse(topics=[_refused(topic, topic.partitions, code) for topic in request.topics])
