from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest

from .harness import Harness
from .transaction_client import TransactionalProducer


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="1", offsets_topic_num_partitions="50")
    harness.call(FindCoordinatorRequest(coordinator_keys=["g"]), 6)
    producer = TransactionalProducer(harness)
    producer.init()
    return producer


@pytest.mark.parametrize("version", range(5))
def test_the_partition_of_the_group_takes_part(producer: TransactionalProducer, version: int) -> None:
    assert producer.add_offsets("g", version) == 0
    (topic,) = producer.describe().topics
    assert (topic.topic, topic.partitions) == ("__consumer_offsets", [ord("g") % 50])


@pytest.mark.parametrize(("version", "code"), [(0, 47), (1, 47), (2, 90), (3, 90), (4, 90)])
def test_who_is_fenced(producer: TransactionalProducer, version: int, code: int) -> None:
    assert producer.add_offsets("g", version, producer_epoch=3) == code
    mapping = ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert producer.add_offsets("g", version, producer_id=77) == mapping
    assert producer.add_offsets("g", version, transactional_id="nobody") == mapping
    assert producer.add_offsets("g", version, transactional_id="") == ErrorCode.INVALID_REQUEST
