"""How ``consume`` prints records: as they come, in one of several shapes."""

import json
from abc import ABC, abstractmethod
from datetime import datetime
from typing import BinaryIO

from odradek.cli.jsonl import to_json
from odradek.cli.template import Template
from odradek.cli.yaml import to_yaml
from odradek.core.ids import TopicPartition
from odradek.records.record import Record

STREAM_OUTPUTS = ("value", "table", "jsonl", "json", "yaml")


class RecordWriter(ABC):
    """Prints records one by one."""

    def __init__(self, stream: BinaryIO) -> None:
        self._put = stream.write
        self._stream = stream
        self._is_first = True

    @abstractmethod
    def write(self, partition: TopicPartition, record: Record) -> None:
        """Print one record."""

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._stream.flush()

    def close(self) -> None:
        """End the output so that it can be read as a whole."""
        self._stream.flush()


def make_writer(stream: BinaryIO, output: str, template: Template | None) -> RecordWriter:
    """The writer for ``-o`` or, when there is one, for the format of ``-f``."""
    if template is not None:
        return _TemplateWriter(stream, template)
    writers: dict[str, type[RecordWriter]] = {
        "value": _ValueWriter,
        "table": _TableWriter,
        "jsonl": _JsonLinesWriter,
        "json": _JsonWriter,
    }
    return writers.get(output, _YamlWriter)(stream)


class _TemplateWriter(RecordWriter):
    def __init__(self, stream: BinaryIO, template: Template) -> None:
        super().__init__(stream)
        self._template = template

    def write(self, partition: TopicPartition, record: Record) -> None:
        self._put(self._template(partition, record))


class _ValueWriter(RecordWriter):
    """The bare values, each with a newline."""

    def write(self, partition: TopicPartition, record: Record) -> None:
        self._put((record.value or b"") + b"\n")


class _TableWriter(RecordWriter):
    """Columns of fixed width, because what comes later is not known yet."""

    def write(self, partition: TopicPartition, record: Record) -> None:
        if self._is_first:
            self._is_first = False
            self._put(b"PARTITION     OFFSET  TIME                     KEY               VALUE\n")
        moment = datetime.fromtimestamp(max(record.timestamp, 0) / 1000).isoformat(" ", "milliseconds")
        key = "-" if record.key is None else _printable(record.key)
        value = "-" if record.value is None else _printable(record.value)
        line = f"{partition.partition:9d} {record.offset:10d}  {moment:23s}  {key:16s}  {value}\n"
        self._put(line.encode())


class _JsonLinesWriter(RecordWriter):
    def write(self, partition: TopicPartition, record: Record) -> None:
        found = to_json(partition.topic, partition.partition, record)
        self._put(
            json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
        )
        self._put(b"\n")


class _JsonWriter(RecordWriter):
    """One array, written element by element."""

    def write(self, partition: TopicPartition, record: Record) -> None:
        found = to_json(partition.topic, partition.partition, record)
        self._put(b"[\n" if self._is_first else b",\n")
        self._is_first = False
        self._put(json.dumps(found, ensure_ascii=False).encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        self._put(b"[]\n" if self._is_first else b"\n]\n")
        super().close()


class _YamlWriter(RecordWriter):
    """One sequence, written element by element."""

    def write(self, partition: TopicPartition, record: Record) -> None:
        self._is_first = False
        found = to_json(partition.topic, partition.partition, record)
        self._put(to_yaml([found]).encode())

    def close(self) -> None:
        if self._is_first:
            self._put(b"[]\n")
        super().close()


def _printable(content: bytes) -> str:
    text = content.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
