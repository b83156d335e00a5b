import contextlib
import io
import json
import sys

import pytest
import yaml

from odradek.cli.errors import CommandError
from odradek.cli.output import Table, confirm, emit, plain_lines, show_table

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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_person_is_asked_and_no_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, typed: str, agreed: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", Terminal())
    with contextlib.nullcontext() if agreed else pytest.raises(CommandError, match="nothing was changed"):
        confirm("Really?", yes=False)


def test_scripts_and_those_who_said_yes_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    confirm("Really?", yes=False)
    monkeypatch.setattr(sys, "stdin", Terminal())
    confirm("Really?", yes=True)


def test_a_terminal_gets_a_drawn_table(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    show_table(TABLE._replace(title="Title"))
    assert "─" in terminal.getvalue()
    assert "Title" in terminal.getvalue()
