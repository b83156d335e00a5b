from pathlib import Path

import pytest

from odradek.cluster.controller import PRODUCER_ID_BLOCK
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from tests.unit.broker.harness import Harness
from tests.unit.broker.transaction_client import TransactionalProducer, create_topic


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def init(harness: Harness, version: int = 5, **fields: object) -> InitProducerIdResponse:
    fields = {"transactional_id": None, "transaction_timeout_ms": 60_000, **fields}
    response = harness.call(InitProducerIdRequest(**fields), version)  # type: ignore[arg-type]
    assert isinstance(response, InitProducerIdResponse)
    return response


@pytest.mark.parametrize("version", range(6))
def test_every_version(harness: Harness, version: int) -> None:
    response = init(harness, version)
    assert (response.error_code, response.producer_id, response.producer_epoch) == (0, 0, 0)


def test_ids_differ_and_blocks_follow_each_other(harness: Harness) -> None:
    ids = [init(harness).producer_id for _ in range(PRODUCER_ID_BLOCK + 2)]
    assert ids == list(range(PRODUCER_ID_BLOCK + 2))
    assert harness.broker.image.next_producer_id == 2 * PRODUCER_ID_BLOCK


def test_ids_are_never_given_out_again_after_a_crash(harness: Harness) -> None:
    assert init(harness).producer_id == 0
    harness.restart()
    assert init(harness).producer_id == PRODUCER_ID_BLOCK


def test_nobody_gets_an_id_before_its_block_is_durable(harness: Harness) -> None:
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1)
    waiting = [harness.send(request, 5) for _ in range(PRODUCER_ID_BLOCK + 1)]
    assert not any(pending.is_answered for pending in waiting)
    harness.flush()
    assert sorted(pending.response().producer_id for pending in waiting) == list(range(PRODUCER_ID_BLOCK + 1))


def test_an_idempotent_producer_that_had_an_id_gets_a_new_one(harness: Harness) -> None:
    init(harness)
    response = init(harness, producer_id=0, producer_epoch=3)
    assert (response.error_code, response.producer_id, response.producer_epoch) == (0, 1, 0)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"producer_id": 5}, ErrorCode.INVALID_REQUEST),
        ({"producer_epoch": 5}, ErrorCode.INVALID_REQUEST),
        ({"transactional_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"transactional_id": "t", "transaction_timeout_ms": 0}, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ({"transactional_id": "t", "transaction_timeout_ms": 900_001}, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ({"transactional_id": "t"}, ErrorCode.NOT_COORDINATOR),
    ],
)
def test_refused(harness: Harness, fields: dict[str, object], code: ErrorCode) -> None:
    response = init(harness, **fields)
    assert (response.error_code, response.producer_id, response.producer_epoch) == (code, -1, -1)


# With a transactional id


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1")
    create_topic(harness)
    return TransactionalProducer(harness)


@pytest.mark.parametrize("version", range(6))
def test_a_transactional_id_keeps_its_producer_id_and_bumps_the_epoch(
    producer: TransactionalProducer, version: int
) -> None:
    assert producer.init(version) == 0
    known = producer.producer_id
    assert producer.init(version) == 0
    assert (producer.producer_id, producer.epoch) == (known, 1)


def test_an_id_is_taken_from_a_block_that_is_durable(producer: TransactionalProducer) -> None:
    request = InitProducerIdRequest(transactional_id="x", transaction_timeout_ms=1)
    pending = producer.harness.send(request, 5)
    assert not pending.is_answered
    producer.harness.flush()
    assert pending.response().producer_epoch == 0


@pytest.mark.parametrize(("version", "code"), [(3, 47), (4, 90), (5, 90)])
def test_older_clients_are_told_of_fencing_in_their_words(
    producer: TransactionalProducer, version: int, code: int
) -> None:
    producer.init()
    assert producer.init(version, producer_id=producer.producer_id, producer_epoch=7) == code
    assert producer.init(version, producer_id=77, producer_epoch=0) == code


def test_who_fences_an_open_transaction_has_to_come_again(producer: TransactionalProducer) -> None:
    producer.init()
    producer.produce(0)
    assert producer.init() == ErrorCode.CONCURRENT_TRANSACTIONS
    producer.harness.flush()
    assert producer.state == "CompleteAbort"
    assert producer.init() == 0
    assert producer.epoch == 2


def test_a_transactional_id_as_long_as_the_protocol_allows(producer: TransactionalProducer) -> None:
    huge = TransactionalProducer(producer.harness, "h" * 32_767)
    assert huge.init() == 0
    assert huge.produce(0)[0] == 0
    assert huge.end() == 0
    producer.harness.restart()
    assert huge.state == "CompleteCommit"


def test_ids_that_run_out_while_somebody_waits_are_told_to_everyone(producer: TransactionalProducer) -> None:
    """The metadata log cannot be written: no new block, so no new transactional id; known ones go on."""
    producer.init()
    harness = producer.harness
    harness.broker.producer_ids._block = iter(range(0))
    commits = harness.broker.metadata

    def fail(*_: object) -> None:
        raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR)

    commits.commit = fail  # type: ignore[method-assign]
    other = TransactionalProducer.__new__(TransactionalProducer)
    other.harness, other.transactional_id, other.timeout_ms = harness, "other", 1_000
    other.producer_id = other.epoch = -1
    assert other.init() == ErrorCode.KAFKA_STORAGE_ERROR
    assert producer.init() == 0
