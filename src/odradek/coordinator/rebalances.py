"""Why a group rebalanced lately: who came, went, was lost or fenced, what changed, and when.

Kept in memory, for classic and consumer groups alike; none of Kafka's records has room for it, so whoever
drives the machines keeps it over a restart. :data:`REBALANCES_KEY` is how it is asked for: docs/groups.md has
the words.
"""

import json
from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

KEPT = 20
"""Entries per group."""
MAX_TEXT = 255
"""Characters of a text that a client chose: what is kept is bounded whatever it sends."""


class Cause(Enum):
    """What set a rebalance off, in the words that are shown."""

    JOINED = "joined"
    CHANGED = "changed its subscription"
    ASKED = "asked for a rebalance"
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
    ``member_id`` is empty where it is about no member in particular; ``detail`` may be empty, or be a reason
    that the client gave (KIP-800)."""

    wall_ms: int
    epoch: int
    cause: Cause
    member_id: str = ""
    client_id: str = ""
    detail: str = ""


REBALANCES_KEY = "odradek.rebalances"
"""A read-only config of every group, which DescribeConfigs tells to those that ask for it by its name."""


class Rebalances:
    """The last :data:`KEPT` causes of a group, oldest first. An idle group keeps nothing but this object."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Sequence[Rebalance] = ()) -> None:
        self._entries: deque[Rebalance] | None = deque(entries, KEPT) if entries else None

    def note(self, entry: Rebalance) -> None:
        if self._entries is None:
            self._entries = deque(maxlen=KEPT)
        self._entries.append(
            entry._replace(
                member_id=entry.member_id[:MAX_TEXT],
                client_id=entry.client_id[:MAX_TEXT],
                detail=entry.detail[:MAX_TEXT],
            )
        )

    def all(self) -> list[Rebalance]:
        return list(self._entries or ())

    def to_json(self) -> str:
        """An array, oldest first, of objects with ``time_ms``, ``epoch``, ``cause``, ``member_id``,
        ``client_id`` and ``detail``."""
        return json.dumps(
            [
                {
                    "time_ms": entry.wall_ms,
                    "epoch": entry.epoch,
                    "cause": entry.cause.value,
                    "member_id": entry.member_id,
                    "client_id": entry.client_id,
                    "detail": entry.detail,
                }
                for entry in self._entries or ()
            ]
        )
