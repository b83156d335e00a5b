import json

import pytest
import yaml

from odradek.cli.output import Table, emit, plain_lines

TABLE = Table(("topic", "records", "note"), [("a", 5, None), ("longer", None, "x")])


def test_plain_columns_are_aligned_and_never_cut() -> None:
    assert plain_lines(TABLE) == [
        "TOPIC   RECORDS  NOTE",
        "a             5  -",
        "longer        -  x",
    ]


def test_an_empty_table_still_has_its_titles() -> None:
    assert plain_lines(Table(("topic",), [])) == ["TOPIC"]


def test_each_output_has_its_form(capsys: pytest.CaptureFixture[str]) -> None:
    value = [{"topic": "ü", "records": 5}]
    emit(value, "json", list)
    assert json.loads(capsys.readouterr().out) == value
    emit(value, "yaml", list)
    assert yaml.safe_load(capsys.readouterr().out) == value
    emit(value, "table", lambda: [TABLE, TABLE])
    assert capsys.readouterr().out.count("TOPIC") == 2
