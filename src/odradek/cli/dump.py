"""What the files of a partition say, read without a broker: segments, indexes, snapshots, checkpoints.

Every reader gives a JSON-able object with ``file``, ``kind``, what is in it, and ``errors``: what
does not fit.
"""

import itertools
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from odradek.cli.jsonl import to_json
from odradek.core.errors import OdradekError
from odradek.core.ids import TopicPartition, id_text
from odradek.records.batch import HEADER_SIZE, BatchHeader, check_crc, read_header
from odradek.records.compression import NAMES
from odradek.records.control import read_marker
from odradek.records.errors import CorruptBatchError, InvalidRecordsError
from odradek.records.record import read_records
from odradek.storage import checkpoints, names
from odradek.storage.index import OFFSET_ENTRY_SIZE, TIME_ENTRY_SIZE
from odradek.storage.snapshots import SnapshotError, decode_snapshot

Json = dict[str, Any]
Bytes = bytes | memoryview

_OFFSET_ENTRY = struct.Struct(">II")
_TIME_ENTRY = struct.Struct(">qI")
_ABORTED_ENTRY = struct.Struct(">hqqqq")
_ABORTED_FIELDS = ("producer_id", "first_offset", "last_offset", "last_stable_offset")


class UnknownFileError(OdradekError):
    """A file whose name is none that a log has."""


def dump_file(path: Path, *, with_records: bool = False) -> Json:
    """Read one file by its name; raises :class:`UnknownFileError` and ``OSError``."""
    readers: dict[str, Callable[[Path, Bytes], Json]] = {
        names.OFFSET_INDEX: _offset_index,
        names.TIME_INDEX: _time_index,
        names.TRANSACTION_INDEX: _transaction_index,
        names.SNAPSHOT: _snapshot,
    }
    content = _content(path)
    name = _plain_name(path.name)
    suffix = "." + name.rpartition(".")[2]
    if suffix == names.LOG:
        found = _segment(path, content, with_records)
    elif suffix in readers:
        found = readers[suffix](path, content)
    elif name in _TEXT_FILES:
        found = _text(name, content)
    else:
        raise UnknownFileError(
            f"{path} is none of a log's files: they end in .log, .index, .timeindex, .txnindex or .snapshot"
        )
    return {"file": str(path), "size": len(content), **found}


def _plain_name(name: str) -> str:
    for suffix in (names.DELETED, names.CLEANED, names.SWAP):
        name = name.removesuffix(suffix)
    return name


def _content(path: Path) -> Bytes:
    """Segments are mapped, all else is read: Kafka cuts indexes as it stops, which is fatal to a mapping."""
    with path.open("rb") as file:
        if not path.name.endswith(names.LOG) or path.stat().st_size == 0:
            return file.read()
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _segment(path: Path, content: Bytes, with_records: bool) -> Json:
    batches: list[Json] = []
    errors: list[str] = []
    position, next_offset = 0, -1
    while position < len(content):
        if len(content) - position < HEADER_SIZE:
            errors.append(f"position {position}: {len(content) - position} bytes left, too few for a batch")
            break
        try:
            header = read_header(content, position)
        except CorruptBatchError as error:
            errors.append(f"position {position}: {error}")
            break
        batch = _batch(header, position)
        if header.base_offset < next_offset:
            errors.append(f"position {position}: offset {header.base_offset} comes after {next_offset - 1}")
        next_offset = header.next_offset
        try:
            check_crc(content, position, header)
            if with_records:
                batch["entries"] = _entries(path, header, content[position : position + header.size])
        except (CorruptBatchError, InvalidRecordsError) as error:
            batch["crc_ok"] = "CRC" not in str(error)
            errors.append(f"position {position}: {error}")
        batches.append(batch)
        position += header.size
    return {"kind": "segment", "batches": batches, "errors": errors}


def _batch(header: BatchHeader, position: int) -> Json:
    return {
        "position": position,
        "size": header.size,
        "base_offset": header.base_offset,
        "last_offset": header.last_offset,
        "records": header.record_count,
        "leader_epoch": header.partition_leader_epoch,
        "base_timestamp": header.base_timestamp,
        "max_timestamp": header.max_timestamp,
        "timestamp_type": ("create", "append")[header.timestamp_type],
        "compression": NAMES[header.compression]
        if header.compression < len(NAMES)
        else str(header.compression),
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "transactional": header.is_transactional,
        "control": header.is_control,
        "crc": f"{header.crc:08x}",
        "crc_ok": True,
    }


def _entries(path: Path, header: BatchHeader, batch: Bytes) -> list[Json]:
    partition = names.parse_folder_name(path.parent.name) or TopicPartition("", 0)
    entries = []
    for record in read_records(batch):
        entry = to_json(partition.topic, partition.partition, record)
        del entry["topic"], entry["partition"]
        if header.is_control and (marker := read_marker(record)) is not None:
            entry["marker"] = "commit" if marker.commit else "abort"
            entry["coordinator_epoch"] = marker.coordinator_epoch
        entries.append(entry)
    return entries


def _offset_index(path: Path, content: Bytes) -> Json:
    base = _base_offset(path)
    entries, errors = [], _whole(content, OFFSET_ENTRY_SIZE)
    log = _log_beside(path, names.OFFSET_INDEX)
    for relative, position in _used(_OFFSET_ENTRY, content):
        entries.append({"offset": base + relative, "position": position})
        if log is not None and (problem := _misplaced(log, base + relative, position)):
            errors.append(f"offset {base + relative}: {problem}")
    return {"kind": "offset index", "entries": entries, "errors": errors}


def _misplaced(log: Bytes, offset: int, position: int) -> str | None:
    """Why an index entry does not fit its segment."""
    try:
        header = read_header(log, position)
    except CorruptBatchError as error:
        return f"no batch at position {position}: {error}"
    if header.last_offset != offset:
        return f"the batch at position {position} ends with offset {header.last_offset}"
    return None


def _time_index(path: Path, content: Bytes) -> Json:
    base = _base_offset(path)
    entries = [
        {"timestamp": time, "offset": base + relative} for time, relative in _used(_TIME_ENTRY, content)
    ]
    errors = _whole(content, TIME_ENTRY_SIZE)
    for left, right in itertools.pairwise(entries):
        if right["timestamp"] <= left["timestamp"] or right["offset"] < left["offset"]:
            errors.append(f"offset {right['offset']}: does not ascend")
    return {"kind": "time index", "entries": entries, "errors": errors}


def _transaction_index(path: Path, content: Bytes) -> Json:
    entries, errors = [], _whole(content, _ABORTED_ENTRY.size)
    for number in range(len(content) // _ABORTED_ENTRY.size):
        version, *fields = _ABORTED_ENTRY.unpack_from(content, number * _ABORTED_ENTRY.size)
        if version != 0:
            errors.append(f"entry {number}: version {version} is unknown")
        entries.append(dict(zip(_ABORTED_FIELDS, fields, strict=True)))
    return {"kind": "transaction index", "entries": entries, "errors": errors}


def _snapshot(path: Path, content: Bytes) -> Json:
    try:
        producers = decode_snapshot(bytes(content))
    except SnapshotError as error:
        return {"kind": "producer snapshot", "entries": [], "errors": [str(error)]}
    entries = []
    for producer in producers:
        last = producer.batches[-1] if producer.batches else None
        entries.append(
            {
                "producer_id": producer.producer_id,
                "producer_epoch": producer.epoch,
                "last_sequence": last.last_sequence if last else -1,
                "last_offset": last.last_offset if last else -1,
                "last_timestamp": producer.last_timestamp,
                "coordinator_epoch": producer.coordinator_epoch,
                "transaction_start": producer.transaction_start,
            }
        )
    return {"kind": "producer snapshot", "entries": entries, "errors": []}


def _text(name: str, content: Bytes) -> Json:
    try:
        return {"kind": name, "entries": _TEXT_FILES[name](bytes(content)), "errors": []}
    except (ValueError, UnicodeDecodeError) as error:
        return {"kind": name, "entries": [], "errors": [str(error)]}


def _offsets(content: bytes) -> list[Json]:
    return [
        {"topic": topic, "partition": partition, "offset": offset}
        for (topic, partition), offset in checkpoints.decode_offsets(content).items()
    ]


def _epochs(content: bytes) -> list[Json]:
    return [{"epoch": epoch, "start_offset": start} for epoch, start in checkpoints.decode_epochs(content)]


_TEXT_FILES: dict[str, Callable[[bytes], list[Json]]] = {
    names.LEADER_EPOCHS: _epochs,
    names.RECOVERY_POINTS: _offsets,
    names.LOG_STARTS: _offsets,
    names.HIGH_WATERMARKS: _offsets,
    names.PARTITION_METADATA: lambda content: [
        {"topic_id": id_text(checkpoints.decode_partition_metadata(content))}
    ],
}


def _base_offset(path: Path) -> int:
    found = names.parse_file_name(_plain_name(path.name))
    if found is None:
        raise UnknownFileError(
            f"{path}: its name should be the first offset with 20 digits, like a log's files have"
        )
    return found[0]


def _used(entry: struct.Struct, content: Bytes) -> list[tuple[int, ...]]:
    """The entries up to the zeros that Kafka keeps at the end of an index in use."""
    whole = len(content) - len(content) % entry.size
    found = list(entry.iter_unpack(content[:whole]))
    while found and not any(found[-1]):
        found.pop()
    return found


def _whole(content: Bytes, entry_size: int) -> list[str]:
    rest = len(content) % entry_size
    return [f"{rest} bytes after the last whole entry"] if rest else []


def _log_beside(path: Path, suffix: str) -> Bytes | None:
    beside = path.with_name(path.name.replace(suffix, names.LOG))
    try:
        return _content(beside)
    except OSError:
        return None
