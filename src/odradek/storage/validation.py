"""What a produced batch must satisfy, checked in Kafka's order so that each fault gets Kafka's code.

``Log.append`` lets batches pass on their header alone where the topic allows it; everything else comes here.
Source: ``ProduceRequest.validateRecords``, ``UnifiedLog.analyzeAndValidateRecords``, ``LogValidator``.

One difference is on purpose: Kafka walks the records of every batch, we only those of topics that are
compacted, recompress, or set ``message.timestamp.before.max.ms``, and those whose header shows a timestamp
too far ahead. Elsewhere the header's count, last offset delta and max timestamp are believed once the CRC
fits: docs/decisions/0002-log.md.
"""

from typing import NamedTuple

from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.records.batch import (
    COMPRESSION_MASK,
    CRC_START,
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    LOG_APPEND_TIME_FLAG,
    MAGIC,
    NO_TIMESTAMP,
    BatchHeader,
)
from odradek.records.builder import build_batch, seal_batch
from odradek.records.compression import NAMES, decompress
from odradek.records.crc import crc32c
from odradek.records.errors import CorruptBatchError, InvalidRecordsError
from odradek.records.record import Record, parse_records
from odradek.storage.config import PRODUCER, UNLIMITED, LogConfig

CLIENT = 0
COORDINATOR = 1

_SMALLEST_LENGTH = 14
_MAGIC_POSITION = 16
_ERRORS_SHOWN = 3


class RecordError(NamedTuple):
    """One refused record: its place in the batch and why, as Produce answers it since version 8."""

    batch_index: int
    message: str


class RecordsRefusedError(ApiError):
    """INVALID_RECORD or INVALID_TIMESTAMP with the records that are to blame."""

    def __init__(self, code: ErrorCode, message: str, record_errors: list[RecordError]) -> None:
        super().__init__(code, message)
        self.record_errors = record_errors


def check_batch(
    records: memoryview, config: LogConfig, now_ms: int, origin: int, topic_partition: TopicPartition
) -> memoryview:
    """The one batch to append: ``records`` itself, perhaps with its timestamp fields rewritten, or its
    recompressed successor. Base offset and leader epoch are still to be set.

    Raises ApiError with Kafka's code, :class:`RecordsRefusedError` when single records are to blame.
    """
    batch = _first_batch(records, topic_partition)
    header = _check_header(batch, config, origin, topic_partition)
    if header.is_control:
        _stamp(batch, header, config.timestamp_type, header.max_timestamp, now_ms)
        return batch
    codec = header.attributes & COMPRESSION_MASK
    target = codec if config.compression_codec == PRODUCER else config.compression_codec
    max_timestamp = header.max_timestamp
    if _needs_walk(header, config, now_ms, recompress=codec != target):
        found = _walk(batch, header, topic_partition)
        _check_records(found, header, config, now_ms, topic_partition)
        if codec != target:
            return _rebuilt(found, header, target, config, now_ms, topic_partition)
        max_timestamp = max((record.timestamp for record in found), default=NO_TIMESTAMP)
    elif config.timestamp_type == LOG_APPEND_TIME and header.timestamp_type == LOG_APPEND_TIME:
        _refuse([RecordError(0, _APPEND_TIME_SET)], timestamps=True)
    _stamp(batch, header, config.timestamp_type, max_timestamp, now_ms)
    return batch


_APPEND_TIME_SET = "Invalid timestamp type. Producer should not set timestamp type to LogAppendTime."


def _first_batch(records: memoryview, topic_partition: TopicPartition) -> memoryview:
    """The first batch; bytes behind it that are no whole batch are cut off, as Kafka does."""
    size = _batch_size(records, topic_partition)
    if size is None:
        raise _invalid("Produce requests must have at least one record batch per partition")
    if records[_MAGIC_POSITION] != MAGIC:
        raise _invalid("Produce requests are only allowed to contain record batches with magic version 2")
    if _batch_size(records[size:], topic_partition) is not None:
        raise _invalid("Produce requests are only allowed to contain exactly one record batch per partition")
    return records[:size]


def _batch_size(records: memoryview, topic_partition: TopicPartition) -> int | None:
    """Bytes of the batch at the start, None when it is not all there (``ByteBufferLogInputStream``)."""
    if len(records) < LENGTH_OVERHEAD:
        return None
    length = int.from_bytes(records[8:12], "big", signed=True)
    if length < _SMALLEST_LENGTH:
        raise _corrupt(f"Record size {length} is less than the minimum record overhead", topic_partition)
    if len(records) <= _MAGIC_POSITION:
        return None
    magic = int.from_bytes(records[_MAGIC_POSITION : _MAGIC_POSITION + 1], "big", signed=True)
    if not 0 <= magic <= MAGIC:
        raise _corrupt(f"Invalid magic found in record: {magic}", topic_partition)
    size = length + LENGTH_OVERHEAD
    return size if size <= len(records) else None


def _check_header(
    batch: memoryview, config: LogConfig, origin: int, topic_partition: TopicPartition
) -> BatchHeader:
    if origin == CLIENT and any(batch[:8]):
        base_offset = int.from_bytes(batch[:8], "big", signed=True)
        raise _invalid(
            f"The baseOffset of the record batch in the append to {topic_partition} should be 0, "
            f"but it is {base_offset}"
        )
    check_size(len(batch), config, topic_partition)
    if len(batch) < HEADER_SIZE:
        raise _corrupt("Record batch is smaller than its header", topic_partition)
    header = BatchHeader._make(HEADER.unpack_from(batch))
    if crc32c(batch[CRC_START:]) != header.crc:
        raise _corrupt(f"Record is corrupt (stored crc = {header.crc})", topic_partition)
    if header.attributes & COMPRESSION_MASK >= len(NAMES):
        raise _invalid(f"Unknown compression type id {header.attributes & COMPRESSION_MASK}")
    if origin == CLIENT:
        _check_client_header(header, topic_partition)
    return header


def check_size(size: int, config: LogConfig, topic_partition: TopicPartition) -> None:
    """Raise MESSAGE_TOO_LARGE for a batch above ``max.message.bytes``."""
    if size > config.max_message_bytes:
        raise ApiError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"The record batch size in the append to {topic_partition} is {size} bytes which exceeds "
            f"the maximum configured value of {config.max_message_bytes}.",
        )


def _check_client_header(header: BatchHeader, topic_partition: TopicPartition) -> None:
    count = header.last_offset_delta + 1
    if count <= 0:
        raise _invalid(
            f"Batch has an invalid offset range: [0, {header.last_offset_delta}] in topic partition "
            f"{topic_partition}"
        )
    if header.record_count <= 0:
        raise _invalid(
            f"Invalid reported count for record batch: {header.record_count} in topic partition "
            f"{topic_partition}"
        )
    if header.record_count != count:
        raise _invalid(
            f"Inconsistent batch offset range [0, {header.last_offset_delta}] and count of records "
            f"{header.record_count} in topic partition {topic_partition}"
        )
    if header.is_control:
        raise _invalid(f"Clients are not allowed to write control records in {topic_partition}")
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise _invalid(
            f"Invalid sequence number {header.base_sequence} in record batch with producerId "
            f"{header.producer_id} in topic partition {topic_partition}"
        )


def _needs_walk(header: BatchHeader, config: LogConfig, now_ms: int, *, recompress: bool) -> bool:
    if recompress or config.is_compacted:
        return True
    if config.timestamp_type == LOG_APPEND_TIME:
        return False
    return (
        config.message_timestamp_before_max_ms != UNLIMITED
        or header.max_timestamp - now_ms > config.message_timestamp_after_max_ms
        or header.timestamp_type == LOG_APPEND_TIME
    )


def _walk(batch: memoryview, header: BatchHeader, topic_partition: TopicPartition) -> list[Record]:
    try:
        body = decompress(header.attributes & COMPRESSION_MASK, batch[HEADER_SIZE:])
        return parse_records(header, body)
    except (CorruptBatchError, InvalidRecordsError) as error:
        raise _invalid(f"{error} in topic partition {topic_partition}") from error


def _check_records(
    found: list[Record],
    header: BatchHeader,
    config: LogConfig,
    now_ms: int,
    topic_partition: TopicPartition,
) -> None:
    errors: list[RecordError] = []
    timestamps = False
    create_time = config.timestamp_type != LOG_APPEND_TIME
    oldest = now_ms - config.message_timestamp_before_max_ms
    newest = now_ms + config.message_timestamp_after_max_ms
    for index, record in enumerate(found):
        timestamp = record.timestamp
        if record.key is None and config.is_compacted:
            message = (
                f"Compacted topic cannot accept message without key in topic partition {topic_partition}"
            )
            errors.append(RecordError(index, message))
        elif create_time and timestamp != NO_TIMESTAMP:
            if not oldest <= timestamp <= newest:
                message = f"Timestamp {timestamp} is out of range. The timestamp should be within "
                errors.append(RecordError(index, f"{message}[{oldest}, {newest}]"))
                timestamps = True
        elif header.timestamp_type == LOG_APPEND_TIME:
            errors.append(RecordError(index, _APPEND_TIME_SET))
            timestamps = True
    if errors:
        _refuse(errors, timestamps=timestamps)


def _refuse(errors: list[RecordError], *, timestamps: bool) -> None:
    if timestamps:
        message = "One or more records have been rejected due to invalid timestamp"
        raise RecordsRefusedError(ErrorCode.INVALID_TIMESTAMP, message, errors)
    shown = "; ".join(f"record {error.batch_index}: {error.message}" for error in errors[:_ERRORS_SHOWN])
    raise RecordsRefusedError(
        ErrorCode.INVALID_RECORD,
        f"One or more records have been rejected due to {len(errors)} record errors in total, and only "
        f"showing the first three errors at most: {shown}",
        errors,
    )


def _stamp(
    batch: memoryview, header: BatchHeader, timestamp_type: int, max_timestamp: int, now_ms: int
) -> None:
    """Write the batch's timestamp type and max timestamp where they are not what they have to be."""
    if timestamp_type == LOG_APPEND_TIME:
        max_timestamp = now_ms
        attributes = header.attributes | LOG_APPEND_TIME_FLAG
    else:
        attributes = header.attributes & ~LOG_APPEND_TIME_FLAG
    if attributes != header.attributes or max_timestamp != header.max_timestamp:
        HEADER.pack_into(batch, 0, *header._replace(attributes=attributes, max_timestamp=max_timestamp))
        seal_batch(batch)


def _rebuilt(
    found: list[Record],
    header: BatchHeader,
    codec: int,
    config: LogConfig,
    now_ms: int,
    topic_partition: TopicPartition,
) -> memoryview:
    batch = build_batch(
        found,
        0,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        codec,
        header.is_transactional,
        timestamp_type=config.timestamp_type,
        log_append_time=now_ms,
        compression_level=config.compression_level,
    )
    check_size(len(batch), config, topic_partition)
    return memoryview(batch)


def _invalid(message: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_RECORD, message)


def _corrupt(message: str, topic_partition: TopicPartition) -> ApiError:
    return ApiError(ErrorCode.CORRUPT_MESSAGE, f"{message} in topic partition {topic_partition}")
