from pathlib import Path

import pytest

from odradek.cluster.controller import PRODUCER_ID_BLOCK
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from tests.unit.broker.harness import Harness


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
