"""The small text files: offset checkpoints, leader epochs, partition and folder metadata, clean stop.

Source: ``CheckpointFile``, ``OffsetCheckpointFile``, ``LeaderEpochCheckpointFile``,
``PartitionMetadataFile``, ``MetaPropertiesEnsemble``, ``CleanShutdownFileHandler``. Readers raise
``ValueError`` on anything malformed.
"""

import itertools
import json
from collections.abc import Iterable, Mapping

from odradek.core.ids import TopicId, TopicPartition, id_from_text, id_text
from odradek.records.crc import crc32c

_VERSION = "0"


_CHECKSUM = "odradek/crc32c"
"""The last entry of an offset checkpoint is of no topic, as none can have such a name: it is the CRC-32C of
the lines before it. Kafka reads over it, and writes none."""


def encode_offsets(offsets: Mapping[TopicPartition, int]) -> bytes:
    lines = [f"{topic} {partition} {offset}" for (topic, partition), offset in offsets.items()]
    return _encode([*lines, f"{_CHECKSUM} 0 {_checksum(lines)}"])


def decode_offsets(content: bytes) -> dict[TopicPartition, int]:
    rows = _decode(content, 3)
    if rows and rows[-1][0] == _CHECKSUM:
        checksum = int(rows.pop()[2])
        if checksum != _checksum([" ".join(fields) for fields in rows]):
            raise ValueError("its checksum does not fit")
    return {TopicPartition(fields[0], int(fields[1])): int(fields[2]) for fields in rows}


def _checksum(lines: list[str]) -> int:
    return crc32c("\n".join(lines).encode())


def encode_epochs(entries: Iterable[tuple[int, int]]) -> bytes:
    return _encode(f"{epoch} {start_offset}" for epoch, start_offset in entries)


def decode_epochs(content: bytes) -> list[tuple[int, int]]:
    entries = [(int(fields[0]), int(fields[1])) for fields in _decode(content, 2)]
    if any(left >= right for left, right in itertools.pairwise(entries)):
        raise ValueError("epochs do not ascend")
    return entries


def _encode(lines: Iterable[str]) -> bytes:
    entries = list(lines)
    return "\n".join([_VERSION, str(len(entries)), *entries, ""]).encode()


def _decode(content: bytes, width: int) -> list[list[str]]:
    lines = content.decode().splitlines()
    if not lines:
        return []  # Kafka makes the file empty before it has anything to say
    if lines[0] != _VERSION:
        raise ValueError(f"version {lines[0]!r} is unknown")
    rows = [line.split() for line in lines[2:]]
    if len(lines) < 2 or len(rows) != int(lines[1]):
        raise ValueError(f"{len(rows)} entries do not match the count")
    for row in rows:
        if len(row) != width:
            raise ValueError(f"malformed line {' '.join(row)!r}")
    return rows


def encode_partition_metadata(topic_id: TopicId) -> bytes:
    return f"version: 0\ntopic_id: {id_text(topic_id)}".encode()


def decode_partition_metadata(content: bytes) -> TopicId:
    fields = dict([line.split(": ", 1) for line in content.decode().splitlines() if ": " in line])
    if fields.get("version") != "0":
        raise ValueError(f"version {fields.get('version')!r} is unknown")
    return id_from_text(fields.get("topic_id", ""))


def encode_properties(properties: Mapping[str, str]) -> bytes:
    return "".join(f"{key}={value}\n" for key, value in sorted(properties.items())).encode()


def decode_properties(content: bytes) -> dict[str, str]:
    properties = {}
    for line in content.decode().splitlines():
        text = line.strip()
        if text and text[0] not in "#!":
            key, separator, value = text.partition("=")
            if not separator:
                raise ValueError(f"malformed line {text!r}")
            properties[key.strip()] = value.strip()
    return properties


def encode_clean_shutdown(broker_epoch: int) -> bytes:
    return json.dumps({"version": 0, "brokerEpoch": broker_epoch}, separators=(",", ":")).encode()


def decode_clean_shutdown(content: bytes) -> int:
    """The broker epoch of the run that stopped cleanly, -1 when the marker does not tell.

    An old Kafka's is empty. Raises ``ValueError`` for one that is garbled.
    """
    if not content:
        return -1
    fields = json.loads(content)
    if not isinstance(fields, dict) or fields.get("version") != 0:
        raise ValueError("version is unknown")
    epoch = fields.get("brokerEpoch", -1)
    return epoch if isinstance(epoch, int) else -1
