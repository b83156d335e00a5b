"""Checks the files of a data folder or of partitions, without a broker, for ``odradek log verify``.

Every finding is a JSON-able object: ``file``, ``position``, ``problem``, ``outcome``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from odradek.cluster.entry import EntryError, NewerLevelError, read_entry
from odradek.cluster.file_store import FOLDER as METADATA_FOLDER
from odradek.cluster.snapshot import decode_snapshot as decode_metadata_snapshot
from odradek.core.errors import OdradekError
from odradek.core.ids import TopicPartition
from odradek.storage import checkpoints, names
from odradek.storage.disk import Disk
from odradek.storage.flush_journal import decode_facts
from odradek.storage.jobs import Unmetered
from odradek.storage.verify import Flaw, Part, VerifyPlan, verify

Json = dict[str, Any]

_OUTCOMES = {
    "": "damaged: the broker takes this partition offline",
    "rebuilt": "can be made anew from the log",
    "remove": "not needed: the broker does without it",
    "rewrite": "the broker makes it anew",
}
_CHECKPOINTS = (names.RECOVERY_POINTS, names.LOG_STARTS, names.HIGH_WATERMARKS, names.CLEANER_POINTS)


def is_data_folder(path: Path) -> bool:
    return (path / names.META_PROPERTIES).exists()


def verify_data_folder(disk: Disk, folder: Path, *, repairs: bool) -> Iterator[Json]:
    """All partitions, the checkpoints, the metadata log."""
    yield from _check_text_files(folder)
    metadata = folder / METADATA_FOLDER
    for path in sorted(metadata.glob("*")) if metadata.is_dir() else ():
        yield from verify_metadata_file(path)
    for path in sorted(folder.iterdir()):
        if path.is_dir() and names.parse_folder_name(path.name) and path.name != names.KAFKA_METADATA_FOLDER:
            yield from verify_partition(disk, path, repairs=repairs)


def verify_partition(
    disk: Disk, folder: Path, only: Path | None = None, *, repairs: bool = False
) -> Iterator[Json]:
    """One partition's files, or the ``only`` one asked for; what can be made anew is, with ``repairs``."""
    plan = _plan(folder, repairs)
    for flaw in verify(disk, plan, Unmetered()):
        if only is not None and Path(flaw.path).name != only.name:
            continue
        outcome = _OUTCOMES[flaw.remedy]
        if repairs and flaw.remedy == "rebuilt":
            disk.rename(flaw.path + names.TEMPORARY, flaw.path)
            disk.sync_folder(str(folder))
            outcome = "made anew from the log"
        elif repairs and flaw.remedy == "remove":
            disk.remove(flaw.path)
            outcome = "removed: it was not needed"
        yield _finding(flaw, outcome)


def _plan(folder: Path, repairs: bool) -> VerifyPlan:
    parsed = [(path, names.parse_file_name(path.name)) for path in folder.iterdir()]
    logs = sorted((found[0], path) for path, found in parsed if found and found[1] == names.LOG)
    parts = tuple(
        Part(base, path.stat().st_size, is_active=number == len(logs) - 1)
        for number, (base, path) in enumerate(logs)
        if path.stat().st_size
    )
    return VerifyPlan(
        names.parse_folder_name(folder.name) or TopicPartition(folder.name, 0),
        str(folder),
        parts,
        tuple(sorted(found[0] for _, found in parsed if found and found[1] == names.SNAPSHOT)),
        end_offset=-1,
        # A partition alone does not say whether it ever was.
        is_compacted=True,
        index_interval_bytes=4096,
        repairs=repairs,
    )


def _finding(flaw: Flaw, outcome: str) -> Json:
    return {"file": flaw.path, "position": flaw.position, "problem": flaw.reason, "outcome": outcome}


def _check_text_files(folder: Path) -> Iterator[Json]:
    readers = {
        **dict.fromkeys(_CHECKPOINTS, checkpoints.decode_offsets),
        names.META_PROPERTIES: checkpoints.decode_properties,
        names.CLEAN_SHUTDOWN: checkpoints.decode_clean_shutdown,
    }
    for name, read in readers.items():
        path = folder / name
        if path.exists():
            try:
                read(path.read_bytes())
            except ValueError as error:
                is_fatal = name == names.META_PROPERTIES
                outcome = "the broker will not start: restore it" if is_fatal else _OUTCOMES["rewrite"]
                yield _finding(Flaw(str(path), 0, str(error)), outcome)
    journal = folder / names.FLUSHED_OFFSETS
    if journal.exists():
        content = journal.read_bytes()
        known = decode_facts(content)
        if content.strip(b"\0") and not known.facts:
            yield _finding(Flaw(str(journal), 0, "no frame is whole"), _OUTCOMES["rewrite"])


def verify_metadata_file(path: Path) -> Iterator[Json]:
    """A log or a snapshot of the metadata."""
    content = path.read_bytes()
    outcome = "the broker will not start: restore it"
    if path.suffix == ".snapshot":
        try:
            decode_metadata_snapshot(content)
        except OdradekError as error:
            yield _finding(Flaw(str(path), 0, str(error)), outcome)
    elif path.suffix == ".log":
        position = 0
        while position < len(content):
            try:
                position += read_entry(content, position).size
            except (EntryError, NewerLevelError) as error:
                yield _finding(Flaw(str(path), position, str(error)), outcome)
                return
