"""The counts: what each member wrote down, and the sum over all of them.

A member appends one line ``partition TAB offset TAB minute`` per log line to a file of its own, and only then
lets its group's offset move. So a line that a killed member had read is either written down, or read again by
another member, or both; the sum is by distinct (partition, offset), where both count once.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".counts"


class Counted(NamedTuple):
    """One log line that was counted: where it is in the topic, and its minute."""

    partition: int
    offset: int
    minute: str


class CountsFile:
    """The file of one member, made when it is not there; one that a killed member left is gone on with."""

    def __init__(self, folder: Path, member: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{member}{SUFFIX}").open("a+b")
        self._cut_torn_line()

    def write(self, lines: Iterable[Counted]) -> None:
        """Append, and bring to the disk: what is written survives whatever comes after."""
        self._file.write("".join(f"{p}\t{offset}\t{minute}\n" for p, offset, minute in lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut_torn_line(self) -> None:
        self._file.seek(0)
        self._file.truncate(self._file.read().rfind(b"\n") + 1)


class Tally:
    """The sum of the files in ``folder``, which may still grow; call :meth:`refresh` to look again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_bytes: dict[str, int] = {}
        self.minutes: dict[tuple[int, int], str] = {}
        """The minute of each counted line by its (partition, offset)."""
        self.written: Counter[str] = Counter()
        """How many lines each member wrote down, those counted by another member too included."""

    @property
    def repeated(self) -> int:
        """How many lines were written down again after a redelivery."""
        return self.written.total() - len(self.minutes)

    def refresh(self) -> "Tally":
        """Take in what was appended; raises ``ValueError`` for a line that has two different minutes."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            begin = self._read_bytes.get(path.stem, 0)
            with path.open("rb") as file:
                file.seek(begin)
                new = file.read()
            # The last line may be half written, for now or, by a killed member, for good.
            complete = new[: new.rfind(b"\n") + 1]
            self._read_bytes[path.stem] = begin + len(complete)
            for line in complete.decode().splitlines():
                partition, offset, minute = line.split("\t")
                place = (int(partition), int(offset))
                if self.minutes.setdefault(place, minute) != minute:
                    raise ValueError(f"{place} has two minutes: {self.minutes[place]} and {minute}")
                self.written[path.stem] += 1
        return self

    def per_minute(self) -> Counter[str]:
        """How many distinct lines each minute has."""
        return Counter(self.minutes.values())
