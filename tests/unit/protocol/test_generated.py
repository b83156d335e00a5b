"""Every message in every version goes through bytes and back."""

from typing import Any

import pytest
from hypothesis import given

from tests.support.messages import (
    Known,
    at_version,
    decoded,
    encoded,
    few,
    fullest,
    known_messages,
    plainest,
    values,
)

every_message = pytest.mark.parametrize("known", known_messages(), ids=lambda known: known.name)


def assert_round_trip(known: Known, message: Any, version: int) -> None:
    raw = encoded(message, version)
    again, end = known.cls.decode(memoryview(b"#" + raw + b"#"), 1, version)
    assert again == message, f"version {version}"
    assert end == 1 + len(raw)


@every_message
def test_what_is_encoded_is_decoded_in_every_version(known: Known) -> None:
    for version in known.versions:
        assert_round_trip(known, fullest(known, version), version)
        assert_round_trip(known, plainest(known, version), version)

    @few(4)
    @given(values(known))
    def check(value: Any) -> None:
        for version in known.versions:
            assert_round_trip(known, at_version(known, value, version), version)

    check()


def test_unknown_tagged_fields_are_skipped() -> None:
    for known in known_messages():
        version = known.versions[-1]
        if version not in known.definition.flexible:
            continue
        message = plainest(known, version)
        raw = encoded(message, version)
        assert raw.endswith(b"\0"), known.name
        with_tags = raw[:-1] + b"\x02" + b"\xd0\x0f\x03abc" + b"\xd1\x0f\x00"
        assert decoded(known, with_tags, version) == message, known.name


def test_versions_that_do_not_exist() -> None:
    for known in known_messages():
        for version in (known.versions[0] - 1, known.versions[-1] + 1):
            with pytest.raises(ValueError, match="no version"):
                known.cls.decode(memoryview(bytes(8)), 0, version)
            with pytest.raises(ValueError, match="no version"):
                known.cls().encode([], version)


def test_attributes_are_those_of_the_definition() -> None:
    for known in known_messages():
        cls, definition = known.cls, known.definition
        assert known.name == cls.NAME
        assert (known.versions[0], known.versions[-1]) == (cls.LOWEST_VERSION, cls.HIGHEST_VERSION)
        assert (definition.api_key if definition.api_key is not None else -1) == cls.API_KEY
        flexible = [version for version in known.versions if version in definition.flexible]
        assert [one for one in known.versions if one >= cls.FIRST_FLEXIBLE_VERSION] == flexible, known.name
