from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.storage.log import Log

from .harness import Harness
from .transaction_client import TransactionalProducer, create_topic, read


class _FullLog:
    """A log whose disk has no room."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append(self, *_: object, **__: object) -> None:
        raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR)


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1")
    create_topic(harness)
    producer = TransactionalProducer(harness)
    producer.init()
    return producer


@pytest.mark.parametrize("version", range(6))
@pytest.mark.parametrize("committed", [True, False])
def test_every_version(producer: TransactionalProducer, version: int, committed: bool) -> None:
    producer.add(0)
    producer.produce(0, b"a", version=11)
    assert producer.end(committed, version) == 0
    assert read(producer.harness) == ([b"a"] if committed else [])
    assert producer.describe().producer_epoch == (1 if version == 5 else 0)


def test_version_5_tells_the_epoch_to_go_on_with(producer: TransactionalProducer) -> None:
    producer.produce(0)
    response = producer.harness.call(producer.end_request(True), 5)
    assert (response.error_code, response.producer_id, response.producer_epoch) == (
        0,
        producer.producer_id,
        1,
    )


@pytest.mark.parametrize(("version", "code"), [(0, 47), (1, 47), (2, 90), (3, 90), (4, 90), (5, 90)])
def test_who_is_fenced(producer: TransactionalProducer, version: int, code: int) -> None:
    producer.produce(0)
    assert producer.end(True, version, producer_epoch=4) == code
    mapping = ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert producer.end(True, version, producer_id=77) == mapping
    assert producer.end(True, version, transactional_id="nobody") == mapping
    assert producer.end(True, version, transactional_id="") == ErrorCode.INVALID_REQUEST
    assert producer.state == "Ongoing"


def test_an_end_without_a_transaction(producer: TransactionalProducer) -> None:
    assert producer.end(True, 4) == ErrorCode.INVALID_TXN_STATE
    assert producer.end(True, 5) == ErrorCode.INVALID_TXN_STATE
    assert producer.end(False, 5) == 0
    assert producer.epoch == 1


def test_an_end_while_the_disk_is_full_can_be_asked_for_again(producer: TransactionalProducer) -> None:
    producer.produce(0, b"a")
    broker = producer.harness.broker
    partition = broker.topics.partition("__transaction_state", 0)
    assert partition is not None

    healthy = partition.log
    partition.log = _FullLog(healthy)  # type: ignore[assignment]
    assert producer.end() == ErrorCode.NOT_COORDINATOR
    partition.log = healthy
    assert producer.state == "Ongoing"
    assert producer.end() == 0
    assert read(producer.harness) == [b"a"]
