"""Produce: appends record batches to partitions and answers when they are as safe as was asked.

acks=0: no answer. acks=1: after the append. acks=all: once the high watermark covers the batch, which with
``flush.messages=1`` means that it is on disk (design: the high watermark covers flushed data only).

v3 brings magic 2 (KIP-98), v7 zstd (KIP-110), v8 per-record errors (KIP-467), v9 flexible versions, v10 the
current leader for clients that asked the wrong broker (KIP-951), v11/v12 transactions version 2 (KIP-890),
v13 topic ids (KIP-516). This is the hot path: one partition and no waiting is the case that must be cheap.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from odradek.broker.partitions import Partition
from odradek.broker.requests import Close, RequestContext, Wait
from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.protocol.generated.produce import (
    BatchIndexAndErrorMessage,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from odradek.storage.producers import NOTHING, Vouched

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.partitions import Topic

_ATTRIBUTES_LOW_BYTE = 22
_ZSTD = 4
_ZSTD_FROM_VERSION = 7
TOPIC_IDS_FROM_VERSION = 13
_WITHOUT_LOG_START = frozenset(
    {
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
"""Refusals that do not tell where the log starts (Kafka's ``ReplicaManager.appendRecordsToLocalLog``)."""

_NOT_NOW = frozenset({ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_LEADER_OR_FOLLOWER})
"""Refusals after which the same batch may be taken."""


Uncommitted = list[tuple[Partition, int, PartitionProduceResponse]]
"""Partitions whose high watermark must reach an offset before their answer counts."""


def handle(
    broker: "Broker", request: ProduceRequest, context: RequestContext
) -> ProduceResponse | Wait | Close | None:
    acks = request.acks
    if acks not in (1, -1, 0):
        return refuse(request, ErrorCode.INVALID_REQUIRED_ACKS, None)
    room = broker.room
    if room.is_tight:
        if room.is_full or not room.takes(request):
            return room.refuse(request)
        slowed: ProduceResponse | Wait | Close | None = room.slow(_handle(broker, request, context), context)
        return slowed
    return _handle(broker, request, context)


def _handle(
    broker: "Broker", request: ProduceRequest, context: RequestContext
) -> ProduceResponse | Wait | Close | None:
    if request.transactional_id is not None:
        from odradek.broker import transactional_produce

        return transactional_produce.handle(broker, request, context)
    responses, uncommitted = append(broker, request, context)
    return answer(broker, request, responses, uncommitted)


def append(
    broker: "Broker", request: ProduceRequest, context: RequestContext, vouched: Vouched = NOTHING
) -> tuple[list[TopicProduceResponse], Uncommitted]:
    """Appends all batches; what to answer, and what of it is not safe yet."""
    acks = request.acks
    version = context.api_version
    topics = broker.topics
    responses = []
    uncommitted: Uncommitted = []
    for topic_data in request.topic_data:
        if version < TOPIC_IDS_FROM_VERSION:
            topic = topics.by_name.get(topic_data.name)
        else:
            topic = topics.by_id.get(topic_data.topic_id)
        partition_responses = []
        for data in topic_data.partition_data:
            response = _append(broker, topic, data, context, acks, vouched)
            partition_responses.append(response)
            if acks == -1 and not response.error_code:
                partition = topic.partitions[data.index]  # type: ignore[union-attr]
                log = partition.log
                if log.high_watermark < log.log_end_offset:
                    uncommitted.append((partition, log.log_end_offset, response))
        responses.append(
            TopicProduceResponse(
                name=topic_data.name, topic_id=topic_data.topic_id, partition_responses=partition_responses
            )
        )
    return responses, uncommitted


def answer(
    broker: "Broker",
    request: ProduceRequest,
    responses: list[TopicProduceResponse],
    uncommitted: Uncommitted,
) -> ProduceResponse | Wait | Close | None:
    """What is answered, once it may be."""
    if request.acks == 0:
        failed = any(one.error_code for topic in responses for one in topic.partition_responses)
        return Close("Produce with acks=0 failed, which only closing can tell") if failed else None
    response = ProduceResponse(responses=responses)
    if not uncommitted:
        return response
    wait = Wait()
    Acknowledgement(broker, response, uncommitted, request.timeout_ms, wait.complete)
    return wait


def _append(
    broker: "Broker",
    topic: "Topic | None",
    data: PartitionProduceData,
    context: RequestContext,
    acks: int,
    vouched: Vouched,
) -> PartitionProduceResponse:
    index = data.index
    if topic is None or not 0 <= index < len(topic.partitions):
        by_id = topic is None and context.api_version >= TOPIC_IDS_FROM_VERSION
        unknown = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return refuse_partition(index, unknown, None)
    if topic.is_internal:
        return refuse_partition(
            index, ErrorCode.INVALID_TOPIC_EXCEPTION, "internal topics are the broker's own"
        )
    partition = topic.partitions[index]
    records = data.records
    try:
        if records is None:
            raise ApiError(ErrorCode.INVALID_RECORD, "a produce request must have records")
        if context.api_version < _ZSTD_FROM_VERSION and _codec(records) == _ZSTD:
            raise ApiError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce version 7 or higher")
        appended = partition.log.append(
            records, context.now_ms, leader_epoch=partition.leader_epoch, vouched=vouched
        )
    except ApiError as error:
        if error.code in _NOT_NOW and records is not None:
            partition.log.refused(records)
        return _refuse_append(index, error, partition.log.log_start_offset)
    except DamageError as error:
        return refuse_partition(index, ErrorCode.KAFKA_STORAGE_ERROR, str(error))
    log = partition.log
    if log.high_watermark < log.log_end_offset:
        broker.want_flush(acks == -1 or bool(partition.fetch_waiters))
    elif partition.fetch_waiters or partition.waiters:
        partition.high_watermark_moved()
    return PartitionProduceResponse(
        index=index,
        base_offset=appended.base_offset,
        log_append_time_ms=appended.log_append_time_ms,
        log_start_offset=appended.log_start_offset,
    )


def _codec(records: memoryview) -> int:
    return records[_ATTRIBUTES_LOW_BYTE] & 7 if len(records) > _ATTRIBUTES_LOW_BYTE else 0


class Acknowledgement:
    """An acks=all answer that waits for the high watermark of its partitions; then it is ``done``."""

    __slots__ = ("_answer", "_done", "_remaining")

    def __init__(
        self,
        broker: "Broker",
        answer: ProduceResponse,
        uncommitted: Uncommitted,
        timeout_ms: int,
        done: Callable[[ProduceResponse], None],
    ) -> None:
        self._done = done
        self._answer = answer
        self._remaining = len(uncommitted)
        deadline_ms = broker.clock.monotonic_ms() + max(timeout_ms, 0)
        for partition, next_offset, response in uncommitted:
            broker.await_commit(
                partition, next_offset, _PartitionAcknowledgement(self, response, deadline_ms)
            )

    def one_settled(self) -> None:
        self._remaining -= 1
        if self._remaining == 0:
            self._done(self._answer)


class _PartitionAcknowledgement:
    __slots__ = ("_acknowledgement", "_response", "deadline_ms")

    def __init__(
        self, acknowledgement: Acknowledgement, response: PartitionProduceResponse, deadline_ms: int
    ) -> None:
        self._acknowledgement = acknowledgement
        self._response = response
        self.deadline_ms: int | None = deadline_ms

    def committed(self) -> None:
        self._acknowledgement.one_settled()

    def failed(self, code: ErrorCode) -> None:
        response = self._response
        response.error_code = code
        response.base_offset = -1
        response.log_append_time_ms = -1
        response.log_start_offset = -1
        self._acknowledgement.one_settled()


def refuse_partition(index: int, code: ErrorCode, message: str | None) -> PartitionProduceResponse:
    """The answer for one partition that nothing was appended to."""
    return PartitionProduceResponse(
        index=index,
        error_code=code,
        base_offset=-1,
        log_append_time_ms=-1,
        log_start_offset=-1,
        error_message=message,
    )


def _refuse_append(index: int, error: ApiError, log_start_offset: int) -> PartitionProduceResponse:
    response = refuse_partition(index, error.code, error.message)
    if error.code not in _WITHOUT_LOG_START:
        response.log_start_offset = log_start_offset
    response.record_errors = [
        BatchIndexAndErrorMessage(batch_index=position, batch_index_error_message=reason)
        for position, reason in getattr(error, "record_errors", ())
    ]
    return response


def refuse(request: ProduceRequest, code: ErrorCode, message: str | None) -> ProduceResponse | Close:
    """``code`` for every partition asked for; with acks=0 only closing the connection can tell."""
    if request.acks == 0:
        return Close(f"Produce with acks=0 failed: {code.name}")
    return ProduceResponse(
        responses=[
            TopicProduceResponse(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_responses=[
                    refuse_partition(data.index, code, message) for data in topic.partition_data
                ],
            )
            for topic in request.topic_data
        ]
    )
