"""Hostile bytes in every decoder: a message or MalformedError, nothing else, and no room for lies."""

import random
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.protocol.primitives import MalformedError
from tests.support.messages import Known, decoded, encoded, few, fullest, known_messages

ROOM_BYTES = 64 * 1024
"""What a decoder may allocate beside something proportional to its input."""
LARGE_COUNTS = (b"\xff\xff\xff\xff\x07", b"\x7f\xff\xff\xff", b"\xff\xff\x3f")
"""As a compact length, as a plain one, and one that is merely too large."""

every_message = pytest.mark.parametrize("known", known_messages(), ids=lambda known: known.name)


def survive(known: Known, raw: bytes, version: int) -> None:
    with suppress(MalformedError):
        decoded(known, raw, version)


def test_every_cut_is_malformed() -> None:
    source = random.Random(1)
    for known in known_messages():
        for version in (known.versions[0], known.versions[-1]):
            raw = encoded(fullest(known, version), version)
            for size in source.sample(range(len(raw)), min(len(raw), 40)):
                with pytest.raises(MalformedError):
                    decoded(known, raw[:size], version)


def test_random_bytes() -> None:
    source = random.Random(2)
    for known in known_messages():
        for version in known.versions:
            for _ in range(8):
                survive(known, source.randbytes(source.randrange(120)), version)
                survive(known, bytes(source.choices((0, 1, 2, 3, 255), k=40)), version)


@every_message
def test_changed_bytes(known: Known) -> None:
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
    """A large number in places where it could be a count or a length."""
    source = random.Random(3)
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
