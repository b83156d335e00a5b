"""Java's properties syntax, by its own rules."""

import pytest

from odradek.core.config.properties import read_properties
from odradek.core.config.values import ConfigError


def pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value, _ in read_properties(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", [("a", "1")]),
        ("a = 1 ", [("a", "1 ")]),
        ("a:1", [("a", "1")]),
        ("a 1", [("a", "1")]),
        ("a\t=\t1", [("a", "1")]),
        ("a", [("a", "")]),
        ("a==1", [("a", "=1")]),
        ("# c\n! c\n\n  # c\na=1", [("a", "1")]),
        ("a=1\r\nb=2\rc=3", [("a", "1"), ("b", "2"), ("c", "3")]),
        ("a=1,\\\n   2,\\\n   3", [("a", "1,2,3")]),
        ("a=1\\\n#no comment", [("a", "1#no comment")]),
        ("a=back\\\\", [("a", "back\\")]),
        ("a=back\\\\\nb=2", [("a", "back\\"), ("b", "2")]),
        ("a\\ b\\=c=1", [("a b=c", "1")]),
        ("a=\\t\\n\\u00e9\\z", [("a", "\t\néz")]),
        ("a=1\na=2", [("a", "1"), ("a", "2")]),
        ("a=1\\", [("a", "1")]),
        ("", []),
    ],
)
def test_syntax(text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(text) == expected


def test_lines_are_counted() -> None:
    found = read_properties("# c\na=1\\\n  2\nb=3")
    assert [(item.name, item.line) for item in found] == [("a", 2), ("b", 4)]


def test_bad_unicode_escape() -> None:
    with pytest.raises(ConfigError, match="line 1"):
        read_properties("a=\\u12")
