"""Requests that are the last one over again: recognized by their bytes, answered without being decoded.

A client in a loop changes an offset, or the records, and sends everything else again. Decoding that, looking
up the same topic and encoding nearly the same answer is two thirds of what a small request costs. So of each
connection's Produce and Fetch requests for a single partition it is kept which bytes they have in common
(found by :mod:`odradek.protocol.stencil`, not written down here) and what came of them; the next request
with the same bytes needs no more than that. All others, and everything that goes wrong, take the way through
the table. Here speed was bought with a second way to the same answer: ``tests/unit/broker/test_repeats.py``
holds the two against each other.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from odradek.broker.requests import Answer

_FIRST_WAIT = 4
_LONGEST_WAIT = 1_024
"""Learning costs as much as twenty requests: it waits for the fourth, then twice as long each time."""


class Repeat(Protocol):
    """What is known of a kind of request on one connection."""

    def answer(self, frame: memoryview, /) -> "Answer":
        """The answer; None when ``frame`` is not of that kind or the answer is not plain success at once."""


class Repeats:
    """The kinds of request that one connection has sent before; keys are API key << 16 | version."""

    __slots__ = ("_missed", "_wait", "known")

    def __init__(self) -> None:
        self.known: dict[int, Repeat] = {}
        self._missed = 0
        self._wait = _FIRST_WAIT

    def is_time_to_learn(self) -> bool:
        """Asked after each request that could have been known and was not."""
        self._missed += 1
        if self._missed < self._wait:
            return False
        self._missed = 0
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
        return True
