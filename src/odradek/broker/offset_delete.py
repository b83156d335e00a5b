"""OffsetDelete: forgets offsets of a group, but for topics that its members read (KIP-496)."""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: OffsetDeleteRequest, context: RequestContext
) -> OffsetDeleteResponse | Wait:
    runner = broker.groups.runner(request.group_id)
    response = OffsetDeleteResponse(error_code=0, topics=[])
    existing = []
    for topic in request.topics:
        known = broker.topics.by_name.get(topic.name)
        count = len(known.partitions) if known is not None else 0
        indexes = [partition.partition_index for partition in topic.partitions]
        missing = [index for index in indexes if not 0 <= index < count]
        if missing:
            response.topics.append(_refused(topic, missing))
        topic.partitions = [part for part in topic.partitions if 0 <= part.partition_index < count]
        if topic.partitions:
            existing.append(topic)
    request.topics = existing
    wait = Wait()
    runner.perform(runner.shard.delete_offsets(request, response, wait, runner.now()))
    return wait


def _refused(topic: OffsetDeleteRequestTopic, indexes: list[int]) -> OffsetDeleteResponseTopic:
    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    partitions = [OffsetDeleteResponsePartition(partition_index=index, error_code=code) for index in indexes]
    return OffsetDeleteResponseTopic(name=topic.name, partitions=partitions)


def refuse(request: OffsetDeleteRequest, code: ErrorCode, message: str | None) -> OffsetDeleteResponse:
    """``code`` for the whole request."""
    return OffsetDeleteResponse(error_code=code, topics=[])
