"""How much of its time a compaction works: little while clients write, so that they do not feel it, and more
the further it is behind, so that no log grows without bound. Plans, nothing is done.

A share of time and no rate: what is felt is a core and a disk that somebody else uses, and a MB costs more of
them on one machine, and with small records, than on another.
"""

from typing import NamedTuple

GENTLE_SHARE = 0.02
"""Of its time, while clients write and nothing is behind."""
QUIET_S = 10.0
"""Nobody wrote for so long: nobody is there who would feel it."""
IDLE_COMMITS = 20
"""Commits of offsets in a second: only more of them tell of somebody who writes, as consumers commit every
five seconds (``auto.commit.interval.ms``) though there is nothing to read."""
CALM = 0.25
"""Up to this urgency it stays gentle; then it works more and more, and at 1 all the time."""
LEAST_GROWTH_BYTES = 64 * 1024 * 1024
"""A log may grow so much while it waits, however small it is."""
LAG_SHARE = 0.1
"""``max.compaction.lag.ms`` says when a pass is to begin; so much of it later it is to have ended."""
LONGEST_MS = 6 * 3_600_000
"""However calm, a pass is not to take longer: a restart of the broker begins it anew."""


class Backlog(NamedTuple):
    """A log that is to be compacted, or is being compacted.

    ``allowed_bytes`` is what it may grow by, ``grown_bytes`` what came since it was dirty enough for a pass,
    ``waited_ms`` how long ago that was seen. ``lag_ms`` is its ``max.compaction.lag.ms`` when it was that
    which made it due, else 0.
    """

    allowed_bytes: float
    grown_bytes: int
    waited_ms: int
    lag_ms: int = 0


def allowed_growth(size: int, dirty_ratio: float) -> float:
    """Of a log of ``size`` bytes with this ``min.cleanable.dirty.ratio``: what makes it due once more."""
    return max(size * dirty_ratio, LEAST_GROWTH_BYTES)


def urgency_of(backlog: Backlog) -> float:
    """0 and more; from 1 on, when a log is a whole pass behind, there is no time to lose."""
    allowed_ms = max(min(backlog.lag_ms * LAG_SHARE or LONGEST_MS, LONGEST_MS), 1)
    return max(backlog.grown_bytes / backlog.allowed_bytes, backlog.waited_ms / allowed_ms, 0.0)


def share_of(urgency: float, quiet_s: float) -> float:
    """The share of its time that it may work, up to 1. ``quiet_s``: how long ago a client wrote."""
    if quiet_s >= QUIET_S:
        return 1.0
    haste = min(max((urgency - CALM) / (1 - CALM), 0.0), 1.0)
    return GENTLE_SHARE + (1 - GENTLE_SHARE) * haste


def rest_s(worked_s: float, share: float) -> float:
    """How long to rest after ``worked_s`` of work to keep to ``share``."""
    return worked_s * (1 / share - 1)
