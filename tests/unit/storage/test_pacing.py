"""How hard compaction works: gently while records are written, never so gently that a log grows for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.storage.pacing import (
    CALM,
    GENTLE_SHARE,
    LEAST_GROWTH_BYTES,
    LONGEST_MS,
    QUIET_S,
    Backlog,
    allowed_growth,
    rest_s,
    share_of,
    urgency_of,
)

GB = 1 << 30
DAY_MS = 86_400_000
FRESH = Backlog(allowed_bytes=2 * GB, grown_bytes=0, waited_ms=0)


@pytest.mark.parametrize(
    ("size", "dirty_ratio", "allowed_bytes"),
    [
        (4 * GB, 0.5, 2 * GB),
        (4 * GB, 0.25, GB),
        (4 * GB, 0.0, LEAST_GROWTH_BYTES),
        (1_000, 0.5, LEAST_GROWTH_BYTES),
    ],
)
def test_allowed_growth(size: int, dirty_ratio: float, allowed_bytes: float) -> None:
    assert allowed_growth(size, dirty_ratio) == allowed_bytes


@pytest.mark.parametrize(
    ("backlog", "urgency"),
    [
        pytest.param(FRESH, 0.0, id="just seen to be due"),
        pytest.param(FRESH._replace(grown_bytes=GB), 0.5, id="half of what makes it due once more"),
        pytest.param(FRESH._replace(grown_bytes=4 * GB), 2.0, id="two passes behind"),
        pytest.param(FRESH._replace(waited_ms=LONGEST_MS), 1.0, id="it takes long"),
        pytest.param(FRESH._replace(waited_ms=DAY_MS // 20, lag_ms=DAY_MS), 0.5, id="overdue"),
        pytest.param(FRESH._replace(waited_ms=LONGEST_MS, lag_ms=1000 * DAY_MS), 1.0, id="a long lag"),
        pytest.param(FRESH._replace(waited_ms=0, lag_ms=1), 0.0, id="overdue this moment"),
    ],
)
def test_urgency(backlog: Backlog, urgency: float) -> None:
    assert urgency_of(backlog) == pytest.approx(urgency)


@pytest.mark.parametrize(
    ("urgency", "quiet_s", "share"),
    [
        (0.0, 0.0, GENTLE_SHARE),
        (CALM, 0.0, GENTLE_SHARE),
        ((1 + CALM) / 2, 0.0, (1 + GENTLE_SHARE) / 2),
        (1.0, 0.0, 1.0),
        (40.0, 0.0, 1.0),
        (0.0, QUIET_S - 0.1, GENTLE_SHARE),
        (0.0, QUIET_S, 1.0),
        (0.0, float("inf"), 1.0),
    ],
)
def test_share(urgency: float, quiet_s: float, share: float) -> None:
    assert share_of(urgency, quiet_s) == pytest.approx(share)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 1000))
def test_more_urgent_is_never_slower(one: float, other: float, quiet_s: float) -> None:
    shares = [share_of(urgency, quiet_s) for urgency in sorted((one, other))]
    assert GENTLE_SHARE <= shares[0] <= shares[1] <= 1


@given(st.floats(1e-4, 1), st.floats(GENTLE_SHARE, 1))
def test_rest_keeps_the_share(worked_s: float, share: float) -> None:
    assert worked_s / (worked_s + rest_s(worked_s, share)) == pytest.approx(share)


@pytest.mark.parametrize("needed_share", [0.02, 0.2, 0.5, 0.95])
def test_a_log_that_is_written_to_all_the_time_stays_bounded(needed_share: float) -> None:
    """Pass after pass, second by second. ``needed_share`` of its time is what keeps up with the writers."""
    allowed, work_s = 2 * GB, 100.0  # what makes the log due, and takes so long to be worked off
    growth = int(allowed * needed_share / work_s)
    behind = worst = allowed
    for _ in range(20):
        done_s, fresh = 0.0, 0
        while done_s < work_s * behind / allowed:
            done_s += share_of(urgency_of(Backlog(allowed, behind + fresh - allowed, 0)), 0.0)
            fresh += growth
        worst = max(worst, behind + fresh)
        behind = max(fresh, allowed)  # less is not dirty enough yet
    assert worst <= 4 * allowed
    assert behind <= 2 * allowed
