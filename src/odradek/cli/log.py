"""``odradek log``: the files of a partition as text, with their checks; works on files, not on a broker."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from odradek.cli.dump import UnknownFileError, dump_file
from odradek.cli.errors import FAILED, NOT_FOUND, USAGE, CommandError
from odradek.cli.naming import AliasGroup
from odradek.cli.options import output_option
from odradek.cli.output import Cell, Table, emit

Json = dict[str, Any]


@click.group(cls=AliasGroup)
def command() -> None:
    """Look into log files."""


@command.command("dump")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("-r", "--records", is_flag=True, help="The records too, not only the batches.")
@output_option
def dump(files: tuple[Path, ...], records: bool, output: str) -> int:
    """Print segments (.log), indexes, producer snapshots and checkpoints, and check them.

    CRCs of all batches are computed, and offset index entries are looked up in the segment beside
    them. A folder stands for all such files in it. The exit code is 1 when anything is wrong.
    """
    found = [_dump_one(path, records) for path in _expand(files)]
    emit(found, output, lambda: [table for file in found for table in _tables(file)])
    problems = [f"{file['file']}: {error}" for file in found for error in file["errors"]]
    for problem in problems:
        CommandError(problem).show()
    return FAILED if problems else 0


def _expand(paths: tuple[Path, ...]) -> list[Path]:
    expanded: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.is_file() and _is_known(file))
            if not inside:
                raise CommandError(
                    f"{path} holds no files of a log",
                    "Name a partition's folder, like data/orders-0.",
                    NOT_FOUND,
                )
            expanded += inside
        else:
            expanded.append(path)
    return expanded


def _is_known(path: Path) -> bool:
    return path.suffix in (".log", ".index", ".timeindex", ".txnindex", ".snapshot") or path.name.endswith(
        "-checkpoint"
    )


def _dump_one(path: Path, records: bool) -> Json:
    try:
        return dump_file(path, with_records=records)
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}", exit_code=NOT_FOUND) from None
    except UnknownFileError as error:
        raise CommandError(str(error), exit_code=USAGE) from None


def _tables(file: Json) -> list[Table]:
    title = f"{file['file']}  ({file['kind']}, {file['size']:,} bytes)"
    if file["kind"] != "segment":
        entries: list[Json] = file["entries"]
        columns = list(entries[0]) if entries else ["entries"]
        return [
            Table([name.replace("_", " ") for name in columns], [list(e.values()) for e in entries], title)
        ]
    tables = [Table(_BATCH_COLUMNS, [_batch_row(batch) for batch in file["batches"]], title)]
    rows = [_record_row(entry) for batch in file["batches"] for entry in batch.get("entries", ())]
    if rows:
        tables.append(Table(("offset", "time", "key", "value", "headers"), rows))
    return tables


_BATCH_COLUMNS = (
    "position",
    "offsets",
    "records",
    "bytes",
    "newest",
    "codec",
    "epoch",
    "producer",
    "sequence",
    "flags",
    "crc",
)


def _batch_row(batch: Json) -> list[Cell]:
    flags = [name for name in ("transactional", "control") if batch[name]]
    has_producer = batch["producer_id"] >= 0
    return [
        batch["position"],
        f"{batch['base_offset']}-{batch['last_offset']}",
        batch["records"],
        batch["size"],
        _time(batch["max_timestamp"]),
        batch["compression"],
        batch["leader_epoch"],
        f"{batch['producer_id']}/{batch['producer_epoch']}" if has_producer else None,
        batch["base_sequence"] if has_producer else None,
        " ".join(flags),
        batch["crc"] if batch["crc_ok"] else f"{batch['crc']} WRONG",
    ]


def _record_row(entry: Json) -> list[Cell]:
    key, value = (_content(entry, name) for name in ("key", "value"))
    headers = " ".join(f"{header['key']}={_content(header, 'value')}" for header in entry["headers"])
    return [entry["offset"], _time(entry["timestamp"]), key, entry.get("marker") or value, headers]


def _content(entry: Json, name: str) -> str | None:
    content: str | None = entry.get(name, entry.get(f"{name}_base64"))
    return content


def _time(timestamp_ms: int) -> str | None:
    if timestamp_ms < 0:
        return None
    return datetime.fromtimestamp(timestamp_ms / 1000).isoformat(" ", "milliseconds")
