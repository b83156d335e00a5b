"""DescribeTopicPartitions: partitions of topics in pages, with a cursor to go on from (KIP-966). One version.

Topics come in order of their names; a page ends at the asked limit, at most max.request.partition.size.limit.
"""

from typing import TYPE_CHECKING

from odradek.broker import authorized_operations
from odradek.broker.partitions import INTERNAL_TOPICS
from odradek.broker.requests import RequestContext
from odradek.cluster.image import TopicImage
from odradek.cluster.names import invalid_name_reason
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    ResponseCursor,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: DescribeTopicPartitionsRequest, context: RequestContext
) -> DescribeTopicPartitionsResponse:
    topics = broker.image.topics
    is_for_all = not request.topics
    names = sorted(topics) if is_for_all else sorted({topic.name for topic in request.topics})
    first_name, first_index = "", 0
    cursor = request.cursor
    if cursor is not None:
        first_name, first_index = cursor.topic_name, cursor.partition_index
        if first_index < 0:
            raise ApiError(ErrorCode.INVALID_REQUEST, "the cursor's partition index must not be negative")
        if not is_for_all and first_name not in names:
            raise ApiError(ErrorCode.INVALID_REQUEST, f"the cursor's topic {first_name} is not asked for")
        names = [name for name in names if name >= first_name]
    room = max(1, min(request.response_partition_limit, broker.config.max_request_partition_size_limit))
    response = DescribeTopicPartitionsResponse(topics=[])
    for name in names:
        topic = topics.get(name)
        if topic is None:
            response.topics.append(_missing(name))
            continue
        if room == 0:
            response.next_cursor = ResponseCursor(topic_name=name, partition_index=0)
            break
        start = first_index if name == first_name else 0
        end = min(start + room, len(topic.partitions))
        response.topics.append(_topic(broker, topic, start, end))
        room -= max(end - start, 0)
        if end < len(topic.partitions):
            response.next_cursor = ResponseCursor(topic_name=name, partition_index=end)
            break
    return response


def _topic(broker: "Broker", topic: TopicImage, start: int, end: int) -> DescribeTopicPartitionsResponseTopic:
    leaderless = dict(broker.topics.leaderless(topic.name))
    described = []
    for index in range(start, end):
        partition = topic.partitions[index]
        code = leaderless.get(index, ErrorCode.NONE)
        described.append(
            DescribeTopicPartitionsResponsePartition(
                error_code=code,
                partition_index=index,
                leader_id=-1 if code is ErrorCode.KAFKA_STORAGE_ERROR else partition.leader,
                leader_epoch=partition.leader_epoch,
                replica_nodes=list(partition.replicas),
                isr_nodes=list(partition.isr),
                eligible_leader_replicas=[],
                last_known_elr=[],
                offline_replicas=[broker.node_id] if code is ErrorCode.KAFKA_STORAGE_ERROR else [],
            )
        )
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=described,
        topic_authorized_operations=authorized_operations.TOPIC,
    )


def _missing(name: str) -> DescribeTopicPartitionsResponseTopic:
    is_legal = invalid_name_reason(name) is None
    return DescribeTopicPartitionsResponseTopic(
        error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if is_legal else ErrorCode.INVALID_TOPIC_EXCEPTION,
        name=name,
        partitions=[],
        topic_authorized_operations=authorized_operations.TOPIC,
    )


def refuse(
    request: DescribeTopicPartitionsRequest, code: ErrorCode, message: str | None
) -> DescribeTopicPartitionsResponse:
    """``code`` for every topic asked for."""
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(error_code=code, name=topic.name, partitions=[])
            for topic in request.topics
        ]
    )
