import pytest

from odradek.cli.durations import duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "length_ms"), [("250ms", 250), ("90s", 90_000), ("15m", 900_000), ("1h", 3_600_000), ("0s", 0)]
)
def test_parsing(text: str, length_ms: int) -> None:
    assert parse_duration(text) == length_ms


@pytest.mark.parametrize("text", ["", "15", "m", "-1h", "1.5h", "1 h", "1y"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="like 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("length_ms", "text"),
    [
        (0, "0ms"),
        (999.4, "999ms"),
        (1_999, "1s"),
        (60_000, "1m"),
        (3_661_000, "1h 1m"),
        (90_000_000, "1d 1h"),
        (30 * 86_400_000, "30d"),
    ],
)
def test_text(length_ms: float, text: str) -> None:
    assert duration_text(length_ms) == text
