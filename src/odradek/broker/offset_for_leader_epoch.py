"""OffsetForLeaderEpoch: where the records of a leader epoch end, so that readers notice what a crash undid.

v2 the asker's own epoch (KIP-320), v3 the asker's id (KIP-392), v4 flexible.
"""

from typing import TYPE_CHECKING

from odradek.broker.partitions import Partition
from odradek.broker.requests import RequestContext
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: OffsetForLeaderEpochRequest, context: RequestContext
) -> OffsetForLeaderEpochResponse:
    results = []
    for topic in request.topics:
        found = []
        for asked in topic.partitions:
            try:
                found.append(_end_offset(broker.topics.partition(topic.topic, asked.partition), asked))
            except ApiError as error:
                found.append(EpochEndOffset(partition=asked.partition, error_code=error.code))
        results.append(OffsetForLeaderTopicResult(topic=topic.topic, partitions=found))
    return OffsetForLeaderEpochResponse(topics=results)


def _end_offset(partition: Partition | None, asked: OffsetForLeaderPartition) -> EpochEndOffset:
    if partition is None:
        raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    current = asked.current_leader_epoch
    if current >= 0 and current != partition.leader_epoch:
        is_newer = current > partition.leader_epoch
        raise ApiError(ErrorCode.UNKNOWN_LEADER_EPOCH if is_newer else ErrorCode.FENCED_LEADER_EPOCH)
    log = partition.log
    log.check_online()
    if asked.leader_epoch == partition.leader_epoch:
        # Also when the leader has not written under this epoch yet, of which the log knows nothing.
        epoch, end_offset = asked.leader_epoch, log.log_end_offset
    else:
        epoch, end_offset = log.end_offset_for_epoch(asked.leader_epoch)
    return EpochEndOffset(partition=asked.partition, leader_epoch=epoch, end_offset=end_offset)


def refuse(
    request: OffsetForLeaderEpochRequest, code: ErrorCode, message: str | None
) -> OffsetForLeaderEpochResponse:
    """``code`` for every partition asked for."""
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[
                    EpochEndOffset(partition=asked.partition, error_code=code) for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
