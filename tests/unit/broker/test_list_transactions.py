from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.list_transactions import ListTransactionsRequest

from .harness import Harness
from .transaction_client import TransactionalProducer, create_topic


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="5")
    create_topic(harness)
    for name in ("app-1", "app-2", "other"):
        producer = TransactionalProducer(harness, name)
        producer.init()
        if name == "app-2":
            producer.produce(0)
    return harness


def listed(harness: Harness, version: int = 2, **fields: Any) -> list[str]:
    response = harness.call(ListTransactionsRequest(**fields), version)
    assert response.error_code == 0
    return sorted(one.transactional_id for one in response.transaction_states)


@pytest.mark.parametrize("version", range(3))
def test_every_version(harness: Harness, version: int) -> None:
    assert listed(harness, version) == ["app-1", "app-2", "other"]
    assert listed(harness, version, state_filters=["Ongoing"]) == ["app-2"]
    assert listed(harness, version, producer_id_filters=[0, 2]) == ["app-1", "other"]


def test_by_duration_and_pattern(harness: Harness) -> None:
    harness.advance(5_000)
    assert listed(harness, duration_filter=4_999, state_filters=["Ongoing"]) == ["app-2"]
    assert listed(harness, duration_filter=5_000, state_filters=["Ongoing"]) == []
    assert listed(harness, transactional_id_pattern="app-.*") == ["app-1", "app-2"]
    assert listed(harness, transactional_id_pattern="") == ["app-1", "app-2", "other"]
    response = harness.call(ListTransactionsRequest(transactional_id_pattern="("), 2)
    assert response.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION


def test_a_broker_without_transactions(tmp_path: Path) -> None:
    assert listed(Harness(tmp_path / "other")) == []
