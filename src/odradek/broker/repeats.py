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

    __slots__ = ("_missed", "known")

    def __init__(self) -> None:
        self.known: dict[int, Repeat] = {}
        self._missed: dict[int, tuple[int, int]] = {}
        """Of each kind: how many were missed since it was last looked at, and for how many that waits."""

    def is_time_to_learn(self, kind: int) -> bool:
        """Asked after each request that could have been known and was not. Each kind has a count of its own:
        of requests that take turns, as a copier's do, one would always find it just before its time."""
        missed, wait = self._missed.get(kind, (0, _FIRST_WAIT))
        missed += 1
        if missed < wait:
            self._missed[kind] = missed, wait
            return False
        self._missed[kind] = 0, min(2 * wait, _LONGEST_WAIT)
        return True
