"""What a power cut may leave of files: what the disk has for certain, and what it may have besides.

Of bytes that were not synced each sector is there or not, in any order; a file is as long as it was at its
last sync, as it should be, or anything between. Names of one folder come to the disk in the order in which
they were changed, up to any of them, as every journaling file system keeps it (storage/FORMAT.md,
"Compaction", relies on that); two folders know nothing of each other. A sync of a file does not bring its
name.
"""

import random
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tests.faults.power.recorder import (
    Create,
    Event,
    MakeFolder,
    Remove,
    Rename,
    SyncBegin,
    SyncEnd,
    Told,
    Truncate,
    Write,
)

SECTOR = 512


class Leftover(Enum):
    """How much of what was not synced a power cut leaves."""

    NOTHING = "nothing"
    NAMES = "names only"
    BYTES = "bytes only"
    EVERYTHING = "everything"
    ANYTHING = "anything"


class _Capture(NamedTuple):
    """What a sync of a file covers: the file's state when it began."""

    time: int
    size: int
    sectors: dict[int, bytes]


class PlatterFile:
    """One file's bytes, as processes see them and as they are on the platter for certain."""

    __slots__ = ("content", "durable", "settled", "unsynced")

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = bytearray()
        self.settled = 0
        """When the newest sync that has ended began."""
        self.unsynced: dict[int, int] = {}
        """Sectors that the platter may not have in their last state, and when they were written last."""

    def write(self, position: int, data: bytes, time: int) -> None:
        before = len(self.content)
        if before < position:
            self.content.extend(bytes(position - before))
        self.content[position : position + len(data)] = data
        self._touch(min(position, before), position + len(data), time)

    def truncate(self, length: int, time: int) -> None:
        before = len(self.content)
        del self.content[length:]
        self.content.extend(bytes(length - len(self.content)))
        self._touch(min(length, before), max(length, before), time)

    def _touch(self, start: int, end: int, time: int) -> None:
        for sector in range(start // SECTOR, (end + SECTOR - 1) // SECTOR):
            self.unsynced[sector] = time

    def _sector(self, number: int) -> bytes:
        return bytes(self.content[number * SECTOR : (number + 1) * SECTOR])

    def capture(self, time: int) -> _Capture:
        return _Capture(time, len(self.content), {number: self._sector(number) for number in self.unsynced})

    def settle(self, captured: _Capture) -> None:
        """The sync has ended: what it captured is on the platter, unless a newer one was faster."""
        if captured.time < self.settled:
            return
        self.settled = captured.time
        resize(self.durable, captured.size)
        for number, data in captured.sectors.items():
            self.durable[number * SECTOR : number * SECTOR + len(data)] = data
            if self.unsynced.get(number, captured.time) < captured.time:
                del self.unsynced[number]

    def after_cut(self, leftover: Leftover, rng: random.Random) -> bytes:
        """The bytes that are found after a power cut."""
        if leftover in (Leftover.NOTHING, Leftover.NAMES):
            return bytes(self.durable)
        if leftover in (Leftover.EVERYTHING, Leftover.BYTES):
            return bytes(self.content)
        found = bytearray(self.durable)
        for number in self.unsynced:
            if rng.random() < 0.5:
                data = self._sector(number)
                resize(found, max(len(found), number * SECTOR + len(data)))
                found[number * SECTOR : number * SECTOR + len(data)] = data
        shortest, longest = sorted((len(self.durable), len(self.content)))
        resize(found, rng.choice((shortest, longest, rng.randint(shortest, longest))))
        return bytes(found)


def resize(data: bytearray, size: int) -> None:
    """Cut it, or fill it with zeros, to ``size``."""
    del data[size:]
    data.extend(bytes(size - len(data)))


class _Change(NamedTuple):
    """A name that came (``old`` empty), went (``new`` empty) or was changed."""

    old: str
    new: str
    node: "PlatterFile | PlatterFolder"


class PlatterFolder:
    """Names, as processes see them and as they are on the platter for certain."""

    __slots__ = ("changes", "durable", "names", "synced")

    def __init__(self) -> None:
        self.names: dict[str, PlatterFile | PlatterFolder] = {}
        self.durable: dict[str, PlatterFile | PlatterFolder] = {}
        self.changes: list[_Change] = []
        """What the platter may not have yet."""
        self.synced = 0
        """How many changes came to the platter for certain, before those."""

    def change(self, old: str, new: str, node: "PlatterFile | PlatterFolder") -> None:
        _apply(self.names, _Change(old, new, node))
        self.changes.append(_Change(old, new, node))

    def capture(self) -> int:
        return self.synced + len(self.changes)

    def settle(self, captured: int) -> None:
        count = max(captured - self.synced, 0)
        for change in self.changes[:count]:
            _apply(self.durable, change)
        del self.changes[:count]
        self.synced += count

    def after_cut(self, leftover: Leftover, rng: random.Random) -> "dict[str, PlatterFile | PlatterFolder]":
        if leftover in (Leftover.NOTHING, Leftover.BYTES):
            return self.durable
        if leftover in (Leftover.EVERYTHING, Leftover.NAMES):
            return self.names
        found = dict(self.durable)
        for change in self.changes[: rng.randint(0, len(self.changes))]:
            _apply(found, change)
        return found


def _apply(names: dict[str, PlatterFile | PlatterFolder], change: _Change) -> None:
    if change.old:
        names.pop(change.old, None)
    if change.new:
        names[change.new] = change.node


class Platter:
    """A data folder's files, event by event."""

    def __init__(self) -> None:
        self.root = PlatterFolder()
        self.time = 0
        self._files: dict[int, PlatterFile] = {}
        self._syncs: dict[int, list[tuple[PlatterFile, _Capture] | tuple[PlatterFolder, int]]] = {}

    def take(self, event: Event) -> None:
        """One event more."""
        self.time += 1
        match event:
            case Write(file, position, data):
                self._files[file].write(position, data, self.time)
            case Truncate(file, length):
                self._files[file].truncate(length, self.time)
            case Create(path, file):
                self._files[file] = PlatterFile()
                self._change("", path, self._files[file])
            case MakeFolder(path):
                self._change("", path, PlatterFolder())
            case Rename(old, new):
                folder, name = self._parent(old)
                assert folder is self._parent(new)[0], "nothing is moved between folders"
                folder.change(name, new.rpartition("/")[2], folder.names[name])
            case Remove(path):
                folder, name = self._parent(path)
                folder.change(name, "", folder.names[name])
            case SyncBegin(number, target):
                self._syncs[number] = self._capture(target)
            case SyncEnd(number):
                for node, captured in self._syncs.pop(number):
                    node.settle(captured)  # type: ignore[arg-type]
            case Told():
                pass

    def _change(self, old: str, path: str, node: PlatterFile | PlatterFolder) -> None:
        folder, name = self._parent(path)
        folder.change(old, name, node)

    def _parent(self, path: str) -> tuple[PlatterFolder, str]:
        above, _, name = path.rpartition("/")
        return self._folder(above), name

    def _folder(self, path: str) -> PlatterFolder:
        node: PlatterFile | PlatterFolder = self.root
        for name in filter(None, path.split("/")):
            assert isinstance(node, PlatterFolder)
            node = node.names[name]
        assert isinstance(node, PlatterFolder)
        return node

    def _capture(
        self, target: int | str | None
    ) -> list[tuple[PlatterFile, _Capture] | tuple[PlatterFolder, int]]:
        if isinstance(target, int):
            file = self._files[target]
            return [(file, file.capture(self.time))]
        if isinstance(target, str):
            try:
                folder = self._folder(target)
            except KeyError:
                return []  # it was removed meanwhile, and the sync fails
            return [(folder, folder.capture())]
        captured: list[tuple[PlatterFile, _Capture] | tuple[PlatterFolder, int]] = []
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            captured.append((folder, folder.capture()))
            waiting += [node for node in folder.names.values() if isinstance(node, PlatterFolder)]
        # all of them: what has lost its name in the cache may still have one on the platter
        captured += [(file, file.capture(self.time)) for file in self._files.values()]
        return captured

    def leave(self, where: Path, leftover: Leftover, rng: random.Random) -> None:
        """Make ``where`` what may be found after a power cut now."""
        _leave(self.root, where, leftover, rng)


def _leave(folder: PlatterFolder, where: Path, leftover: Leftover, rng: random.Random) -> None:
    where.mkdir()
    for name, node in folder.after_cut(leftover, rng).items():
        if isinstance(node, PlatterFolder):
            _leave(node, where / name, leftover, rng)
        else:
            (where / name).write_bytes(node.after_cut(leftover, rng))
