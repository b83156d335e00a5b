from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from odradek.protocol.generated.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)

from .harness import Harness
from .transaction_client import TransactionalProducer, committed, committed_offset, create_topic


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1", offsets_topic_num_partitions="1")
    create_topic(harness)
    harness.call(FindCoordinatorRequest(coordinator_keys=["g"]), 6)
    producer = TransactionalProducer(harness)
    producer.init()
    return producer


@pytest.mark.parametrize("committed", [True, False])
def test_offsets_count_when_the_transaction_is_committed(
    producer: TransactionalProducer, committed: bool
) -> None:
    harness = producer.harness
    assert producer.commit_offset(5) == 0
    assert committed_offset(harness) == (0, -1)
    assert committed_offset(harness, stable=True) == (ErrorCode.UNSTABLE_OFFSET_COMMIT, -1)
    harness.restart()
    assert committed_offset(harness, stable=True) == (ErrorCode.UNSTABLE_OFFSET_COMMIT, -1)
    producer.end(committed)
    assert committed_offset(harness, stable=True) == (0, 5 if committed else -1)
    harness.restart()
    assert committed_offset(harness, stable=True) == (0, 5 if committed else -1)


@pytest.mark.parametrize("version", range(5))
def test_older_clients_add_the_group_first(producer: TransactionalProducer, version: int) -> None:
    abortable = ErrorCode.TRANSACTION_ABORTABLE if version == 4 else ErrorCode.INVALID_TXN_STATE
    assert producer.commit_offset(5, version) == abortable
    producer.add_offsets()
    assert producer.commit_offset(5, version) == 0
    producer.end(True, 4)
    assert committed_offset(producer.harness) == (0, 5)


def test_without_verification_older_clients_are_believed(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path,
        transaction_state_log_num_partitions="1",
        offsets_topic_num_partitions="1",
        transaction_partition_verification_enable="false",
    )
    create_topic(harness)
    harness.call(FindCoordinatorRequest(coordinator_keys=["g"]), 6)
    producer = TransactionalProducer(harness)
    producer.init()
    assert producer.commit_offset(5, 4) == 0


@pytest.mark.parametrize("version", [3, 4, 5])
def test_who_is_fenced(producer: TransactionalProducer, version: int) -> None:
    assert producer.commit_offset(5, version, producer_epoch=9) == ErrorCode.INVALID_PRODUCER_EPOCH
    mapping = ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert producer.commit_offset(5, version, producer_id=77) == mapping
    assert producer.commit_offset(5, version, transactional_id="nobody") == mapping
    assert producer.commit_offset(5, version, transactional_id="") == ErrorCode.INVALID_REQUEST
    assert producer.commit_offset(5, version, group_id="") == ErrorCode.INVALID_GROUP_ID


def test_who_was_fenced_with_offsets_open_writes_none(producer: TransactionalProducer) -> None:
    producer.commit_offset(5)
    assert producer.init() == ErrorCode.CONCURRENT_TRANSACTIONS
    producer.harness.flush()
    assert producer.commit_offset(6) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert committed_offset(producer.harness, stable=True) == (0, -1)


def test_members_and_generations_are_checked(producer: TransactionalProducer) -> None:
    assert producer.commit_offset(5, generation_id=3) == ErrorCode.ILLEGAL_GENERATION
    assert producer.commit_offset(5, member_id="nobody") == 0
    assert producer.commit_offset(5, member_id="nobody", generation_id=3) == ErrorCode.UNKNOWN_MEMBER_ID
    assert producer.commit_offset(5, partition=9) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_what_is_not_there_does_not_keep_the_rest_out(producer: TransactionalProducer) -> None:
    partitions = [
        TxnOffsetCommitRequestPartition(
            partition_index=index, committed_offset=4, committed_leader_epoch=-1, committed_metadata=metadata
        )
        for index, metadata in ((0, "m"), (9, "m"))
    ]
    request = TxnOffsetCommitRequest(
        transactional_id="x",
        group_id="g",
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        topics=[
            TxnOffsetCommitRequestTopic(name="t", partitions=partitions),
            TxnOffsetCommitRequestTopic(name="nobody", partitions=partitions[:1]),
        ],
    )
    response = producer.harness.call(request, 5)
    found = {
        (topic.name, partition.partition_index): partition.error_code
        for topic in response.topics
        for partition in topic.partitions
    }
    assert found == {("t", 0): 0, ("t", 9): 3, ("nobody", 0): 3}
    producer.end()
    assert committed_offset(producer.harness) == (0, 4)


def test_a_commit_after_the_transactions_wins(producer: TransactionalProducer) -> None:
    """Whatever was committed later in the log than the offset of the transaction stays."""
    producer.commit_offset(5)
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=9, committed_metadata="")
    topics = [OffsetCommitRequestTopic(name="t", partitions=[partition])]
    producer.harness.call(OffsetCommitRequest(group_id="g", topics=topics), 8)
    producer.end()
    assert committed_offset(producer.harness) == (0, 9)
    producer.harness.restart()
    assert committed_offset(producer.harness) == (0, 9)


def test_members_of_a_consumer_group(producer: TransactionalProducer) -> None:
    joined = producer.harness.call(
        ConsumerGroupHeartbeatRequest(
            group_id="g",
            member_id="m",
            member_epoch=0,
            rebalance_timeout_ms=1_000,
            subscribed_topic_names=["t"],
            topic_partitions=[],
        ),
        1,
    )
    epoch = joined.member_epoch
    assert joined.error_code == 0
    assert producer.commit_offset(5, member_id="m", generation_id=epoch) == 0
    assert producer.commit_offset(5, member_id="m", generation_id=epoch + 1) == ErrorCode.ILLEGAL_GENERATION
    assert producer.commit_offset(5, member_id="m") == ErrorCode.ILLEGAL_GENERATION
    assert producer.commit_offset(5, member_id="nobody") == ErrorCode.UNKNOWN_MEMBER_ID
    assert producer.commit_offset(5, group_instance_id="nobody") == ErrorCode.UNKNOWN_MEMBER_ID
    assert producer.commit_offset(6) == 0
    producer.end()
    assert committed_offset(producer.harness) == (0, 6)


def test_offsets_and_the_state_that_names_their_partition_share_a_flush(
    producer: TransactionalProducer,
) -> None:
    broker = producer.harness.broker
    pending = producer.send_offset(5)
    flush = broker.begin_flush()
    assert flush is not None
    flush.run()
    assert not pending.is_answered
    broker.finish_flush(flush)
    assert committed(pending.response()) == 0


def test_offsets_are_not_acknowledged_without_the_state(producer: TransactionalProducer) -> None:
    pending = producer.send_offset(5)
    producer.flush_all_but_states()
    assert committed(pending.response()) == ErrorCode.NOT_COORDINATOR
    assert producer.commit_offset(5) == ErrorCode.NOT_COORDINATOR
