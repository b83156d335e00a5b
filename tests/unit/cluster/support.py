"""A disk in memory that can forget what was not synced, and shorthands."""

from typing import Any, NamedTuple

from odradek.cluster.fold import fold_all
from odradek.cluster.image import EMPTY, ClusterImage
from odradek.cluster.records import BrokerRegistered, ClusterCreated, PartitionCreated, Record, TopicCreated


class Named(NamedTuple):
    name: str


class MemoryDisk:
    """The part of the disk seam that the metadata log uses.

    ``synced`` is what a power cut leaves; ``fail_syncs`` and ``room`` make it misbehave.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.synced: dict[str, bytes] = {}
        self.fail_syncs = False
        self.room: int | None = None
        self.syncs = 0
        self._open: dict[int, str] = {}
        self._next_fd = 3

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        if path not in self.files:
            if not create:
                raise FileNotFoundError(path)
            self.files[path] = bytearray()
        self._next_fd += 1
        self._open[self._next_fd] = path
        return self._next_fd

    def close(self, fd: int) -> None:
        del self._open[fd]

    def pwrite(self, fd: int, data: Any, position: int, /) -> int:
        content = self.files[self._open[fd]]
        if self.room is not None and len(data) > self.room:
            data = data[: self.room]
            if not data:
                raise OSError(28, "No space left on device")
        content[position : position + len(data)] = data
        return len(data)

    def truncate(self, fd: int, length: int, /) -> None:
        del self.files[self._open[fd]][length:]

    def sync_data(self, fd: int, /) -> None:
        if self.fail_syncs:
            raise OSError(5, "Input/output error")
        self.syncs += 1
        path = self._open[fd]
        self.synced[path] = bytes(self.files[path])

    sync = sync_data

    def sync_folder(self, path: str) -> None:
        pass

    def entries(self, path: str) -> list[Named]:
        return [Named(name.rpartition("/")[2]) for name in self.files if name.startswith(path + "/")]

    def make_folder(self, path: str) -> None:
        pass

    def exists(self, path: str) -> bool:
        return path in self.files or bool(self.entries(path))

    def rename(self, old: str, new: str, /) -> None:
        self.files[new] = self.files.pop(old)
        self.synced[new] = self.synced.pop(old)

    def remove(self, path: str) -> None:
        self.files.pop(path, None)
        self.synced.pop(path, None)

    def read_file(self, path: str) -> bytes:
        return bytes(self.files[path])

    def cut_power(self) -> None:
        """Only what was synced is left; all descriptors are gone."""
        self.files = {path: bytearray(content) for path, content in self.synced.items()}
        self._open.clear()

    def leaked(self) -> list[str]:
        return list(self._open.values())


def topic_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def topic_records(name: str, number: int, partitions: int = 1) -> list[Record]:
    identity = topic_id(number)
    records: list[Record] = [TopicCreated(name, identity)]
    records += [PartitionCreated(identity, index, 1, (1,), (1,)) for index in range(partitions)]
    return records


def image_with(*topics: str, partitions: int = 1) -> ClusterImage:
    records: list[Record] = [ClusterCreated("cluster"), BrokerRegistered(1, None, False)]
    for number, name in enumerate(topics, 1):
        records += topic_records(name, number, partitions)
    return fold_all(EMPTY, records, 1)
