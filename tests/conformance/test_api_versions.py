"""What is announced is served, in every version of it, and nothing else is."""

import struct
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol import apis
from odradek.protocol.primitives import Message
from tests.conformance import raw
from tests.conformance.conftest import EXTERNAL

SENSIBLE: dict[str, dict[str, Any]] = {
    "Produce": {"acks": -1},
    "ListOffsets": {"replica_id": -1},
    "OffsetForLeaderEpoch": {"replica_id": -1},
    "DescribeCluster": {"endpoint_type": 1},
    "Fetch": {"max_wait_ms": 0, "session_epoch": -1},
}
"""Where the defaults of the fields make no request that is answered."""


def announced(bootstrap: str) -> dict[int, tuple[int, int]]:
    with raw.RawConnection(bootstrap) as connection:
        answer = connection.ask(raw.request_of("ApiVersions"), 0)
    assert answer.error_code == ErrorCode.NONE
    return {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}


def minimal(api_key: int) -> Message:
    name = apis.APIS[api_key].name
    return raw.request_of(name, **SENSIBLE.get(name, {}))


def test_every_announced_version_gets_an_answer_that_can_be_read(bootstrap: str) -> None:
    if EXTERNAL:
        pytest.skip("Kafka lets empty requests of transactions wait")
    silent = []
    for api_key, (lowest, highest) in announced(bootstrap).items():
        description = apis.APIS[api_key]
        for version in range(max(lowest, description.lowest_version), highest + 1):
            with raw.RawConnection(bootstrap) as connection:
                try:
                    connection.ask(minimal(api_key), version)
                except (raw.Closed, TimeoutError) as error:
                    silent.append(f"{description.name} v{version}: {error!r}")
    assert silent == []


def test_the_announced_versions_are_kafkas(bootstrap: str) -> None:
    for api_key, (lowest, highest) in announced(bootstrap).items():
        description = apis.APIS[api_key]
        assert highest == description.highest_version - description.is_latest_unstable, description.name
        assert lowest <= description.lowest_version, description.name
        assert "broker" in description.listeners


def test_produce_is_announced_from_version_0_on_as_kafka_does(bootstrap: str) -> None:
    """librdkafka before 2.10 takes gzip, snappy and lz4 for unsupported when Produce v0 is not announced
    (KAFKA-18659); Kafka 4 announces it and still refuses it."""
    assert announced(bootstrap)[0][0] == 0


def test_all_versions_of_api_versions_tell_the_same(bootstrap: str) -> None:
    expected = announced(bootstrap)
    with raw.RawConnection(bootstrap) as connection:
        for version in range(5):
            request = raw.request_of(
                "ApiVersions", client_software_name="conformance", client_software_version="1.0"
            )
            answer = connection.ask(request, version)
            assert answer.error_code == ErrorCode.NONE
            found = {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}
            assert found == expected, f"version {version}"


@pytest.mark.parametrize("version", [5, 6, 100, 32_767, -1])
def test_an_unknown_version_of_api_versions_is_answered_in_version_0(bootstrap: str, version: int) -> None:
    with raw.RawConnection(bootstrap) as connection:
        connection.send_frame(struct.pack(">hhih", 18, version, 4_711, -1) + b"\0\0\0\0")
        answer = raw.decode_response(18, 0, connection.receive_frame(), 4_711)
        assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION
        mine = {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}
        assert mine[18] == announced(bootstrap)[18]
        assert connection.ask(raw.request_of("ApiVersions"), 0).error_code == ErrorCode.NONE


@pytest.mark.parametrize(("software", "version"), [("", ""), ("a b", "1"), ("ok", ""), ("-", "1")])
def test_names_of_client_software_are_checked(bootstrap: str, software: str, version: str) -> None:
    with raw.RawConnection(bootstrap) as connection:
        request = raw.request_of(
            "ApiVersions", client_software_name=software, client_software_version=version
        )
        assert connection.ask(request, 3).error_code == ErrorCode.INVALID_REQUEST


def test_versions_that_are_not_announced_end_the_connection(bootstrap: str) -> None:
    table = announced(bootstrap)
    answered = []
    for api_key, (lowest, highest) in table.items():
        if api_key == 18:
            continue
        outside = {lowest - 1, highest + 1, 32_767, -1}
        if api_key == 0:
            outside |= {0, 1, 2}
        for version in outside:
            with raw.RawConnection(bootstrap) as connection:
                connection.send_frame(struct.pack(">hhih", api_key, version, 1, -1) + b"\0" * 40)
                if not connection.is_closed():
                    answered.append((apis.APIS[api_key].name, version))
    assert answered == []


def test_apis_that_are_not_announced_end_the_connection(bootstrap: str) -> None:
    if EXTERNAL:
        pytest.skip("Kafka answers GetTelemetrySubscriptions without announcing it")
    table = announced(bootstrap)
    answered = []
    for api_key in [*range(95), 9_999, 32_767, -1, -32_768]:
        if api_key in table:
            continue
        with raw.RawConnection(bootstrap) as connection:
            connection.send_frame(struct.pack(">hhih", api_key, 0, 1, -1) + b"\0" * 40)
            if not connection.is_closed():
                answered.append(api_key)
    assert answered == []
