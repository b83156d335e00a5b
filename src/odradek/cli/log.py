"""``odradek log``: the files of a partition as text, with their checks; works on files, not on a broker."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from odradek.cli.dump import UnknownFileError, dump_file
from odradek.cli.errors import FAILED, NOT_FOUND, USAGE, CommandError
from odradek.cli.naming import AliasGroup
from odradek.cli.options import output_option, yes_option
from odradek.cli.output import Cell, Table, emit, note

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


@command.command("import")
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    metavar="DIR...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "-d",
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data"),
    show_default=True,
    metavar="DIR",
    help="The data folder to import into, of a broker that is stopped or was never started.",
)
@click.option("-t", "--topics", "pattern", metavar="REGEX", help="Only topics whose names match.")
@click.option("--execute", is_flag=True, help="Do it, do not only show it.")
@yes_option
@output_option
def import_(
    sources: tuple[Path, ...], data: Path, pattern: str | None, execute: bool, yes: bool, output: str
) -> int:
    """Take topics from the log.dirs of a stopped Kafka 4.3, or of another Odradek.

    Records keep offsets, timestamps and producers; topics keep ids, and configs and quotas where
    the folder has Kafka's metadata log. Committed offsets come with __consumer_offsets. Every
    batch is checked, and the folders are left as they are. Without --execute it is only shown
    what would be taken.
    """
    from odradek.cli import log_import
    from odradek.core.errors import OdradekError

    execute = execute or yes
    try:
        plan, logs = log_import.import_folders(sources, data, pattern, execute=execute)
    except re.error as error:
        raise CommandError(f"{pattern!r} is no regular expression: {error}", exit_code=USAGE) from None
    except OdradekError as error:
        raise CommandError(str(error)) from error
    value = log_import.as_json(plan, logs, executed=execute)
    emit(value, output, lambda: _import_tables(value))
    if output == "table":
        if not plan.has_metadata:
            note("Configs and quotas are not known: none of the folders has Kafka's __cluster_metadata-0.")
        note(
            f"{len(plan.topics)} topics, {plan.size:,} bytes: "
            + ("imported" if execute else "nothing was changed; --execute imports them")
        )
    return 0 if plan.topics else FAILED


def _import_tables(value: Json) -> list[Table]:
    rows: list[list[Cell]] = [
        [
            topic["name"],
            partition["partition"],
            partition["start"],
            partition["end"],
            partition["bytes"],
            " ".join(f"{key}={text}" for key, text in topic["configs"].items()),
        ]
        for topic in value["topics"]
        for partition in topic["partitions"]
    ]
    tables = [Table(("topic", "partition", "start", "end", "bytes", "configs"), rows)]
    if value["left_out"]:
        left_out = [(one["name"], one["reason"]) for one in value["left_out"]]
        tables.append(Table(("left out", "why"), left_out))
    return tables


@command.command("verify")
@click.argument("paths", nargs=-1, required=True, metavar="DIR|FILE...", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Put right what can be made anew; no broker may run on it.")
@output_option
def verify(paths: tuple[Path, ...], repair: bool, output: str) -> int:
    """Check that files are what was written: a data folder, partitions' folders, or single files.

    CRCs and order of all batches, indexes against the log, snapshots, checkpoints, the metadata log.
    Indexes and snapshots are made anew or removed with --repair; damage in a log cannot be put right.
    The exit code is 1 when anything is wrong, 0 when --repair has put all of it right.
    """
    found = [finding for path in paths for finding in _verify_one(path, repair)]
    columns = ("file", "position", "problem", "outcome")
    rows = [[finding[name] for name in columns] for finding in found]
    emit(found, output, lambda: [Table(columns, rows)])
    if output == "table" and not found:
        note("All is well.")
    return FAILED if any(not finding["outcome"].startswith(_NO_HARM) for finding in found) else 0


_NO_HARM = ("made anew", "removed", "not flushed")


def _verify_one(path: Path, repair: bool) -> list[Json]:
    from odradek.cli.verify import NothingToCheckError, is_data_folder, verify_path
    from odradek.storage.disk import LockHeldError, SystemDisk

    if not path.exists():
        raise CommandError(f"there is no {path}", exit_code=NOT_FOUND)
    folder = path if path.is_dir() else path.parent
    disk = SystemDisk()
    lock = -1
    data_folder = next((each for each in (folder, folder.parent) if is_data_folder(each)), None)
    try:
        if repair and data_folder is not None:
            lock = disk.lock(str(data_folder / ".lock"))
        return list(verify_path(disk, path, data_folder, repairs=repair))
    except NothingToCheckError as error:
        raise CommandError(
            str(error), "Name a data folder, a partition's folder, or a file in them.", USAGE
        ) from None
    except LockHeldError as error:
        raise CommandError(f"{data_folder} is in use by {error.holder}", "Stop the broker first.") from None
    finally:
        if lock >= 0:
            disk.close(lock)


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
