"""Ends of transactions that cannot be written at once."""

import errno
from pathlib import Path

import pytest

from odradek.broker.markers import EndedTransaction, Marker
from odradek.core.errors import ApiError, ErrorCode
from odradek.storage import log_state
from odradek.storage.log_state import LogState
from odradek.storage.producers import Producers

from .transaction_client import TransactionalProducer, committed_offset, producer_beside_a_group, read

MARKER = Marker(7, 1, True, 0, 2)


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    return producer_beside_a_group(tmp_path)


def test_a_partition_that_refuses_is_tried_again_and_the_others_are_not(
    producer: TransactionalProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = producer.harness
    producer.produce(0, b"a")
    producer.produce(0, b"b", partition=1)
    partition = harness.broker.topics.partition("t", 0)
    assert partition is not None
    log = partition.log

    def full(*_: object) -> None:
        raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR)

    monkeypatch.setattr(log.producers.__class__, "check_end", lambda *_: None)
    monkeypatch.setattr(log.__class__, "_prepare_append", full)
    descriptor, log._fd = log._fd, -1
    assert producer.end() == 0
    assert producer.state == "PrepareCommit"
    assert read(harness, 1) == [b"b"]
    assert read(harness) == []
    for _ in range(3):
        harness.advance(1_000)
        harness.flush()
    other = harness.broker.topics.partition("t", 1)
    assert other is not None
    assert other.log.log_end_offset == 2
    log._fd = descriptor
    harness.advance(1_000)
    harness.flush()
    assert producer.state == "CompleteCommit"
    assert read(harness) == [b"a"]


def test_offsets_whose_group_is_not_loaded_are_tried_again(producer: TransactionalProducer) -> None:
    harness = producer.harness
    producer.commit_offset(5)
    harness.broker.groups.unload_all()
    partition = harness.broker.topics.partition("__consumer_offsets", 0)
    assert partition is not None
    runner = harness.broker.groups.make_runner(partition)
    harness.broker.groups._runners[0] = runner
    producer.end()
    assert producer.state == "PrepareCommit"
    runner.load()
    harness.advance(1_000)
    harness.flush()
    assert producer.state == "CompleteCommit"
    assert committed_offset(harness, stable=True) == (0, 5)


def test_without_partitions_it_is_done_at_once(producer: TransactionalProducer) -> None:
    done: list[str] = []
    EndedTransaction(producer.harness.broker, MARKER, [], lambda: True, lambda: done.append("done")).start()
    assert done == ["done"]


def test_nobody_is_told_who_does_not_wait_any_more(producer: TransactionalProducer) -> None:
    done: list[str] = []
    EndedTransaction(
        producer.harness.broker, MARKER, [("t", 0)], lambda: False, lambda: done.append("done")
    ).start()
    producer.harness.flush()
    assert done == []


def test_a_partition_that_knows_better_is_left_alone(producer: TransactionalProducer) -> None:
    harness = producer.harness
    producer.produce(0)
    done: list[str] = []
    late = Marker(producer.producer_id, 0, True, 0, 2)
    EndedTransaction(harness.broker, late, [("t", 0)], lambda: True, lambda: done.append("done")).start()
    harness.flush()
    assert done == ["done"]
    partition = harness.broker.topics.partition("t", 0)
    assert partition is not None
    assert partition.log.log_end_offset == 1


def test_a_partition_whose_producers_cannot_be_read_holds_up_no_other(
    producer: TransactionalProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = producer.harness
    producer.produce(0, b"a")
    producer.produce(0, b"b", partition=1)
    harness.restart()
    load = log_state.load_producers

    def no_descriptors(log: LogState) -> Producers:
        if log.topic_partition == ("t", 0):
            raise OSError(errno.EMFILE, "too many open files")
        return load(log)

    monkeypatch.setattr(log_state, "load_producers", no_descriptors)
    harness.advance(0)
    producer.end()
    assert producer.state == "PrepareCommit"
    assert read(harness, 1) == [b"b"]
    monkeypatch.undo()
    harness.advance(1_000)
    harness.flush()
    assert producer.state == "CompleteCommit"
    assert read(harness) == [b"a"]
