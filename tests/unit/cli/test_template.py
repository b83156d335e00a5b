import pytest

from odradek.cli.template import compile_template
from odradek.core.ids import TopicPartition
from odradek.records.record import Record

PARTITION = TopicPartition("orders", 3)
RECORD = Record(42, 1_700_000_000_123, b"k\xff", b"v", (("a", b"1"), ("b", None)))


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        (r"%t/%p@%o\n", b"orders/3@42\n"),
        (r"%k=%v", b"k\xff=v"),
        ("%h %T", b"a=1,b= 1700000000123"),
        (r"100%% \x41\t\\", b"100% A\t\\"),
        ("", b""),
        ("ü%v", "üv".encode()),
    ],
)
def test_fields_and_escapes(text: str, filled: bytes) -> None:
    assert compile_template(text)(PARTITION, RECORD) == filled


def test_null_gives_nothing() -> None:
    assert compile_template("[%k|%v|%h]")(PARTITION, Record(0, -1, None, None)) == b"[||]"


@pytest.mark.parametrize("text", ["%q", "%", r"\q", "\\", r"\x4"])
def test_what_is_unknown_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="there are"):
        compile_template(text)
