"""Requests to coordinators and plans of transactions, read by codecs that others wrote."""

import datetime
import struct
import uuid
from typing import Any

import pytest
from kio.schema.consumer_group_heartbeat.v1.request import ConsumerGroupHeartbeatRequest
from kio.schema.consumer_group_heartbeat.v1.response import (
    Assignment,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from kio.schema.end_txn.v5.request import EndTxnRequest
from kio.schema.end_txn.v5.response import EndTxnResponse
from kio.schema.errors import ErrorCode
from kio.schema.offset_commit.v9.request import OffsetCommitRequest
from kio.schema.txn_offset_commit.v5.request import TxnOffsetCommitRequest
from kio.schema.txn_offset_commit.v5.response import (
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

from benchmarks import coordinator_frames, frames, transactions
from benchmarks.coordinator_frames import Heartbeat
from tests.unit.benchmarks.test_bench_frames import answer_body, read_batch, read_request

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
IDENTITY = struct.pack(">qh", 4711, 7)
NO_TIME = datetime.timedelta()
TOPIC_ID = uuid.UUID(int=5)


def identified(request: transactions.Request) -> bytes:
    """As the generator sends it."""
    sent = bytearray(request.frame.request)
    position = request.identity_position
    sent[position : position + len(IDENTITY)] = IDENTITY
    return bytes(sent)


def test_end_txn() -> None:
    request = transactions.end("me", 3)
    message = read_request(identified(request), EndTxnRequest)
    assert (message.transactional_id, message.producer_id, message.producer_epoch) == ("me", 4711, 7)
    assert message.committed
    answer = EndTxnResponse(
        throttle_time=NO_TIME, error_code=ErrorCode.producer_fenced, producer_id=4712, producer_epoch=8
    )
    body = answer_body(answer)
    assert [struct.unpack_from(">h", body, at)[0] for at in request.frame.error_positions] == [90]
    assert struct.unpack_from(">qh", body, request.next_identity) == (4712, 8)


def test_txn_offset_commit() -> None:
    request = transactions.commit_offset("me", "group", "topic", 2)
    message = read_request(identified(request), TxnOffsetCommitRequest)
    assert (message.transactional_id, message.group_id) == ("me", "group")
    assert (message.producer_id, message.producer_epoch) == (4711, 7)
    assert (message.generation_id, message.member_id, message.group_instance_id) == (-1, "", None)
    (topic,) = message.topics
    assert (topic.name, [one.partition_index for one in topic.partitions]) == ("topic", [0])
    partition = TxnOffsetCommitResponsePartition(partition_index=0, error_code=ErrorCode.illegal_generation)
    answer = TxnOffsetCommitResponse(
        throttle_time=NO_TIME, topics=(TxnOffsetCommitResponseTopic(name="topic", partitions=(partition,)),)
    )
    body = answer_body(answer)
    assert [struct.unpack_from(">h", body, at)[0] for at in request.frame.error_positions] == [22]


def test_offset_commit() -> None:
    frame = coordinator_frames.offset_commit("group", "topic", 3, "member", 5)
    message = read_request(frame.request, OffsetCommitRequest)
    assert (message.group_id, message.member_id, message.generation_id_or_member_epoch) == (
        "group",
        "member",
        5,
    )
    (topic,) = message.topics
    (partition,) = topic.partitions
    assert (topic.name, partition.partition_index, partition.committed_offset) == ("topic", 3, 1)


def heartbeat(*arguments: Any) -> Any:
    body = coordinator_frames.consumer_group_heartbeat(*arguments)
    return read_request(frames.request(68, 1, body), ConsumerGroupHeartbeatRequest)


def test_heartbeats() -> None:
    joining = heartbeat("group", "member", 0, ["a", "b"], [])
    assert (joining.group_id, joining.member_id, joining.member_epoch) == ("group", "member", 0)
    assert joining.subscribed_topic_names == ("a", "b")
    assert joining.topic_partitions == ()
    steady = heartbeat("group", "member", 7)
    assert (steady.member_epoch, steady.subscribed_topic_names, steady.topic_partitions) == (7, None, None)
    owning = heartbeat("group", "member", 7, None, [(TOPIC_ID.bytes, [1, 4])])
    assert [(one.topic_id, one.partitions) for one in owning.topic_partitions] == [(TOPIC_ID, (1, 4))]


def test_answers_to_heartbeats() -> None:
    def answer(assignment: Any, code: ErrorCode = ErrorCode.none) -> Heartbeat:
        response = ConsumerGroupHeartbeatResponse(
            throttle_time=NO_TIME,
            error_code=code,
            error_message="why not" if code else None,
            member_id="member",
            member_epoch=9,
            heartbeat_interval=datetime.timedelta(seconds=5),
            assignment=assignment,
        )
        return Heartbeat(answer_body(response)[4:])

    given = (TopicPartitions(topic_id=TOPIC_ID, partitions=(0, 200)),)
    beat = answer(Assignment(topic_partitions=given))
    assert (beat.error, beat.epoch, beat.interval_ms) == (0, 9, 5000)
    assert beat.assignment == [(TOPIC_ID.bytes, [0, 200])]
    assert answer(Assignment(topic_partitions=())).assignment == []
    assert answer(None).assignment is None
    assert answer(None, ErrorCode.unknown_member_id).error == 25


def test_transactional_batches_lie_where_the_generator_writes_into_them() -> None:
    batch, _ = frames.record_batch(1000, 16_384, 0)
    written = transactions.transactional(batch)
    request = transactions.produce("topic", [0, 1], written, "me", 1)
    sent = request.frame.request
    assert [sent[at : at + length] for at, length in request.batches] == [written, written]
    decoded = read_batch(written)
    assert decoded.is_transactional
    assert decoded.base_sequence == 0


def test_a_plan_holds_producers_and_their_requests() -> None:
    end = transactions.end("me", 3)
    plan = transactions.plan([transactions.Producer(IDENTITY, [end])])
    assert plan[:4] == struct.pack(">I", 1)
    assert plan[4:14] == IDENTITY
    assert struct.unpack_from(">III", plan, 14) == (1, len(end.frame.request), 3)
    assert plan.endswith(end.frame.request)
