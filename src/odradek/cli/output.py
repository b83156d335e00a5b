"""Printing what a command found: a table for people, JSON or YAML for programs.

Rich draws the table on a terminal; elsewhere plain columns are written, which cost no import and
are never cut.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import click

from odradek.cli.errors import CommandError, color_choice

Cell = str | int | None


class Table(NamedTuple):
    """Rows under column titles; numbers are put to the right, None is shown as a dash."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str | None = None


def emit(value: Any, output: str, tables: Callable[[], Iterable[Table]]) -> None:
    """Print ``value`` as ``output`` says; ``tables`` draws it for people and is called only then."""
    if output == "json":
        import json

        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif output == "yaml":
        from odradek.cli.yaml import to_yaml

        click.echo(to_yaml(value), nl=False)
    else:
        for position, table in enumerate(tables()):
            if position:
                click.echo()
            show_table(table)


def show_table(table: Table) -> None:
    """Print one table to standard output."""
    if sys.stdout.isatty():
        _show_rich(table)
        return
    if table.title:
        click.echo(table.title)
    for line in plain_lines(table):
        click.echo(line)


def plain_lines(table: Table) -> list[str]:
    """``table`` as lines of aligned columns, titles in capitals."""
    rows = [[_text(cell) for cell in row] for row in table.rows]
    lines = [[title.upper() for title in table.columns], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    numeric = _numeric_columns(table)
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]


def _show_rich(table: Table) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=SIMPLE_HEAD, title=table.title, title_justify="left", pad_edge=False)
    for title, right in zip(table.columns, _numeric_columns(table), strict=True):
        drawn.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_text(cell)) for cell in row))
    Console(no_color=color_choice() is False, highlight=False).print(drawn)


def _numeric_columns(table: Table) -> list[bool]:
    columns = range(len(table.columns))
    return [
        any(isinstance(row[column], int) for row in table.rows)
        and all(isinstance(row[column], int | None) for row in table.rows)
        for column in columns
    ]


def _text(cell: Cell) -> str:
    return "-" if cell is None or cell == "" else str(cell)


def note(text: str) -> None:
    """Say something to the person at the terminal, beside the output."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Warn on standard error."""
    click.secho("warning: ", fg="yellow", bold=True, nl=False, err=True, color=color_choice())
    click.echo(text, err=True)


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone, on a terminal only and unless ``yes``; no is a failure."""
    if not yes and sys.stdin.isatty() and sys.stderr.isatty() and not click.confirm(question, err=True):
        raise CommandError("nothing was changed")
