"""Generated code of small invented messages: the corners of the format, byte by byte."""

import json
from pathlib import Path
from typing import Any

import pytest

from codegen import module
from codegen.module import Module
from codegen.schema import load
from odradek.protocol.primitives import MalformedError
from tests.support.messages import encoded


class Generated:
    """A message made from fields given as in Kafka's definitions; versions 0 to 2, flexible from 1."""

    def __init__(self, folder: Path, fields: list[dict[str, Any]], is_inlined: bool) -> None:
        raw = {
            "name": "InlinedX" if is_inlined else "X",
            "type": "data",
            "validVersions": "0-2",
            "flexibleVersions": "1+",
            "fields": fields,
        }
        path = folder / "X.json"
        path.write_text(json.dumps(raw))
        self.source = Module([load(path)]).source()
        self.names: dict[str, Any] = {"__name__": "made"}
        exec(compile(self.source, "made", "exec"), self.names)
        self.message: Any = self.names[raw["name"]]

    def check(self, value: Any, version: int, raw: bytes) -> None:
        """``value`` has exactly these bytes, and they are this value."""
        assert encoded(value, version) == raw
        assert self.message.decode(memoryview(raw), 0, version) == (value, len(raw))


@pytest.fixture(params=[False, True], ids=["calls", "inlined"])
def make(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both ways to lay code out must write the same bytes."""
    monkeypatch.setattr(module, "INLINED", {"InlinedX"})
    return lambda *fields: Generated(tmp_path, list(fields), request.param)


def field(name: str, kind: str, versions: str = "0+", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "versions": versions, **more}


@pytest.mark.parametrize(
    ("kind", "value", "raw"),
    [
        ("bool", True, b"\1"),
        ("int8", -1, b"\xff"),
        ("int16", -2, b"\xff\xfe"),
        ("uint16", 65_535, b"\xff\xff"),
        ("int32", -2, b"\xff\xff\xff\xfe"),
        ("uint32", 2**32 - 1, b"\xff\xff\xff\xff"),
        ("int64", -(2**63), b"\x80" + bytes(7)),
        ("float64", -2.5, b"\xc0\x04" + bytes(6)),
        ("uuid", bytes(range(16)), bytes(range(16))),
    ],
)
def test_fixed_width(make: Any, kind: str, value: Any, raw: bytes) -> None:
    made = make(field("A", kind))
    made.check(made.message(a=value), 0, raw)
    made.check(made.message(a=value), 1, raw + b"\0")
    lists = make(field("A", "[]" + kind))
    lists.check(lists.message(a=[value, value]), 0, b"\0\0\0\2" + raw + raw)
    lists.check(lists.message(a=[value, value]), 1, b"\3" + raw + raw + b"\0")
    lists.check(lists.message(), 0, b"\0\0\0\0")
    lists.check(lists.message(), 1, b"\1\0")


@pytest.mark.parametrize(
    ("kind", "value", "raw", "compact"),
    [
        ("string", "é", b"\0\2\xc3\xa9", b"\3\xc3\xa9"),
        ("bytes", b"ab", b"\0\0\0\2ab", b"\3ab"),
    ],
)
def test_variable_width(make: Any, kind: str, value: Any, raw: bytes, compact: bytes) -> None:
    made = make(field("A", kind))
    made.check(made.message(a=value), 0, raw)
    made.check(made.message(a=value), 1, compact + b"\0")
    lists = make(field("A", "[]" + kind))
    lists.check(lists.message(a=[value, value]), 0, b"\0\0\0\2" + raw + raw)
    lists.check(lists.message(a=[value, value]), 1, b"\3" + compact + compact + b"\0")
    with pytest.raises(ValueError, match="X v1"):
        encoded(lists.message(a=[None]), 1)


def test_null_only_where_the_version_has_it(make: Any) -> None:
    struct = field("S", "Inner", nullableVersions="2+", fields=[field("I", "int8")])
    made = make(
        field("T", "string", nullableVersions="2+"),
        field("B", "bytes", nullableVersions="2+"),
        field("L", "[]int32", nullableVersions="2+"),
        struct,
    )
    null = made.message(t=None, b=None, l=None, s=None)
    made.check(null, 2, b"\0" + b"\0" + b"\0" + b"\xff" + b"\0")
    for name in ("t", "b", "l", "s"):
        for version in (0, 1):
            with pytest.raises(ValueError, match=f"X v{version}"):
                encoded(made.message(**{name: None}), version)
    for place, size in enumerate((1, 1, 1)):
        raw = b"\1" * place + b"\0" * size + b"\1" * (2 - place) + b"\0\0" + b"\0"
        with pytest.raises(MalformedError, match="null"):
            made.message.decode(memoryview(raw), 0, 1)


def test_null_in_plain_versions(make: Any) -> None:
    inner = [field("I", "int8")]
    made = make(
        field("T", "string", nullableVersions="0+"),
        field("B", "bytes", nullableVersions="0+"),
        field("L", "[]int32", nullableVersions="0+"),
        field("S", "Inner", nullableVersions="0+", fields=inner),
    )
    null = made.message(t=None, b=None, l=None, s=None)
    made.check(null, 0, b"\xff\xff" + b"\xff" * 4 + b"\xff" * 4 + b"\xff")
    there = made.message(t="", b=b"", l=[], s=made.names["Inner"](i=5))
    made.check(there, 0, b"\0\0" + b"\0" * 4 + b"\0" * 4 + b"\1\5")
    made.check(there, 1, b"\1" + b"\1" + b"\1" + b"\1\5\0" + b"\0")


def test_defaults(make: Any) -> None:
    made = make(
        field("A", "int32", default="-1"),
        field("B", "bool", default="true"),
        field("C", "string", nullableVersions="0+", default="null"),
        field("D", "int64", default="0x7fffffffffffffff"),
        field("E", "string", default="e"),
        field("F", "[]int8", nullableVersions="0+", default="null"),
        field("G", "string", nullableVersions="0+"),
        field("H", "float64", default="1.5"),
        field("I", "[]int8"),
        field("J", "uuid"),
        field("K", "bytes"),
    )
    value = made.message()
    assert (value.a, value.b, value.c, value.d, value.e, value.f) == (-1, True, None, 2**63 - 1, "e", None)
    assert (value.g, value.h, value.i, value.j, value.k) == ("", 1.5, [], bytes(16), b"")


def test_a_field_that_the_version_lacks_has_its_default(make: Any) -> None:
    inner = [field("I", "int8", "2+", default="9", ignorable=True), field("J", "int8")]
    made = make(
        field("A", "int32", "1+", default="-1", ignorable=True),
        field("B", "[]int8", "2+", ignorable=True),
        field("C", "string", "0-1", nullableVersions="0-1", default="null", ignorable=True),
        field("S", "Inner", fields=inner),
    )
    full = made.message(a=5, b=[1], c="c", s=made.names["Inner"](i=1, j=2))
    raw = encoded(full, 0)
    assert raw == b"\0\1c" + b"\2"
    found, _ = made.message.decode(memoryview(raw), 0, 0)
    assert found == made.message(c="c", s=made.names["Inner"](j=2))
    assert (found.a, found.b, found.s.i) == (-1, [], 9)
    made.check(made.message(a=5, b=[1], s=made.names["Inner"](i=1, j=2)), 2, b"\0\0\0\5\2\1\1\2\0\0")


def test_a_field_that_may_not_be_ignored(make: Any) -> None:
    made = make(field("A", "int32", "1+", default="-1"), field("B", "[]int8", "2+"))
    made.check(made.message(), 0, b"")
    for value in (made.message(a=0), made.message(b=[1])):
        with pytest.raises(ValueError, match="X v0"):
            encoded(value, 0)


TAGGED: list[dict[str, Any]] = [
    field("Second", "string", "1+", taggedVersions="1+", tag=1, default="d", nullableVersions="1+"),
    field("First", "Inner", "1+", taggedVersions="1+", tag=0, fields=[field("I", "int8", default="3")]),
    field("Third", "[]Other", "1+", taggedVersions="1+", tag=200, fields=[field("O", "int16")]),
]


def test_tagged_fields_are_written_in_the_order_of_their_tags_and_only_when_set(make: Any) -> None:
    made = make(field("A", "int8"), *TAGGED)
    inner, other = made.names["Inner"], made.names["Other"]
    made.check(made.message(a=1), 1, b"\1\0")
    made.check(made.message(a=1, first=inner(i=3)), 1, b"\1\0")
    made.check(made.message(a=1, first=inner(i=4)), 1, b"\1" + b"\1" + b"\0\2\4\0")
    made.check(made.message(a=1, second=None), 1, b"\1" + b"\1" + b"\1\1\0")
    everything = made.message(a=1, second="x", first=inner(i=4), third=[other(o=5)])
    made.check(everything, 1, b"\1" + b"\3" + b"\0\2\4\0" + b"\1\2\2x" + b"\xc8\1\4\2\0\5\0")


def test_tags_may_come_in_any_order_among_unknown_ones(make: Any) -> None:
    made = make(field("A", "int8"), *TAGGED)
    raw = b"\1" + b"\4" + b"\1\2\2x" + b"\7\3abc" + b"\0\2\4\0" + b"\xff\xff\3\0"
    value, end = made.message.decode(memoryview(raw), 0, 1)
    assert value == made.message(a=1, second="x", first=made.names["Inner"](i=4))
    assert end == len(raw)


@pytest.mark.parametrize("tags", [b"\1\0\3\4\0\0", b"\1\0\1\4\0", b"\1\1\3\2x", b"\1\0\x80", b"\2\0\2\4\0"])
def test_tagged_fields_of_another_size_than_announced(make: Any, tags: bytes) -> None:
    made = make(field("A", "int8"), *TAGGED)
    with pytest.raises(MalformedError):
        made.message.decode(memoryview(b"\1" + tags), 0, 1)


def test_a_field_that_is_tagged_later_than_it_is_there(make: Any) -> None:
    made = make(field("A", "int32", taggedVersions="2+", tag=0, default="-1"), field("B", "int8"))
    made.check(made.message(a=7, b=1), 0, b"\0\0\0\7\1")
    made.check(made.message(a=7, b=1), 1, b"\0\0\0\7\1\0")
    made.check(made.message(a=7, b=1), 2, b"\1" + b"\1\0\4\0\0\0\7")
    made.check(made.message(a=-1, b=1), 2, b"\1\0")


def test_a_tagged_struct_that_may_be_null_marks_it_with_a_varint(make: Any) -> None:
    inner = [field("I", "int8", default="3")]
    made = make(
        field("S", "Inner", nullableVersions="1+", taggedVersions="0+", tag=0, fields=inner, ignorable=True)
    )
    there = made.names["Inner"]
    made.check(made.message(), 1, b"\0")
    made.check(made.message(s=there(i=4)), 1, b"\1" + b"\0\3" + b"\1\4\0")
    made.check(made.message(s=None), 1, b"\1" + b"\0\1" + b"\0")


def test_a_field_that_is_never_compact(make: Any) -> None:
    made = make(field("A", "string", flexibleVersions="none"))
    made.check(made.message(a="a"), 1, b"\0\1a" + b"\0")


def test_arrays_of_structs_with_arrays(make: Any) -> None:
    row = [field("Names", "[]string", nullableVersions="0+"), field("Id", "uuid")]
    made = make(field("Rows", "[]Row", fields=row), field("After", "int8"))
    row_class = made.names["Row"]
    value = made.message(rows=[row_class(names=["a", ""]), row_class(names=None)], after=9)
    made.check(value, 0, b"\0\0\0\2" + b"\0\0\0\2\0\1a\0\0" + bytes(16) + b"\xff" * 4 + bytes(16) + b"\x09")
    made.check(value, 1, b"\3" + b"\3\2a\1" + bytes(16) + b"\0" + b"\0" + bytes(16) + b"\0" + b"\x09\0")


def test_counts_are_checked_against_the_smallest_elements(make: Any) -> None:
    row = [field("Name", "string"), field("Id", "uuid")]
    made = make(field("Rows", "[]Row", fields=row))
    fits = b"\3" + (b"\1" + bytes(16) + b"\0") * 2 + b"\0"
    assert len(made.message.decode(memoryview(fits), 0, 1)[0].rows) == 2
    for count in (b"\4", b"\xff\xff\xff\xff\x0f"):
        with pytest.raises(MalformedError, match="room"):
            made.message.decode(memoryview(count + fits[1:]), 0, 1)
    with pytest.raises(MalformedError, match="room"):
        made.message.decode(memoryview(b"\x7f\xff\xff\xff" + bytes(90)), 0, 0)


def test_structs_of_one_name_in_request_and_response_are_told_apart(tmp_path: Path) -> None:
    messages = []
    for kind in ("request", "response"):
        raw = {
            "name": f"Y{kind.title()}",
            "type": kind,
            "apiKey": 900,
            "validVersions": "0",
            "flexibleVersions": "none",
            "fields": [field("Rows", "[]Row", fields=[field("A", "int8" if kind == "request" else "int16")])],
        }
        path = tmp_path / f"{kind}.json"
        path.write_text(json.dumps(raw))
        messages.append(load(path))
    names: dict[str, Any] = {"__name__": "made"}
    exec(Module(messages).source(), names)
    assert encoded(names["YRequest"]([names["RequestRow"](1)]), 0) == b"\0\0\0\1\1"
    assert encoded(names["YResponse"]([names["ResponseRow"](1)]), 0) == b"\0\0\0\1\0\1"
