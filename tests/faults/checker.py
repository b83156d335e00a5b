"""Decides whether a log kept what it had acknowledged: each record once, in order, where it was said."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    """One record of a partition: which producer sent it as its how manieth, and where it is."""

    offset: int
    producer: str
    sequence: int

    @classmethod
    def parse(cls, offset: int, value: bytes) -> "Entry":
        producer, _, sequence = value.decode().split(" ")[0].rpartition(":")
        return cls(offset, producer, int(sequence))


def value_of(producer: str, sequence: int, size: int = 0) -> bytes:
    """What :meth:`Entry.parse` reads back, padded to ``size`` bytes."""
    return f"{producer}:{sequence} ".encode().ljust(size, b".")


def problems_of(acknowledged: Mapping[int, Iterable[Entry]], log: Mapping[int, Iterable[Entry]]) -> list[str]:
    """What is wrong, partition by partition; empty when all is well.

    ``acknowledged`` and ``log`` map partitions to entries. A record that was not acknowledged may be there
    or not, but never twice and never out of its producer's order: only the client library retries it.
    """
    problems = []
    for partition in sorted({*acknowledged, *log}):
        there = list(log.get(partition, ()))
        at_offset = {entry.offset: entry for entry in there}
        for entry in acknowledged.get(partition, ()):
            found = at_offset.get(entry.offset)
            if found is None:
                problems.append(f"partition {partition}: acknowledged and lost: {entry}")
            elif found != entry:
                problems.append(f"partition {partition}: acknowledged {entry}, but {found} is there")
        last_offset = -1
        last_sequence: dict[str, int] = {}
        for entry in there:
            if entry.offset <= last_offset:
                problems.append(f"partition {partition}: offset {entry.offset} after {last_offset}")
            last_offset = entry.offset
            before = last_sequence.get(entry.producer, -1)
            if entry.sequence == before:
                problems.append(f"partition {partition}: twice: {entry}")
            elif entry.sequence < before:
                problems.append(f"partition {partition}: {entry} after its sequence {before}")
            last_sequence[entry.producer] = entry.sequence
    return problems
