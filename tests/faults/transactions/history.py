"""What the clients of a run did and saw, as they wrote it down themselves.

Every client process appends one JSON line per event to a file of its own, what it is about to do before it
does it and what came of it after: a client that is killed has an intention without an outcome. Times are of
the monotonic clock, which all processes of a machine share.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A partition."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Copied(NamedTuple):
    """Where a copied record was read, and the number of the transaction that it was written in."""

    partition: int
    offset: int


class Entry(NamedTuple):
    """What the value of a record says: the how manieth of how many records of which transaction."""

    transaction: str
    index: int
    count: int
    source: Copied | None = None

    def to_bytes(self, padding: int = 0) -> bytes:
        """The record's value; :meth:`parse` reads it back."""
        words = [self.transaction, self.index, self.count, *(self.source or ())]
        return json.dumps(words).encode() + b" " * padding

    @classmethod
    def parse(cls, value: bytes) -> "Entry":
        transaction, index, count, *source = json.loads(value)
        return cls(transaction, index, count, Copied(*source) if source else None)

    @property
    def producer(self) -> str:
        return self.transaction.split(".")[0]

    @property
    def life(self) -> int:
        """Which of the producer's processes wrote it."""
        return int(self.transaction.split(".")[1])

    @property
    def order(self) -> tuple[int, int]:
        """Ascends with every record that one life of a producer sends."""
        return int(self.transaction.split(".")[2]), self.index


class Intention(NamedTuple):
    """What a transaction is to write: its records by place, and the offsets that it commits."""

    at_ns: int
    client: str
    records: list[tuple[Place, Entry]]
    offsets: dict[int, int]
    """Input partition → next offset, for one that copies."""


class Outcome(NamedTuple):
    """How a transaction ended, as its client was told; one without any may have ended either way."""

    at_ns: int
    committed: bool
    offsets: dict[int, int]
    """Index of a record → offset, of those that were acknowledged one by one."""


class Read(NamedTuple):
    """What one poll of one partition returned."""

    at_ns: int
    reader: str
    place: Place
    records: list[tuple[int, Entry]]


class Note(NamedTuple):
    """Anything else that a reader of the trace may want to know."""

    at_ns: int
    who: str
    text: str


@dataclass
class History:
    """All that is known of a run."""

    intentions: dict[str, Intention] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def add(self, event: dict[str, Any]) -> None:
        """Takes one line of a client's file."""
        at_ns, who = event["at"], event["who"]
        match event["do"]:
            case "begin":
                records = [(Place(*where), Entry(*entry)) for where, entry in _records_of(event)]
                offsets = {int(number): offset for number, offset in event["offsets"].items()}
                self.intentions[event["transaction"]] = Intention(at_ns, who, records, offsets)
            case "committed" | "aborted" as how:
                acknowledged = {int(index): offset for index, offset in event.get("acknowledged", {}).items()}
                self.outcomes[event["transaction"]] = Outcome(at_ns, how == "committed", acknowledged)
            case "read":
                found = [(offset, Entry.parse(value.encode())) for offset, value in event["records"]]
                self.reads.append(Read(at_ns, who, Place(event["topic"], event["partition"]), found))
            case _:
                self.notes.append(Note(at_ns, who, event["text"]))


def _records_of(event: dict[str, Any]) -> Iterator[tuple[tuple[str, int], tuple[Any, ...]]]:
    count = len(event["records"])
    for index, (topic, partition, *source) in enumerate(event["records"]):
        copied = Copied(*source) if source else None
        yield (topic, partition), (event["transaction"], index, count, copied)


def load(files: Iterable[Path]) -> History:
    """Reads all files; a line that its killed writer did not finish is left out."""
    history = History()
    for path in files:
        for line in path.read_text().splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            history.add(event)
    history.reads.sort()
    history.notes.sort()
    return history


class Writer:
    """Appends events to a client's file; what :meth:`write` has written survives kill -9."""

    def __init__(self, path: Path, who: str) -> None:
        self.who = who
        self._file = path.open("ab", buffering=0)

    def write(self, do: str, **event: Any) -> None:
        line = {"at": time.monotonic_ns(), "who": self.who, "do": do, **event}
        self._file.write(json.dumps(line).encode() + b"\n")
