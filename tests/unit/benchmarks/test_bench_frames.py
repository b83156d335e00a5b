"""The hand-written requests, read by codecs that others wrote: kio for messages, kafka-python for batches."""

import datetime
import io
import struct
from typing import Any

import pytest
from kio.schema.errors import ErrorCode
from kio.schema.fetch.v12.request import FetchRequest
from kio.schema.fetch.v12.response import FetchableTopicResponse, FetchResponse
from kio.schema.fetch.v12.response import PartitionData as FetchedPartition
from kio.schema.produce.v12.request import ProduceRequest
from kio.schema.produce.v12.response import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from kio.schema.request_header.v2.header import RequestHeader
from kio.serial import entity_reader, entity_writer

from benchmarks import frames

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NO_TIME = datetime.timedelta()


def read_batch(batch: bytes) -> Any:
    from kafka.record import MemoryRecords  # warns while it is imported, hence not above

    return MemoryRecords(batch).next_batch()


def read_request(request: bytes, kind: Any) -> Any:
    (size,) = struct.unpack_from(">i", request)
    assert size == len(request) - 4
    header, header_bytes = entity_reader(RequestHeader)(request, 4)
    assert header.client_id == "bench"
    assert header.correlation_id == 0
    message, message_bytes = entity_reader(kind)(request, 4 + header_bytes)
    assert 4 + header_bytes + message_bytes == len(request)
    return message


def answer_body(response: Any) -> bytes:
    """As it follows the size prefix: correlation id, no tags, message."""
    sink = io.BytesIO(b"\0\0\0\0\0")
    sink.seek(5)
    entity_writer(type(response))(sink, response)
    return sink.getvalue()


def test_batch_has_a_crc_and_records_that_others_accept() -> None:
    batch, count = frames.record_batch(record_bytes=1000, batch_bytes=16_384, timestamp_ms=1_700_000_000_000)
    assert 15_000 < len(batch) <= 16_384
    decoded = read_batch(batch)
    assert decoded.validate_crc()
    values = [record.value for record in decoded]
    assert len(values) == count
    assert {len(value) for value in values} == {1000}


def test_batch_holds_one_record_even_above_the_size() -> None:
    batch, count = frames.record_batch(record_bytes=100, batch_bytes=100, timestamp_ms=0)
    assert count == 1
    assert read_batch(batch).validate_crc()


def test_produce_request_as_others_read_it() -> None:
    frame = frames.produce("topic", [0, 3], b"batch", acks=-1)
    message = read_request(frame.request, ProduceRequest)
    assert message.acks == -1
    (topic,) = message.topic_data
    assert topic.name == "topic"
    assert [(one.index, one.records) for one in topic.partition_data] == [(0, b"batch"), (3, b"batch")]
    assert frame.payload_bytes == 10


def test_fetch_request_as_others_read_it_with_the_offset_where_the_generator_patches_it() -> None:
    frame = frames.fetch("topic", 2, 65_536)
    patched = bytearray(frame.request)
    struct.pack_into(">q", patched, frame.offset_position, 4711)
    message = read_request(bytes(patched), FetchRequest)
    (topic,) = message.topics
    (partition,) = topic.partitions
    assert (topic.topic, partition.partition, partition.fetch_offset) == ("topic", 2, 4711)
    assert (partition.partition_max_bytes, message.min_bytes, message.session_epoch) == (65_536, 1, -1)


@pytest.mark.parametrize("failing", [0, 1, 7])
def test_error_codes_of_produce_answers_lie_where_the_generator_looks(failing: int) -> None:
    partitions = tuple(
        PartitionProduceResponse(
            index=index,
            error_code=ErrorCode.corrupt_message if index == failing else ErrorCode.none,
            base_offset=-1,
            log_append_time=None,
            log_start_offset=-1,
            record_errors=(),
        )
        for index in range(8)
    )
    response = ProduceResponse(
        responses=(TopicProduceResponse(name="topic", partition_responses=partitions),),
        throttle_time=NO_TIME,
    )
    positions = frames.produce("topic", list(range(8)), b"batch", acks=1).error_positions
    body = answer_body(response)
    codes = [struct.unpack_from(">h", body, position)[0] for position in positions]
    assert codes == [2 if index == failing else 0 for index in range(8)]


def test_error_codes_and_records_of_fetch_answers_lie_where_the_generator_looks() -> None:
    partition = FetchedPartition(
        partition_index=0,
        error_code=ErrorCode.offset_out_of_range,
        high_watermark=9,
        aborted_transactions=None,
        records=b"records",
    )
    response = FetchResponse(
        throttle_time=NO_TIME,
        error_code=ErrorCode.corrupt_message,
        responses=(FetchableTopicResponse(topic="topic", partitions=(partition,)),),
    )
    frame = frames.fetch("topic", 0, 1000)
    body = answer_body(response)
    assert [struct.unpack_from(">h", body, position)[0] for position in frame.error_positions] == [2, 1]
    assert body[frame.records_position] == len(b"records") + 1
    assert body[frame.records_position + 1 :].startswith(b"records")


def test_plan_holds_the_frames_in_order() -> None:
    first, second = frames.produce("a", [0], b"x", acks=1), frames.fetch("b", 0, 10)
    written = frames.plan([first, second])
    assert struct.unpack_from(">II", written) == (2, len(first.request))
    assert written.endswith(second.request)
