"""DeleteRecords: moves the start of partitions up; what lies before is gone (KIP-107).

v1 throttling, v2 flexible. Offset -1 stands for the high watermark. Only what is committed can be deleted, so
nothing that is still on its way to a consumer is.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.delete_records import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

HIGH_WATERMARK = -1
_UNKNOWN = -1


def handle(
    broker: "Broker", request: DeleteRecordsRequest, context: RequestContext
) -> DeleteRecordsResponse | Wait:
    wanted: dict[str, dict[int, int]] = {}
    for topic in request.topics:
        offsets = wanted.setdefault(topic.name, {})
        offsets.update((partition.partition_index, partition.offset) for partition in topic.partitions)
    results = []
    for name, offsets in wanted.items():
        partitions = []
        for index, offset in offsets.items():
            try:
                low_watermark = _delete(broker, name, index, offset)
                partitions.append(
                    DeleteRecordsPartitionResult(partition_index=index, low_watermark=low_watermark)
                )
            except ApiError as error:
                partitions.append(_refusal(index, error.code))
        results.append(DeleteRecordsTopicResult(name=name, partitions=partitions))
    response = DeleteRecordsResponse(topics=results)
    if not broker.store.volume.log_starts_changed:
        return response
    # What was deleted must not come back with a crash, so the new log start has to be on disk.
    wait = Wait()

    def answer(is_durable: bool) -> None:
        refusal = ApiError(ErrorCode.KAFKA_STORAGE_ERROR)
        wait.complete(response if is_durable else refusal)

    broker.after_flush(answer)
    return wait


def _delete(broker: "Broker", name: str, index: int, offset: int) -> int:
    """Where the partition starts now. Source: ``Partition.deleteRecordsOnLeader``."""
    partition = broker.topics.partition(name, index)
    if partition is None:
        raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if partition.topic.is_internal:
        raise ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION)
    log = partition.log
    log.check_online()
    if log.config.is_compacted and not log.config.is_deleted:
        raise ApiError(ErrorCode.POLICY_VIOLATION)
    if offset == HIGH_WATERMARK:
        offset = log.high_watermark
    if offset < 0:
        raise ApiError(ErrorCode.OFFSET_OUT_OF_RANGE)
    log.advance_log_start(offset)
    return log.log_start_offset


def _refusal(index: int, code: ErrorCode) -> DeleteRecordsPartitionResult:
    return DeleteRecordsPartitionResult(partition_index=index, low_watermark=_UNKNOWN, error_code=code)


def refuse(request: DeleteRecordsRequest, code: ErrorCode, message: str | None) -> DeleteRecordsResponse:
    """``code`` for every partition asked for."""
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResult(
                name=topic.name,
                partitions=[_refusal(partition.partition_index, code) for partition in topic.partitions],
            )
            for topic in request.topics
        ]
    )
