"""Every message in every version: round trips, and hostile bytes."""

import random
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odradek.protocol.primitives import MalformedError
from tests.support.messages import (
    Known,
    at_version,
    encoded,
    fullest,
    known_messages,
    plainest,
    values,
)

ROOM_BYTES = 64 * 1024
"""What a decoder may allocate beside something proportional to its input."""
LARGE_COUNTS = (b"\xff\xff\xff\xff\x07", b"\x7f\xff\xff\xff", b"\xff\xff\x3f")
"""As a compact length, as a plain one, and one that is merely too large."""

every_message = pytest.mark.parametrize("known", known_messages(), ids=lambda known: known.name)


def few(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def decoded(known: Known, raw: bytes, version: int) -> Any:
    """The message at the front of ``raw``; fails on any error but the one that is allowed."""
    message, end = known.cls.decode(memoryview(raw), 0, version)
    assert 0 <= end <= len(raw)
    return message


def survive(known: Known, raw: bytes, version: int) -> None:
    """Decodes hostile bytes: a message or the one error kind, nothing else."""
    with suppress(MalformedError):
        decoded(known, raw, version)


def assert_round_trip(known: Known, message: Any, version: int) -> None:
    raw = encoded(message, version)
    again, end = known.cls.decode(memoryview(b"#" + raw + b"#"), 1, version)
    assert again == message
    assert end == 1 + len(raw)


@every_message
def test_what_is_encoded_is_decoded_in_every_version(known: Known) -> None:
    @few(8)
    @given(values(known))
    def check(value: Any) -> None:
        for version in known.versions:
            assert_round_trip(known, at_version(known, value, version), version)

    check()


@every_message
def test_all_fields_and_no_fields(known: Known) -> None:
    for version in known.versions:
        assert_round_trip(known, fullest(known, version), version)
        assert_round_trip(known, plainest(known, version), version)


@every_message
def test_every_cut_is_malformed(known: Known) -> None:
    for version in (known.versions[0], known.versions[-1]):
        raw = encoded(fullest(known, version), version)
        for size in range(len(raw)):
            with pytest.raises(MalformedError):
                decoded(known, raw[:size], version)


@every_message
def test_random_bytes_give_a_message_or_malformed(known: Known) -> None:
    source = random.Random(known.name)
    for version in known.versions:
        for _ in range(8):
            survive(known, source.randbytes(source.randrange(120)), version)
            survive(known, bytes(source.choices((0, 1, 2, 3, 255), k=40)), version)


@every_message
def test_changed_bytes_give_a_message_or_malformed(known: Known) -> None:
    changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4)
    valid = [(version, encoded(fullest(known, version), version)) for version in known.versions]

    @few(4)
    @given(changes, st.booleans())
    def check(changes: list[tuple[int, int]], insert: bool) -> None:
        for version, raw in valid:
            changed = bytearray(raw or b"\0")
            for place, byte in changes:
                at = place % len(changed)
                changed[at : at if insert else at + 1] = bytes((byte,))
            survive(known, bytes(changed), version)

    check()


def test_lying_counts_and_lengths_allocate_nothing() -> None:
    """A large number in every place where it could be a count or a length."""
    source = random.Random(1)
    tracemalloc.start()
    try:
        for known in known_messages():
            version = source.choice(known.versions)
            raw = encoded(fullest(known, version), version)
            for place in source.sample(range(len(raw)), min(len(raw), 12)):
                for lie in LARGE_COUNTS:
                    hostile = raw[:place] + lie + raw[place + 1 :]
                    tracemalloc.reset_peak()
                    before = tracemalloc.get_traced_memory()[0]
                    survive(known, hostile, version)
                    assert tracemalloc.get_traced_memory()[1] - before < ROOM_BYTES + 200 * len(hostile)
    finally:
        tracemalloc.stop()


@every_message
def test_unknown_tagged_fields_are_skipped(known: Known) -> None:
    version = known.versions[-1]
    if version not in known.definition.flexible:
        return
    message = plainest(known, version)
    raw = encoded(message, version)
    assert raw.endswith(b"\0")
    with_tags = raw[:-1] + b"\x02" + b"\xd0\x0f\x03abc" + b"\xd1\x0f\x00"
    assert decoded(known, with_tags, version) == message


@every_message
def test_versions_that_do_not_exist(known: Known) -> None:
    for version in (known.versions[0] - 1, known.versions[-1] + 1):
        with pytest.raises(ValueError, match="no version"):
            known.cls.decode(memoryview(bytes(8)), 0, version)
        with pytest.raises(ValueError, match="no version"):
            known.cls().encode([], version)


@every_message
def test_attributes_are_those_of_the_definition(known: Known) -> None:
    cls, definition = known.cls, known.definition
    assert known.name == cls.NAME
    assert (known.versions[0], known.versions[-1]) == (cls.LOWEST_VERSION, cls.HIGHEST_VERSION)
    assert (definition.api_key if definition.api_key is not None else -1) == cls.API_KEY
    flexible = [version for version in known.versions if version in definition.flexible]
    assert [version for version in known.versions if version >= cls.FIRST_FLEXIBLE_VERSION] == flexible
