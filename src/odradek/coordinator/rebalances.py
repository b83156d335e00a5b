"""Why a group rebalanced lately: who came, went, was lost or fenced, what changed, and when.

Kept in memory, for classic and consumer groups alike; nothing of it is written, so after a start it begins
with what happens then. Asked for as docs/groups.md says.
"""

from collections import deque
from enum import Enum
from typing import NamedTuple

KEPT = 20
"""Entries per group."""


class Cause(Enum):
    """What set a rebalance off, in the words that are shown."""

    JOINED = "joined"
    CHANGED = "changed its subscription"
    LEFT = "left"
    AWAY = "went away for a while"
    RETURNED = "came back"
    SESSION_TIMEOUT = "was silent for its session timeout"
    REBALANCE_TIMEOUT = "did not rebalance in time"
    REMOVED = "was removed by an administrator"
    TOPICS = "topics changed"
    MIGRATED = "the group changed its protocol"
    TOO_LARGE = "the group is larger than it may be"


class Rebalance(NamedTuple):
    """One cause. ``wall_ms`` is when; ``epoch`` the generation or group epoch that it led out of;
    ``member_id`` is empty where it is about no member in particular; ``detail`` may be empty."""

    wall_ms: int
    epoch: int
    cause: Cause
    member_id: str = ""
    client_id: str = ""
    detail: str = ""


class Rebalances:
    """The last :data:`KEPT` causes of a group, oldest first. An idle group keeps nothing but this object."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: deque[Rebalance] | None = None

    def note(self, entry: Rebalance) -> None:
        if self._entries is None:
            self._entries = deque(maxlen=KEPT)
        self._entries.append(entry)

    def all(self) -> list[Rebalance]:
        return list(self._entries or ())
