import json
from pathlib import Path
from typing import Any

import pytest

from codegen.schema import ENDLESS, Message, Versions, load, snake


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("0+", 0, ENDLESS), ("3-7", 3, 7), ("5", 5, 5)],
)
def test_versions(text: str, low: int, high: int) -> None:
    assert Versions.parse(text) == Versions(low, high)


@pytest.mark.parametrize("text", [None, "none"])
def test_no_versions(text: str | None) -> None:
    assert all(version not in Versions.parse(text) for version in (-1, 0, 1, ENDLESS))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TopicId", "topic_id"),
        ("ISRNodes", "isr_nodes"),
        ("KRaftVersion", "k_raft_version"),
        ("Acks", "acks"),
    ],
)
def test_snake(name: str, expected: str) -> None:
    assert snake(name) == expected


def definition(tmp_path: Path, **more: Any) -> Message:
    raw = {"name": "X", "type": "data", "validVersions": "0-1", "flexibleVersions": "1+", "fields": []} | more
    (tmp_path / "X.json").write_text(json.dumps(raw))
    return load(tmp_path / "X.json")


def test_a_field_without_versions_is_there_where_it_is_tagged(tmp_path: Path) -> None:
    message = definition(tmp_path, fields=[{"name": "A", "type": "int32", "taggedVersions": "1+", "tag": 0}])
    assert message.root.fields[0].versions == Versions(1, ENDLESS)


def test_common_structs_are_parsed_once(tmp_path: Path) -> None:
    message = definition(
        tmp_path,
        commonStructs=[
            {"name": "S", "versions": "0+", "fields": [{"name": "I", "type": "int8", "versions": "0+"}]}
        ],
        fields=[
            {"name": "One", "type": "S", "versions": "0+"},
            {"name": "Many", "type": "[]S", "versions": "0+"},
        ],
    )
    one, many = message.root.fields
    assert one.struct is many.struct
    assert [struct.name for struct in message.structs] == ["S", "X"]
    assert (one.is_array, many.is_array, many.element) == (False, True, "S")
