from datetime import datetime

import pytest

from odradek.cli.positions import END, START, Anchor, Position, parse_position, parse_time

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("start", START),
        ("earliest", START),
        ("end", END),
        ("47", Position(Anchor.OFFSET, 47)),
        ("+10", Position(Anchor.START, 10)),
        ("-3", Position(Anchor.END, -3)),
        ("@1h", Position(Anchor.TIME, NOW_MS - 3_600_000)),
    ],
)
def test_places(text: str, position: Position) -> None:
    assert parse_position(text, NOW_MS) == position


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("250ms", NOW_MS - 250),
        ("-90s", NOW_MS - 90_000),
        ("2w", NOW_MS - 14 * 86_400_000),
        ("999999w", 0),
        ("1767225600000", 1_767_225_600_000),
        ("1767225600", 1_767_225_600_000),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01T01:30+01:30", 1_767_225_600_000),
        ("2026-01-01", int(datetime(2026, 1, 1).timestamp() * 1000)),
    ],
)
def test_times(text: str, time_ms: int) -> None:
    assert parse_time(text, NOW_MS) == time_ms


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "@", "@tomorrow", "@9999999999999999999", "+", "--3", "@1y", "1" * 30]
)
def test_what_is_no_place_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (place|time)"):
        parse_position(text, NOW_MS)
