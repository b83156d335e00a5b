"""Commands on quotas and filters, with Kafka's reasons."""

from typing import Any

import pytest

from odradek.cluster.fold import fold_all
from odradek.cluster.image import EMPTY, ClusterImage
from odradek.cluster.quotas import FilterPart, QuotaOperation, alter_client_quotas, matching
from odradek.cluster.records import ClientQuotaChanged, decode_records, encode_records
from odradek.cluster.snapshot import image_records
from odradek.core.errors import ApiError, ErrorCode

USER = [("user", "u")]
BOTH = [("user", "u"), ("client-id", None)]


def alter(image: ClusterImage, entity: Any, **limits: float | None) -> tuple[ClusterImage, ApiError | None]:
    change = alter_client_quotas(image, [(entity, [QuotaOperation(*limit) for limit in limits.items()])])
    return fold_all(image, change.records, image.index + 1), change.result[0]


def test_set_change_and_remove() -> None:
    image, error = alter(EMPTY, USER, producer_byte_rate=1000, request_percentage=12.5)
    assert error is None
    image, _ = alter(image, BOTH, consumer_byte_rate=7)
    image, _ = alter(image, USER, producer_byte_rate=None, request_percentage=10)
    assert image.quotas == {
        (("user", "u"),): {"request_percentage": 10},
        (("client-id", None), ("user", "u")): {"consumer_byte_rate": 7},
    }
    assert alter_client_quotas(image, [(USER, [QuotaOperation("request_percentage", 10)])]).records == []
    image, _ = alter(image, USER, request_percentage=None, producer_byte_rate=None)
    assert list(image.quotas) == [(("client-id", None), ("user", "u"))]
    image, _ = alter(image, BOTH[::-1], consumer_byte_rate=None)
    assert image.quotas == {}


def test_records_and_snapshots_keep_quotas() -> None:
    records = [
        ClientQuotaChanged((("client-id", None), ("user", "ü")), "producer_byte_rate", 1.5),
        ClientQuotaChanged((("ip", "::1"),), "connection_creation_rate", None),
    ]
    assert decode_records(encode_records(records), 2) == records
    image, _ = alter(EMPTY, BOTH, consumer_byte_rate=7)
    assert fold_all(EMPTY, list(image_records(image)), 1).quotas == image.quotas


@pytest.mark.parametrize(
    ("entity", "limits", "reason"),
    [
        ([], {"producer_byte_rate": 1}, "Invalid empty client quota entity"),
        ([("team", "x")], {"producer_byte_rate": 1}, "Unhandled client quota entity type: team"),
        ([("user", "a"), ("user", "b")], {"producer_byte_rate": 1}, "duplicate entity entry user"),
        ([("ip", "1.2.3.4"), ("user", "a")], {"connection_creation_rate": 1}, "should not be combined"),
        ([("ip", "nowhere")], {"connection_creation_rate": 1}, "not a valid IP"),
        ([("ip", "1.2.3.4")], {"producer_byte_rate": 1}, "Invalid configuration key producer_byte_rate"),
        (USER, {"connection_creation_rate": 1}, "Invalid configuration key"),
        (USER, {"producer_byte_rate": 0}, "must be greater than 0"),
        (USER, {"producer_byte_rate": -1}, "must be greater than 0"),
        (USER, {"producer_byte_rate": 1.5}, "cannot be a fractional value"),
        (USER, {"producer_byte_rate": 1e19}, "too large for a LONG"),
        ([("ip", None)], {"connection_creation_rate": 1e10}, "too large for an INT"),
    ],
)
def test_refusals(entity: Any, limits: dict[str, float], reason: str) -> None:
    image, error = alter(EMPTY, entity, **limits)
    assert error is not None
    assert error.code is ErrorCode.INVALID_REQUEST
    assert reason in (error.message or "")
    assert image.quotas == {}


def test_duplicates() -> None:
    twice = [QuotaOperation("producer_byte_rate", 1), QuotaOperation("producer_byte_rate", 2)]
    change = alter_client_quotas(EMPTY, [(USER, twice), (BOTH, twice[:1]), (BOTH[::-1], twice[:1])])
    assert change.records == []
    assert [error and error.message for error in change.result] == [
        "Duplicate quota key producer_byte_rate not updating quota for this entity user=u",
        "Ignoring duplicate entity client-id=<default>, user=u",
        "Ignoring duplicate entity client-id=<default>, user=u",
    ]


def found(image: ClusterImage, *parts: FilterPart, is_strict: bool = False) -> list[Any]:
    return [entity for entity, _ in matching(image.quotas, parts, is_strict=is_strict)]


def test_filters() -> None:
    image, _ = alter(EMPTY, USER, producer_byte_rate=1)
    image, _ = alter(image, [("user", None)], producer_byte_rate=2)
    image, _ = alter(image, BOTH, producer_byte_rate=3)
    one, default, both = (("user", "u"),), (("user", None),), (("client-id", None), ("user", "u"))
    assert found(image) == [one, default, both]
    assert found(image, is_strict=True) == []
    assert found(image, FilterPart("user", 0, "u")) == [one, both]
    assert found(image, FilterPart("user", 0, "u"), is_strict=True) == [one]
    assert found(image, FilterPart("user", 1, None)) == [default]
    assert found(image, FilterPart("client-id", 2, None)) == [both]
    assert found(image, FilterPart("ip", 2, None)) == []


@pytest.mark.parametrize(
    ("parts", "code", "reason"),
    [
        ([FilterPart("", 0, "x")], ErrorCode.INVALID_REQUEST, "empty entity type"),
        ([FilterPart("team", 0, "x")], ErrorCode.UNSUPPORTED_VERSION, "Unsupported entity type team"),
        ([FilterPart("user", 7, None)], ErrorCode.INVALID_REQUEST, "Unknown match type 7"),
        ([FilterPart("user", 0, None)], ErrorCode.INVALID_REQUEST, "set match string to null"),
        ([FilterPart("user", 1, "x")], ErrorCode.INVALID_REQUEST, "MATCH_TYPE_DEFAULT, but also"),
        ([FilterPart("user", 2, "x")], ErrorCode.INVALID_REQUEST, "MATCH_TYPE_SPECIFIED, but also"),
        ([FilterPart("user", 2, None)] * 2, ErrorCode.INVALID_REQUEST, "more than once"),
        (
            [FilterPart("user", 2, None), FilterPart("ip", 2, None)],
            ErrorCode.INVALID_REQUEST,
            "should not be used",
        ),
    ],
)
def test_filters_that_make_no_sense(parts: list[FilterPart], code: ErrorCode, reason: str) -> None:
    with pytest.raises(ApiError, match=reason) as caught:
        list(matching({}, parts, is_strict=False))
    assert caught.value.code is code
