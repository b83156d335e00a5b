import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.protocol.apis import APIS
from odradek.protocol.generated.request_header import RequestHeader as RequestHeaderMessage
from odradek.protocol.headers import (
    read_request_header,
    read_response_header,
    request_header,
    request_header_version,
    response_header_version,
)
from odradek.protocol.primitives import MalformedError
from tests.support.messages import encoded

PRODUCE, API_VERSIONS, SASL_HANDSHAKE = 0, 18, 17


def test_flexible_requests_have_header_2_and_flexible_responses_header_1() -> None:
    assert [request_header_version(PRODUCE, version) for version in (8, 9)] == [1, 2]
    assert [response_header_version(PRODUCE, version) for version in (8, 9)] == [0, 1]
    assert request_header_version(SASL_HANDSHAKE, 1) == 1


def test_api_versions_is_always_answered_with_header_0() -> None:
    assert request_header_version(API_VERSIONS, 3) == 2
    assert [response_header_version(API_VERSIONS, version) for version in (0, 3, 4)] == [0, 0, 0]


@pytest.mark.parametrize("client_id", [None, "", "kafka-client", "일꾼", "x" * 300])
@pytest.mark.parametrize("version", [8, 9])
def test_a_request_header_is_read_as_written(client_id: str | None, version: int) -> None:
    raw = request_header(PRODUCE, version, 77, client_id)
    header = read_request_header(memoryview(b"##" + raw + b"body"), 2)
    assert header == (PRODUCE, version, 77, client_id, 2 + len(raw))


@pytest.mark.parametrize("version", [8, 9])
def test_the_definition_says_the_same(version: int) -> None:
    message = RequestHeaderMessage(PRODUCE, version, 77, "me")
    header_version = request_header_version(PRODUCE, version)
    assert encoded(message, header_version) == request_header(PRODUCE, version, 77, "me")


def test_tags_of_a_header_are_skipped() -> None:
    raw = request_header(PRODUCE, 9, 1, "me")[:-1] + b"\x01\x05\x02ab"
    assert read_request_header(memoryview(raw + b"body"), 0).body_position == len(raw)
    assert read_response_header(memoryview(b"\0\0\0\x07\x01\x05\x02ab"), 0, 1) == (7, 9)


def test_a_response_header() -> None:
    assert read_response_header(memoryview(b"\0\0\0\x07"), 0, 0) == (7, 4)
    assert read_response_header(memoryview(b"##\0\0\0\x07\0"), 2, 1) == (7, 7)


def test_an_unknown_api_key_is_malformed() -> None:
    raw = b"\x03\xe7" + request_header(PRODUCE, 8, 1, "me")[2:]
    with pytest.raises(MalformedError, match="999"):
        read_request_header(memoryview(raw), 0)


@pytest.mark.parametrize("version", [8, 9])
def test_every_cut_is_malformed(version: int) -> None:
    raw = request_header(PRODUCE, version, 1, "me")
    for size in range(len(raw)):
        with pytest.raises(MalformedError):
            read_request_header(memoryview(raw[:size]), 0)
    for size in range(5):
        with pytest.raises(MalformedError):
            read_response_header(memoryview(b"\0\0\0\1\0"[:size]), 0, 1)


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(st.sampled_from([0, 1, 18, 75, 999]), st.binary(max_size=40))
def test_random_bytes_give_a_header_or_malformed(api_key: int, rest: bytes) -> None:
    raw = api_key.to_bytes(2, "big") + rest
    try:
        header = read_request_header(memoryview(raw), 0)
    except MalformedError:
        return
    assert header.api_key in APIS
    assert 10 <= header.body_position <= len(raw)
