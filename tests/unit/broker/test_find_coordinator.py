from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest

from .harness import Harness


def test_the_first_question_makes_the_topic_and_is_answered_when_it_is_there(tmp_path: Path) -> None:
    harness = Harness(tmp_path, offsets_topic_num_partitions="3")
    first = harness.send(FindCoordinatorRequest(key="g"), 3)
    second = harness.send(FindCoordinatorRequest(coordinator_keys=["g", "h"]), 6)
    assert not first.is_answered
    assert not second.is_answered
    harness.flush()
    response = first.response()
    assert (response.error_code, response.node_id, response.host, response.port) == (0, 1, "127.0.0.1", 9092)
    assert [(one.key, one.error_code, one.node_id) for one in second.response().coordinators] == [
        ("g", 0, 1),
        ("h", 0, 1),
    ]
    topic = harness.broker.image.topics["__consumer_offsets"]
    assert len(topic.partitions) == 3
    assert topic.configs["cleanup.policy"] == "compact"


def test_transactional_ids_have_a_topic_of_their_own(tmp_path: Path) -> None:
    harness = Harness(tmp_path, transaction_state_log_num_partitions="4")
    response = harness.call(FindCoordinatorRequest(coordinator_keys=["t", ""], key_type=1), 6)
    assert [(one.key, one.error_code, one.port) for one in response.coordinators] == [
        ("t", 0, 9092),
        ("", 0, 9092),
    ]
    topic = harness.broker.image.topics["__transaction_state"]
    assert len(topic.partitions) == 4
    assert topic.configs == {
        "cleanup.policy": "compact",
        "compression.type": "uncompressed",
        "min.insync.replicas": "1",
        "segment.bytes": "104857600",
        "unclean.leader.election.enable": "false",
    }
    assert "__consumer_offsets" not in harness.broker.image.topics


@pytest.mark.parametrize("version", range(7))
def test_every_version(tmp_path: Path, version: int) -> None:
    harness = Harness(tmp_path, offsets_topic_num_partitions="1")
    if version < 4:
        response = harness.call(FindCoordinatorRequest(key="g"), version)
        assert (response.error_code, response.port) == (0, 9092)
    else:
        (found,) = harness.call(FindCoordinatorRequest(coordinator_keys=["g"]), version).coordinators
        assert (found.key, found.error_code, found.port) == ("g", 0, 9092)
        assert harness.call(FindCoordinatorRequest(coordinator_keys=[]), version).coordinators == []


@pytest.mark.parametrize("key_type", [2, 9])
def test_other_coordinators_are_not_served(tmp_path: Path, key_type: int) -> None:
    harness = Harness(tmp_path)
    old = harness.call(FindCoordinatorRequest(key="x", key_type=key_type), 3)
    assert (old.error_code, old.node_id) == (ErrorCode.INVALID_REQUEST, -1)
    new = harness.call(FindCoordinatorRequest(coordinator_keys=["x", "y"], key_type=key_type), 6)
    assert [one.error_code for one in new.coordinators] == [ErrorCode.INVALID_REQUEST] * 2
    assert "__consumer_offsets" not in harness.broker.image.topics
