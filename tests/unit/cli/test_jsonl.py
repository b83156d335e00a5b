import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.cli.jsonl import from_json, to_json
from odradek.records.record import Record

CONTENT = st.none() | st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
NAMES = st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(CONTENT, CONTENT, st.lists(st.tuples(NAMES, CONTENT), max_size=3), st.integers(0, 2**62))
def test_nothing_is_lost_on_the_way(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], timestamp: int
) -> None:
    record = Record(0, timestamp, key, value, tuple(headers))
    line = json.dumps(to_json("t", 4, record), ensure_ascii=False).encode("utf-8", "backslashreplace")
    assert from_json(line) == (4, record)


def test_the_documented_shape() -> None:
    record = Record(7, 1000, b"k", b"\xff", (("h", b"x"),))
    assert to_json("orders", 2, record) == {
        "topic": "orders",
        "partition": 2,
        "offset": 7,
        "timestamp": 1000,
        "key": "k",
        "value_base64": "/w==",
        "headers": [{"key": "h", "value": "x"}],
    }


def test_everything_may_be_left_out() -> None:
    assert from_json("{}") == (None, Record(0, -1, None, None))


def test_values_that_are_not_text_are_sent_as_json() -> None:
    assert from_json('{"value": {"a": [1, "ü"]}}')[1].value == '{"a":[1,"ü"]}'.encode()


def test_headers_may_be_an_object() -> None:
    assert from_json('{"headers": {"a": "1", "b": null}}')[1].headers == (("a", b"1"), ("b", None))


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "[]",
        '{"partition": "1"}',
        '{"timestamp": 1.5}',
        '{"value_base64": "*"}',
        '{"value_base64": 1}',
        '{"headers": 1}',
        '{"headers": [{"value": "x"}]}',
    ],
)
def test_what_is_wrong_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(line)
