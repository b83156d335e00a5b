"""Names of things: topic ids and topic partitions."""

import base64
import binascii
from typing import NamedTuple, Protocol

TopicId = bytes
"""A Kafka UUID as its 16 raw bytes, as the wire carries it."""

ZERO_ID: TopicId = bytes(16)
_ONE_ID: TopicId = bytes(15) + b"\x01"


class Randomness(Protocol):
    """The randomness seam; ``random.Random`` and ``random.SystemRandom`` fit."""

    def randbytes(self, n: int, /) -> bytes: ...

    def random(self) -> float: ...


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def new_id(randomness: Randomness) -> TopicId:
    """A random version-4 UUID that Kafka accepts: not reserved, text form without a leading dash.

    Source: ``org.apache.kafka.common.Uuid.randomUuid``.
    """
    while True:
        raw = bytearray(randomness.randbytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        candidate = bytes(raw)
        if candidate not in (ZERO_ID, _ONE_ID) and not id_text(candidate).startswith("-"):
            return candidate


def id_text(raw: TopicId) -> str:
    """The 22-character URL-safe base64 form in which Kafka prints ids."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def id_from_text(text: str) -> TopicId:
    """The inverse of :func:`id_text`; raises ``ValueError`` when ``text`` is not such an id."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text!r} is not a base64 id") from error
    if len(raw) != 16:
        raise ValueError(f"{text!r} is {len(raw)} bytes long, an id has 16")
    return raw


def is_garbled(found: TopicId, expected: TopicId) -> bool:
    """Whether ``found`` is what damage makes of ``expected``: its text differs in a character or two, or it
    could not be read at all (zeros). Two random ids differ in nearly all of theirs."""
    if found == expected:
        return False
    pairs = zip(id_text(found), id_text(expected), strict=True)
    return found == ZERO_ID or sum(left != right for left, right in pairs) <= 2
