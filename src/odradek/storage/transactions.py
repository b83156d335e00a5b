"""The transaction index of a segment: aborted transactions whose markers lie in it.

Source: ``TransactionIndex`` and ``AbortedTxn``; FORMAT.md has the layout.
"""

import struct
from collections.abc import Iterable

from odradek.core.errors import DamageError
from odradek.storage.disk import FULL, Disk, write_all
from odradek.storage.producers import AbortedTransaction

_ENTRY = struct.Struct(">hqqqq")
_CLOSED = -1


def encode_transactions(transactions: Iterable[AbortedTransaction]) -> bytes:
    """A transaction index's bytes."""
    return b"".join(_ENTRY.pack(0, *transaction) for transaction in transactions)


class TransactionIndex:
    """Entries ascend by the marker's offset. The file appears with the first entry."""

    __slots__ = ("_disk", "entries", "fd", "is_checked", "path")

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self.path = path
        self.fd = _CLOSED
        self.entries = self._load() if disk.exists(path) else []
        self.is_checked = not self.entries
        """Whether entries that were read were held against the log, which nothing in the file vouches for."""

    def _load(self) -> list[AbortedTransaction]:
        content = self._disk.read_file(self.path)
        if len(content) % _ENTRY.size:
            raise DamageError(self.path, len(content), "not a whole number of entries")
        entries: list[AbortedTransaction] = []
        stable = 0
        for position in range(0, len(content), _ENTRY.size):
            version, *fields = _ENTRY.unpack_from(content, position)
            if version != 0:
                raise DamageError(self.path, position, f"entry version {version} is unknown")
            entry = AbortedTransaction(*fields)
            first, last = entry.first_offset, entry.last_offset
            if not 0 <= first <= last or entry.last_stable_offset > last + 1:
                raise DamageError(self.path, position, f"no transaction is like {entry}")
            if entries and entries[-1].last_offset >= entry.last_offset:
                raise DamageError(self.path, position, "entries do not ascend")
            if first < stable:
                raise DamageError(
                    self.path, position, f"offset {first} was stable already, {entry} began there"
                )
            stable = max(stable, entry.last_stable_offset)
            entries.append(entry)
        return entries

    def make_room(self) -> None:
        """Have the next entry find room. Raises ``OSError`` when there is none, or no descriptor."""
        self._open()
        try:
            self._disk.reserve(self.fd, len(self.entries) * _ENTRY.size, _ENTRY.size)
        except OSError as error:
            if error.errno in FULL:
                raise  # anything else: room cannot be set aside here

    def append(self, transaction: AbortedTransaction) -> None:
        self._open()
        entry = encode_transactions([transaction])
        write_all(self._disk, self.fd, entry, len(self.entries) * _ENTRY.size)
        self.entries.append(transaction)

    def _open(self) -> None:
        if self.fd == _CLOSED:
            self.fd = self._disk.open(self.path, create=True)

    def write_again(self) -> None:
        """Write all entries once more, in their places."""
        if not self.entries:
            return
        if self.fd == _CLOSED:
            self.fd = self._disk.open(self.path)
        write_all(self._disk, self.fd, encode_transactions(self.entries), 0)

    def clear(self) -> None:
        """Forget all entries and remove the file, before a rebuild."""
        self.close()
        self.entries = []
        self._disk.remove(self.path)

    def cut(self, offset: int) -> None:
        """Forget entries whose marker lies at or above ``offset``."""
        kept = [entry for entry in self.entries if entry.last_offset < offset]
        if len(kept) != len(self.entries):
            self.clear()
            for entry in kept:
                self.append(entry)

    def overlapping(self, start_offset: int, upper_offset: int) -> tuple[list[AbortedTransaction], bool]:
        """Transactions with records in the range, and whether later segments can hold no more of them."""
        found = []
        for entry in self.entries:
            if entry.last_offset >= start_offset and entry.first_offset < upper_offset:
                found.append(entry)
            if entry.last_stable_offset >= upper_offset:
                return found, True
        return found, False

    def close(self) -> None:
        if self.fd != _CLOSED:
            self._disk.close(self.fd)
            self.fd = _CLOSED
