"""ListOffsets: the first, the last, or the first offset at or after a time.

v1 one offset per partition (KIP-79), v2 isolation level (KIP-98), v4 leader epochs (KIP-320), v6 flexible,
v7 the offset of the greatest timestamp (KIP-734), v8 earliest local (KIP-405), v9 latest tiered (KIP-1005),
v10 timeout of remote look-ups (KIP-1075), v11 earliest pending upload (KIP-1023). Nothing is tiered here, so
the earliest local offset is the log's start and the tiered ones are unknown (-1).
"""

from collections import Counter
from typing import TYPE_CHECKING

from odradek.broker.fetch import READ_COMMITTED
from odradek.broker.requests import RequestContext
from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.protocol.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.partitions import Partition

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6

_FROM_VERSION = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}
_CONSUMER = -1
_UNKNOWN = -1


def handle(broker: "Broker", request: ListOffsetsRequest, context: RequestContext) -> ListOffsetsResponse:
    asked = Counter(
        (topic.name, partition.partition_index) for topic in request.topics for partition in topic.partitions
    )
    response = ListOffsetsResponse(topics=[])
    for topic in request.topics:
        found = []
        for partition in topic.partitions:
            index = partition.partition_index
            try:
                if asked[topic.name, index] > 1:
                    raise ApiError(ErrorCode.INVALID_REQUEST)
                found.append(
                    _look_up(broker.topics.partition(topic.name, index), partition, request, context)
                )
            except ApiError as error:
                found.append(_refuse_partition(index, error.code))
            except DamageError:
                found.append(_refuse_partition(index, ErrorCode.KAFKA_STORAGE_ERROR))
        response.topics.append(ListOffsetsTopicResponse(name=topic.name, partitions=found))
    return response


def _look_up(
    partition: "Partition | None",
    asked: ListOffsetsPartition,
    request: ListOffsetsRequest,
    context: RequestContext,
) -> ListOffsetsPartitionResponse:
    if partition is None:
        raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    epoch = asked.current_leader_epoch
    if epoch >= 0 and epoch != partition.leader_epoch:
        is_newer = epoch > partition.leader_epoch
        raise ApiError(ErrorCode.UNKNOWN_LEADER_EPOCH if is_newer else ErrorCode.FENCED_LEADER_EPOCH)
    timestamp = asked.timestamp
    if timestamp < EARLIEST_PENDING_UPLOAD or context.api_version < _FROM_VERSION.get(timestamp, 0):
        raise ApiError(ErrorCode.UNSUPPORTED_VERSION)
    log = partition.log
    log.check_online()
    if request.replica_id != _CONSUMER:
        upper_offset = log.log_end_offset
    elif request.isolation_level == READ_COMMITTED:
        upper_offset = log.last_stable_offset
    else:
        upper_offset = log.high_watermark
    found = ListOffsetsPartitionResponse(partition_index=asked.partition_index)
    if timestamp == LATEST:
        found.offset = upper_offset
        found.leader_epoch = partition.leader_epoch
    elif timestamp in (EARLIEST, EARLIEST_LOCAL):
        found.offset = log.log_start_offset
        is_empty = log.log_start_offset == log.log_end_offset
        found.leader_epoch = partition.leader_epoch if is_empty else log.epochs.epoch_at(log.log_start_offset)
    elif timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        found.offset = _UNKNOWN
    else:
        if timestamp == MAX_TIMESTAMP:
            match = log.max_timestamp_offset(upper_offset)
        else:
            match = log.find_offset_by_timestamp(timestamp, upper_offset)
        if match is not None:
            found.timestamp = match.timestamp
            found.offset = match.offset
            found.leader_epoch = match.leader_epoch
    return found


def _refuse_partition(index: int, code: ErrorCode) -> ListOffsetsPartitionResponse:
    return ListOffsetsPartitionResponse(partition_index=index, error_code=code)


def refuse(request: ListOffsetsRequest, code: ErrorCode, message: str | None) -> ListOffsetsResponse:
    """``code`` for every partition asked for."""
    return ListOffsetsResponse(
        topics=[
            ListOffsetsTopicResponse(
                name=topic.name,
                partitions=[_refuse_partition(asked.partition_index, code) for asked in topic.partitions],
            )
            for topic in request.topics
        ]
    )
