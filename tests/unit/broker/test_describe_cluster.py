from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_cluster import DescribeClusterRequest
from tests.unit.broker.harness import Harness


@pytest.mark.parametrize("version", range(3))
def test_every_version(tmp_path: Path, version: int) -> None:
    harness = Harness(tmp_path, broker_rack="r1")
    response = harness.call(DescribeClusterRequest(include_cluster_authorized_operations=True), version)
    (broker,) = response.brokers
    assert response.error_code == 0
    assert response.cluster_id == harness.broker.image.cluster_id
    assert response.controller_id == broker.broker_id == 1
    assert (broker.host, broker.port, broker.rack, broker.is_fenced) == ("127.0.0.1", 9092, "r1", False)
    assert response.cluster_authorized_operations == 8096


def test_operations_only_when_asked(tmp_path: Path) -> None:
    response = Harness(tmp_path).call(DescribeClusterRequest())
    assert response.cluster_authorized_operations == -(1 << 31)


@pytest.mark.parametrize(
    ("endpoint_type", "code"),
    [(2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (3, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)],
)
def test_other_endpoints(tmp_path: Path, endpoint_type: int, code: ErrorCode) -> None:
    response = Harness(tmp_path).call(DescribeClusterRequest(endpoint_type=endpoint_type), 1)
    assert (response.error_code, response.brokers) == (code, [])


def test_advertised_listener(tmp_path: Path) -> None:
    harness = Harness(tmp_path, advertised_listeners="PLAINTEXT://kafka.example:19092")
    (broker,) = harness.call(DescribeClusterRequest()).brokers
    assert (broker.host, broker.port) == ("kafka.example", 19092)
