from pathlib import Path

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_transactions import DescribeTransactionsRequest
from odradek.protocol.generated.list_transactions import ListTransactionsRequest

from .harness import Harness
from .transaction_client import TransactionalProducer, create_topic


def test_what_is_told(tmp_path: Path) -> None:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="3")
    create_topic(harness, 2)
    producer = TransactionalProducer(harness, timeout_ms=7_000)
    producer.init()
    producer.produce(0)
    producer.produce(0, partition=1)
    found = producer.describe()
    assert (found.error_code, found.transaction_state, found.transaction_timeout_ms) == (0, "Ongoing", 7_000)
    assert (found.producer_id, found.producer_epoch) == (producer.producer_id, 0)
    assert found.transaction_start_time_ms == harness.clock.now_ms()
    assert [(topic.topic, topic.partitions) for topic in found.topics] == [("t", [0, 1])]


def one_has_ended(tmp_path: Path) -> TransactionalProducer:
    """That it is complete is known, and waits for another record to be written with."""
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1")
    create_topic(harness)
    producer = TransactionalProducer(harness)
    producer.init()
    producer.produce(0)
    producer.end()
    return producer


def test_no_crash_takes_back_what_is_told(tmp_path: Path) -> None:
    harness = one_has_ended(tmp_path).harness
    request = DescribeTransactionsRequest(transactional_ids=["x"])
    pending = harness.send(request)
    assert not pending.is_answered
    harness.flush()
    (before,) = pending.response().transaction_states
    harness.broker.close(is_clean=False)
    harness.start()
    harness.broker.run_timers()
    (after,) = harness.call(request).transaction_states
    assert before.transaction_state == after.transaction_state == "CompleteCommit"


def test_what_cannot_be_made_durable_is_not_told(tmp_path: Path) -> None:
    producer = one_has_ended(tmp_path)
    described = producer.harness.send(DescribeTransactionsRequest(transactional_ids=["x"]))
    listed = producer.harness.send(ListTransactionsRequest())
    producer.flush_all_but_states()
    (found,) = described.response().transaction_states
    assert found.error_code == listed.response().error_code == ErrorCode.NOT_COORDINATOR


def test_ids_that_are_none(tmp_path: Path) -> None:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="3")
    request = DescribeTransactionsRequest(transactional_ids=["x", ""])
    codes = [one.error_code for one in harness.call(request).transaction_states]
    assert codes == [ErrorCode.NOT_COORDINATOR, ErrorCode.INVALID_REQUEST]
    TransactionalProducer(harness)
    codes = [one.error_code for one in harness.call(request).transaction_states]
    assert codes == [ErrorCode.TRANSACTIONAL_ID_NOT_FOUND, ErrorCode.INVALID_REQUEST]
