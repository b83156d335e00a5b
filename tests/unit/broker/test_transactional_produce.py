import errno
from pathlib import Path

import pytest

from odradek.core.errors import DamageError, ErrorCode
from odradek.protocol.generated.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.storage import log_state
from odradek.storage.log_state import LogState
from odradek.storage.producers import Producers

from .harness import Harness, batch
from .transaction_client import TransactionalProducer, create_topic, fetch, produced, read


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1")
    create_topic(harness, 2)
    producer = TransactionalProducer(harness)
    producer.init()
    return producer


def end_offset(producer: TransactionalProducer, partition: int = 0) -> int:
    found = producer.harness.broker.topics.partition("t", partition)
    assert found is not None
    return found.log.log_end_offset


def flush_once(producer: TransactionalProducer) -> None:
    broker = producer.harness.broker
    flush = broker.begin_flush()
    assert flush is not None
    flush.run()
    broker.finish_flush(flush)


def test_the_first_batch_and_the_state_that_names_its_partition_share_a_flush(
    producer: TransactionalProducer,
) -> None:
    pending = producer.send_produce(0, b"a")
    assert (end_offset(producer), producer.state) == (1, "Ongoing")
    assert not pending.is_answered
    flush_once(producer)
    assert produced(pending.response()) == (0, 0)
    assert not producer.harness.broker.transactions.ahead


def test_behind_an_end_of_version_1_nothing_is_appended_before_the_coordinator_has_the_partition_on_disk(
    producer: TransactionalProducer,
) -> None:
    """Its marker has the epoch that the next transaction has, and may be written again after a crash."""
    producer.produce(0, b"a")
    producer.end(version=4)
    pending = producer.send_produce(1, b"b")
    assert end_offset(producer) == 2
    flush_once(producer)
    assert (end_offset(producer), pending.is_answered) == (3, False)
    flush_once(producer)
    assert produced(pending.response()) == (0, 2)


def test_what_the_coordinator_cannot_make_durable_is_not_acknowledged(
    producer: TransactionalProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = producer.send_produce(0, b"a")
    producer.flush_all_but_states()
    assert end_offset(producer) == 1
    assert produced(pending.response()) == (ErrorCode.NOT_ENOUGH_REPLICAS, -1)
    # it is in the log, and must not be taken for acknowledged when it comes again
    assert produced(producer.harness.call(producer.produce_request(0, b"a"), 12)) == (
        ErrorCode.NOT_ENOUGH_REPLICAS,
        -1,
    )


def test_what_follows_is_appended_at_once(producer: TransactionalProducer) -> None:
    producer.produce(0)
    producer.send_produce(1)
    assert end_offset(producer) == 2


def test_requests_that_come_meanwhile_keep_their_order(producer: TransactionalProducer) -> None:
    pending = [producer.send_produce(sequence, b"%d" % sequence) for sequence in range(5)]
    other = producer.send_produce(0, b"other", partition=1)
    producer.harness.flush()
    assert [produced(one.response()) for one in pending] == [(0, offset) for offset in range(5)]
    assert produced(other.response()) == (0, 0)
    producer.end()
    assert read(producer.harness) == [b"0", b"1", b"2", b"3", b"4"]
    assert producer.harness.broker.transactions.produce_queues == {}


def test_many_requests_in_flight_do_not_pile_up_on_the_stack(producer: TransactionalProducer) -> None:
    pending = [producer.send_produce(sequence) for sequence in range(3_000)]
    producer.harness.flush()
    assert all(produced(one.response())[0] == 0 for one in pending)


@pytest.mark.parametrize("earlier", [[], [b"first"]])
def test_the_receive_buffer_may_be_used_again_meanwhile(
    producer: TransactionalProducer, earlier: list[bytes]
) -> None:
    """Whether it is appended at once, or waits behind another that has no answer yet."""
    for value in earlier:
        producer.send_produce(0, value)
    request = producer.produce_request(len(earlier), b"kept")
    records = request.topic_data[0].partition_data[0].records
    from odradek.broker import transactional_produce
    from odradek.broker.requests import RequestContext, Session, Wait

    context = RequestContext(Session("h", "h", 1), 12, "c", producer.harness.clock.now_ms())
    answer = transactional_produce.handle(producer.harness.broker, request, context)
    assert isinstance(answer, Wait)
    assert isinstance(records, memoryview)
    records[:] = bytes(len(records))
    producer.harness.flush()
    producer.end()
    assert read(producer.harness) == [*earlier, b"kept"]


@pytest.mark.parametrize(
    ("version", "code"),
    [
        (9, ErrorCode.INVALID_TXN_STATE),
        (10, ErrorCode.INVALID_TXN_STATE),
        (11, ErrorCode.TRANSACTION_ABORTABLE),
        (12, ErrorCode.NONE),
    ],
)
def test_older_clients_must_have_added_the_partition(
    producer: TransactionalProducer, version: int, code: ErrorCode
) -> None:
    producer.add(1)
    assert producer.produce(0, version=version)[0] == code
    assert producer.produce(0, version=version, partition=1)[0] == 0
    assert end_offset(producer) == (1 if code is ErrorCode.NONE else 0)


def test_without_verification_older_clients_are_believed(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path,
        transaction_state_log_num_partitions="1",
        transaction_partition_verification_enable="false",
    )
    create_topic(harness)
    producer = TransactionalProducer(harness)
    producer.init()
    assert producer.produce(0, version=11)[0] == 0


@pytest.mark.parametrize("version", [9, 10, 11, 12])
def test_who_is_fenced(producer: TransactionalProducer, version: int) -> None:
    epoch = ErrorCode.INVALID_PRODUCER_EPOCH
    assert producer.produce(0, version=version, producer_epoch=4)[0] == epoch
    assert producer.produce(0, version=version, producer_id=77)[0] == ErrorCode.INVALID_PRODUCER_ID_MAPPING
    producer.add(0)
    producer.produce(0, version=version)
    producer.init()
    producer.harness.flush()
    assert producer.produce(1, version=version)[0] == epoch
    assert end_offset(producer) == 2


def test_a_fenced_producer_does_not_go_on_with_what_is_open_under_another_epoch(
    producer: TransactionalProducer,
) -> None:
    producer.init()
    producer.produce(0)
    producer.epoch -= 1
    assert producer.produce(1)[0] == ErrorCode.INVALID_PRODUCER_EPOCH
    assert end_offset(producer) == 1


def test_transactional_batches_need_a_transactional_id(producer: TransactionalProducer) -> None:
    refused = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    assert producer.produce(0, transactional_id=None)[0] == refused
    producer.produce(0)
    assert producer.produce(1, transactional_id=None)[0] == refused
    assert producer.produce(1, transactional_id="")[0] == 0
    assert end_offset(producer) == 2


def test_plain_batches_may_come_with_a_transactional_id(producer: TransactionalProducer) -> None:
    assert producer.produce(0, transactional=False)[0] == 0
    producer.end(False)
    producer.produce(0, partition=1)
    assert producer.produce(1, transactional=False, partition=1)[0] == ErrorCode.INVALID_TXN_STATE


def test_unsafe_acks_are_the_producers_choice(producer: TransactionalProducer) -> None:
    assert producer.produce(0, acks=1)[0] == 0
    assert producer.send_produce(1, acks=0).response() is None
    assert producer.produce(2, acks=2)[0] == ErrorCode.INVALID_REQUIRED_ACKS
    assert end_offset(producer) == 2


def test_the_first_batch_with_acks_0_is_appended_when_it_may_be(producer: TransactionalProducer) -> None:
    pending = producer.send_produce(0, acks=0)
    producer.harness.flush()
    assert pending.response() is None
    assert end_offset(producer) == 1


def test_batches_of_two_producers_in_one_request(producer: TransactionalProducer) -> None:
    data = [
        PartitionProduceData(
            index=index,
            records=memoryview(
                bytearray(
                    batch(b"v", producer_id=5 + index, producer_epoch=0, base_sequence=0, transactional=True)
                )
            ),
        )
        for index in range(2)
    ]
    request = ProduceRequest(
        transactional_id="x",
        acks=-1,
        timeout_ms=1_000,
        topic_data=[TopicProduceData(name="t", partition_data=data)],
    )
    response = producer.harness.call(request, 12)
    codes = [partition.error_code for partition in response.responses[0].partition_responses]
    assert codes == [ErrorCode.INVALID_PRODUCER_ID_MAPPING] * 2


@pytest.mark.parametrize("version", [12, 13])
def test_some_partitions_are_refused_and_others_taken(producer: TransactionalProducer, version: int) -> None:
    """Partition 0 knows of a newer epoch already, as after the marker of an abort."""
    harness = producer.harness
    partition = harness.broker.topics.partition("t", 0)
    assert partition is not None
    partition.log.append(
        memoryview(
            bytearray(batch(b"n", producer_id=producer.producer_id, producer_epoch=3, base_sequence=0))
        ),
        harness.clock.now_ms(),
        leader_epoch=0,
    )
    request = producer.produce_request(0, b"a")
    topic_data = request.topic_data[0]
    second = bytearray(
        batch(b"b", producer_id=producer.producer_id, producer_epoch=0, base_sequence=0, transactional=True)
    )
    topic_data.partition_data.append(PartitionProduceData(index=1, records=memoryview(second)))
    topic_data.partition_data.append(PartitionProduceData(index=7, records=memoryview(bytearray(second))))
    if version == 13:
        topic_data.name, topic_data.topic_id = "", partition.topic.topic_id
    response = harness.call(request, version)
    (topic,) = response.responses
    codes = {one.index: one.error_code for one in topic.partition_responses}
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert codes == {0: ErrorCode.INVALID_PRODUCER_EPOCH, 1: 0, 7: unknown}


def test_while_the_coordinator_cannot_be_asked(producer: TransactionalProducer) -> None:
    broker = producer.harness.broker
    partition = broker.topics.partition("__transaction_state", 0)
    assert partition is not None
    partition.log.go_offline(DamageError("somewhere", 0, "a test"))
    for version in (11, 12):
        assert producer.produce(0, version=version)[0] == ErrorCode.NOT_ENOUGH_REPLICAS
    assert fetch(producer.harness).high_watermark == 0


def test_what_may_not_be_written_does_not_take_part(producer: TransactionalProducer) -> None:
    request = producer.produce_request(0)
    request.topic_data[0].name = "__transaction_state"
    assert produced(producer.harness.call(request, 12))[0] == ErrorCode.INVALID_TOPIC_EXCEPTION
    old = producer.produce_request(0)
    records = old.topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    records[16] = 1
    assert produced(producer.harness.call(old, 12))[0] == ErrorCode.INVALID_RECORD
    assert producer.produce(0, partition=9)[0] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert producer.state == "Empty"


def test_verification_is_switched_off_while_the_broker_runs(producer: TransactionalProducer) -> None:
    assert producer.produce(0, version=11)[0] == ErrorCode.TRANSACTION_ABORTABLE
    change = AlterableConfig(
        name="transaction.partition.verification.enable", config_operation=0, value="false"
    )
    resource = AlterConfigsResource(resource_type=4, resource_name="", configs=[change])
    producer.harness.call(IncrementalAlterConfigsRequest(resources=[resource]))
    assert producer.produce(0, version=11)[0] == 0


def test_a_partition_whose_producers_cannot_be_read_is_refused_alone(
    producer: TransactionalProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer.harness.restart()
    producer.harness.advance(0)
    load = log_state.load_producers

    def no_descriptors(log: LogState) -> Producers:
        if log.topic_partition == ("t", 1):
            raise OSError(errno.EMFILE, "too many open files")
        return load(log)

    monkeypatch.setattr(log_state, "load_producers", no_descriptors)
    pending = [producer.send_produce(0), producer.send_produce(0, partition=1), producer.send_produce(1)]
    producer.harness.flush()
    codes = [produced(one.response())[0] for one in pending]
    assert codes == [ErrorCode.NONE, ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NONE]
    assert producer.produce(0, partition=1)[0] == ErrorCode.KAFKA_STORAGE_ERROR
    assert producer.harness.broker.transactions.produce_queues == {}
    monkeypatch.undo()
    assert producer.produce(0, partition=1) == (0, 0)
