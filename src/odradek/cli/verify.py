"""Checks the files of a data folder or of partitions, without a broker, for ``odradek log verify``.

Every finding is a JSON-able object: ``file``, ``position``, ``problem``, ``outcome``.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from odradek.cluster.entry import EntryError, NewerLevelError, read_entry
from odradek.cluster.file_store import DURABLE, decode_durable, read_image, was_durable
from odradek.cluster.file_store import FOLDER as METADATA_FOLDER
from odradek.cluster.snapshot import decode_snapshot as decode_metadata_snapshot
from odradek.core.errors import OdradekError
from odradek.core.ids import TopicPartition
from odradek.storage import checkpoints, names
from odradek.storage.disk import Disk
from odradek.storage.flush_journal import ASIDE, Told, decode_facts, read_facts
from odradek.storage.jobs import Unmetered
from odradek.storage.loading import known_topic_id
from odradek.storage.verify import Flaw, Part, Unflushed, VerifyPlan, verify

Json = dict[str, Any]

TRIES = 3
"""So often a partition is looked at whose files go while it is."""
_OUTCOMES = {
    "": "damaged: the broker takes this partition offline",
    "rebuilt": "can be made anew from the log",
    "remove": "not needed: the broker does without it",
    "rewrite": "the broker makes it anew",
    "cut": "not flushed: cut off at the next start, if it is not being written now",
}
_NO_START = "the broker will not start: restore it"
_LOST_OUTCOME = "the broker takes this partition offline: put the folder back, or delete the topic"
_LEADER_EPOCHS_OUTCOME = "a start takes this partition offline; a broker that runs makes it anew"
_SMALL_FILES: Mapping[str, Callable[[bytes], object]] = {
    names.RECOVERY_POINTS: checkpoints.decode_offsets,
    names.LOG_STARTS: checkpoints.decode_offsets,
    names.HIGH_WATERMARKS: checkpoints.decode_offsets,
    names.CLEANER_POINTS: checkpoints.decode_offsets,
    names.META_PROPERTIES: checkpoints.decode_properties,
    names.CLEAN_SHUTDOWN: checkpoints.decode_clean_shutdown,
}
_JOURNALS = (names.FLUSHED_OFFSETS, names.FLUSHED_OFFSETS + ASIDE)


class Flushed(NamedTuple):
    """What a data folder that was not closed cleanly tells of how far its logs are flushed."""

    recovery_points: Mapping[TopicPartition, int]
    told: Told

    def of(self, disk: Disk, folder: Path, partition: TopicPartition) -> Unflushed:
        point = max(self.recovery_points.get(partition, 0), 0)
        noted = self.told.of((known_topic_id(disk, str(folder)), partition.partition))
        return Unflushed(max(noted.offset, point), point)


def is_data_folder(path: Path) -> bool:
    return (path / names.META_PROPERTIES).exists()


def read_flushed(disk: Disk, data_folder: Path) -> Flushed | None:
    """As a start would find it; None after a clean stop: then everything had been flushed."""
    points, starts = (_offsets(data_folder / name) for name in (names.RECOVERY_POINTS, names.LOG_STARTS))
    if points is not None and starts is not None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            checkpoints.decode_clean_shutdown((data_folder / names.CLEAN_SHUTDOWN).read_bytes())
            return None
    return Flushed(points or {}, read_facts(disk, str(data_folder / names.FLUSHED_OFFSETS)))


def _offsets(path: Path) -> dict[TopicPartition, int] | None:
    """What a checkpoint tells, nothing where there is none; None when it is damaged."""
    try:
        return checkpoints.decode_offsets(path.read_bytes()) if path.exists() else {}
    except ValueError:
        return None


class NothingToCheckError(OdradekError):
    """It is no file that could tell that it is damaged."""


def verify_path(disk: Disk, path: Path, data_folder: Path | None, *, repairs: bool) -> Iterator[Json]:
    """A data folder, that of a partition or of the metadata, or a single file in one of them. Without a
    ``data_folder`` around a partition all of it counts as flushed.

    Raises :class:`NothingToCheckError`.
    """
    folder = path if path.is_dir() else path.parent
    if path == data_folder:
        yield from _verify_data_folder(disk, path, repairs=repairs)
    elif folder.name == METADATA_FOLDER:
        for each in sorted(folder.iterdir()) if path.is_dir() else [path]:
            yield from _verify_metadata_file(each)
    elif folder == data_folder:
        if path.name not in _SMALL_FILES and path.name not in _JOURNALS:
            raise NothingToCheckError(f"{path} has nothing that could be checked")
        yield from _verify_small_file(path)
    elif not (names.parse_folder_name(folder.name) or any(map(_is_of_a_log, folder.iterdir()))):
        raise NothingToCheckError(f"{folder} is neither a data folder nor one of a partition")
    else:
        flushed = read_flushed(disk, data_folder) if data_folder is not None else None
        only = None if path.is_dir() else path
        yield from _verify_partition(disk, folder, flushed, only, repairs=repairs)


def _is_of_a_log(path: Path) -> bool:
    return names.parse_file_name(path.name) is not None


def _verify_data_folder(disk: Disk, folder: Path, *, repairs: bool) -> Iterator[Json]:
    """All partitions, the checkpoints, the metadata log."""
    flushed = read_flushed(disk, folder)
    yield from _lost_folders(disk, folder)
    for name in (*_SMALL_FILES, *_JOURNALS):
        if (folder / name).exists():
            yield from _verify_small_file(folder / name)
    metadata = folder / METADATA_FOLDER
    for path in sorted(metadata.glob("*")) if metadata.is_dir() else ():
        yield from _verify_metadata_file(path)
    for path in sorted(folder.iterdir()):
        if path.is_dir() and names.parse_folder_name(path.name) and path.name != names.KAFKA_METADATA_FOLDER:
            yield from _verify_partition(disk, path, flushed, repairs=repairs)


def _lost_folders(disk: Disk, data_folder: Path) -> Iterator[Json]:
    """What a start would not make anew: folders of partitions that have held records, and the metadata's."""
    told = read_facts(disk, str(data_folder / names.FLUSHED_OFFSETS))
    # Looked at before the metadata: of a topic that a broker deletes now, that is the last to know.
    here = {path.name for path in data_folder.iterdir()}
    partitions = [name for name in here if names.parse_folder_name(name)]
    if METADATA_FOLDER not in here and partitions and names.KAFKA_METADATA_FOLDER not in here:
        yield _finding(Flaw(str(data_folder / METADATA_FOLDER), 0, "it is gone"), _NO_START)
    for topic in read_image(str(data_folder), disk).topics.values():
        for number in range(len(topic.partitions)):
            noted = told.of((topic.topic_id, number))
            name = names.folder_name(TopicPartition(topic.name, number))
            if noted.offset and name not in here:
                yield _finding(Flaw(str(data_folder / name), 0, noted.as_lost), _LOST_OUTCOME)


def _verify_partition(
    disk: Disk, folder: Path, flushed: Flushed | None, only: Path | None = None, *, repairs: bool = False
) -> Iterator[Json]:
    """One partition's files, or the ``only`` one asked for; what can be made anew is, with ``repairs``."""
    for flaw in _settled_flaws(disk, folder, flushed, repairs):
        if only is not None and Path(flaw.path).name != only.name:
            continue
        outcome = _OUTCOMES[flaw.remedy]
        if flaw.remedy == "rewrite" and flaw.path.endswith(names.LEADER_EPOCHS):
            outcome = _LEADER_EPOCHS_OUTCOME
        if repairs and flaw.remedy == "rebuilt":
            disk.rename(flaw.path + names.TEMPORARY, flaw.path)
            disk.sync_folder(str(folder))
            outcome = "made anew from the log"
        elif repairs and flaw.remedy == "remove":
            disk.remove(flaw.path)
            outcome = "removed: it was not needed"
        yield _finding(flaw, outcome)


def _settled_flaws(disk: Disk, folder: Path, flushed: Flushed | None, repairs: bool) -> list[Flaw]:
    """What is wrong with a partition, and not only because a broker that runs has removed or replaced files
    of it meanwhile (retention, compaction, a topic that was deleted): then it is looked at once more."""
    for tries_left in reversed(range(TRIES)):
        try:
            before = _inodes(folder)
            flaws = verify(disk, _plan(disk, folder, flushed, repairs), Unmetered())
            after = _inodes(folder)
        except FileNotFoundError:
            if not folder.exists():
                return []
            continue
        moved = {name for name, inode in before.items() if after.get(name) != inode}
        if not flaws or not moved or repairs:
            return flaws
        if not tries_left:
            return [flaw for flaw in flaws if Path(flaw.path).name not in moved]
    raise NothingToCheckError(f"{folder} changes too quickly to be checked")


def _inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


def _plan(disk: Disk, folder: Path, flushed: Flushed | None, repairs: bool) -> VerifyPlan:
    partition = names.parse_folder_name(folder.name) or TopicPartition(folder.name, 0)
    parsed = [(path, names.parse_file_name(path.name)) for path in folder.iterdir()]
    logs = sorted((found[0], path) for path, found in parsed if found and found[1] == names.LOG)
    parts = tuple(
        Part(base, path.stat().st_size, is_active=number == len(logs) - 1)
        for number, (base, path) in enumerate(logs)
    )
    return VerifyPlan(
        partition,
        str(folder),
        parts,
        tuple(sorted(found[0] for _, found in parsed if found and found[1] == names.SNAPSHOT)),
        end_offset=-1,
        # A partition alone does not say whether it ever was.
        is_compacted=True,
        index_interval_bytes=4096,
        repairs=repairs,
        unflushed=flushed.of(disk, folder, partition) if flushed is not None else None,
    )


def _finding(flaw: Flaw, outcome: str) -> Json:
    return {"file": flaw.path, "position": flaw.position, "problem": flaw.reason, "outcome": outcome}


def _verify_small_file(path: Path) -> Iterator[Json]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return  # a broker that runs has removed it
    if path.name in _JOURNALS:
        if content.strip(b"\0") and not decode_facts(content).facts:
            yield _finding(Flaw(str(path), 0, "no frame is whole"), _OUTCOMES["rewrite"])
        return
    try:
        _SMALL_FILES[path.name](content)
    except ValueError as error:
        outcome = _NO_START if path.name == names.META_PROPERTIES else _OUTCOMES["rewrite"]
        yield _finding(Flaw(str(path), 0, str(error)), outcome)


def _verify_metadata_file(path: Path) -> Iterator[Json]:
    """A log or a snapshot of the metadata."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return  # a broker that runs has put a snapshot in its place
    if path.suffix == ".snapshot":
        try:
            decode_metadata_snapshot(content)
        except OdradekError as error:
            yield _finding(Flaw(str(path), 0, str(error)), _NO_START)
    elif path.suffix == ".log":
        durable = path.parent / DURABLE
        noted_index = decode_durable(durable.read_bytes()) if durable.exists() else 0
        position, last_index = 0, int(path.stem) - 1
        while position < len(content):
            try:
                entry = read_entry(content, position)
            except (EntryError, NewerLevelError) as error:
                is_torn = (
                    isinstance(error, EntryError)
                    and path == max(path.parent.glob("*.log"))
                    and not was_durable(content, position, last_index, noted_index)
                )
                flaw = Flaw(str(path), position, str(error))
                yield _finding(flaw, _OUTCOMES["cut"] if is_torn else _NO_START)
                return
            position, last_index = position + entry.size, entry.number
