"""The two sparse indexes of a segment, over the very bytes of their files.

An index in use for appending sits on a ``bytearray``; that of a sealed segment on its mapped file.
Source: ``OffsetIndex`` and ``TimeIndex``; FORMAT.md has the layouts.
"""

import struct

from odradek.storage.disk import Bytes

_OFFSET_ENTRY = struct.Struct(">II")
_TIME_ENTRY = struct.Struct(">qI")
OFFSET_ENTRY_SIZE = _OFFSET_ENTRY.size
TIME_ENTRY_SIZE = _TIME_ENTRY.size
LARGEST_RELATIVE_OFFSET = 0x7FFFFFFF
_FEW = 4


class OffsetIndex:
    """Offset → file position, for some of the batches."""

    __slots__ = ("base_offset", "entries")

    def __init__(self, base_offset: int, entries: Bytes) -> None:
        self.base_offset = base_offset
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries) // OFFSET_ENTRY_SIZE

    def append(self, last_offset: int, position: int) -> None:
        """Note that the batch ending with ``last_offset`` starts at ``position``."""
        self.entries += _OFFSET_ENTRY.pack(last_offset - self.base_offset, position)  # type: ignore[operator]

    def lookup(self, offset: int) -> tuple[int, int] | None:
        """The last entry (offset, position) at or below ``offset``."""
        return self._last_at_or_below(offset - self.base_offset, 0)

    def lookup_position(self, position: int) -> tuple[int, int] | None:
        """The last entry (offset, position) whose batch starts at or below ``position``."""
        return self._last_at_or_below(position, 1)

    def last(self) -> tuple[int, int] | None:
        count = len(self)
        return self._entry(count - 1) if count else None

    def is_plausible(self, log_size: int) -> bool:
        """Whether the first and last entries can belong to a log of ``log_size`` bytes."""
        if len(self.entries) % OFFSET_ENTRY_SIZE:
            return False
        last = self.last()
        if last is None:
            return True
        first = self._entry(0)
        return first[0] <= last[0] and first[1] <= last[1] < log_size

    def _entry(self, number: int) -> tuple[int, int]:
        relative, position = _OFFSET_ENTRY.unpack_from(self.entries, number * OFFSET_ENTRY_SIZE)
        return self.base_offset + relative, position

    def _last_at_or_below(self, target: int, field: int) -> tuple[int, int] | None:
        entries, unpack = self.entries, _OFFSET_ENTRY.unpack_from
        low, high = 0, len(entries) // OFFSET_ENTRY_SIZE
        if high > _FEW:
            # entries lie about evenly: look around where the target would be, if they did quite
            last = unpack(entries, (high - 1) * OFFSET_ENTRY_SIZE)[field]
            guess = min(high - 1, high * max(target, 0) // (last + 1))
            step = _FEW
            if unpack(entries, guess * OFFSET_ENTRY_SIZE)[field] <= target:
                low = guess + 1
                while (
                    low + step < high and unpack(entries, (low + step) * OFFSET_ENTRY_SIZE)[field] <= target
                ):
                    low += step + 1
                    step *= 4
                high = min(high, low + step + 1)
            else:
                high = guess
                while high - step > 0 and unpack(entries, (high - step) * OFFSET_ENTRY_SIZE)[field] > target:
                    high -= step
                    step *= 4
                low = max(0, high - step)
        while low < high:
            middle = (low + high) // 2
            if unpack(entries, middle * OFFSET_ENTRY_SIZE)[field] <= target:
                low = middle + 1
            else:
                high = middle
        return self._entry(low - 1) if low else None


class TimeIndex:
    """Timestamp → offset: the youngest timestamp so far, each time it has risen by an index interval."""

    __slots__ = ("base_offset", "entries", "last_timestamp")

    def __init__(self, base_offset: int, entries: Bytes) -> None:
        self.base_offset = base_offset
        self.entries = entries
        last = self.last()
        self.last_timestamp = last[0] if last else -1

    def __len__(self) -> int:
        return len(self.entries) // TIME_ENTRY_SIZE

    def append(self, timestamp: int, offset: int) -> None:
        """Note the youngest timestamp and the last offset of the first batch that has it, unless noted."""
        if timestamp > self.last_timestamp:
            self.entries += _TIME_ENTRY.pack(timestamp, offset - self.base_offset)  # type: ignore[operator]
            self.last_timestamp = timestamp

    def lookup(self, timestamp: int) -> tuple[int, int] | None:
        """The last entry (timestamp, offset) that is not younger than ``timestamp``."""
        entries, unpack = self.entries, _TIME_ENTRY.unpack_from
        low, high = 0, len(entries) // TIME_ENTRY_SIZE
        while low < high:
            middle = (low + high) // 2
            if unpack(entries, middle * TIME_ENTRY_SIZE)[0] <= timestamp:
                low = middle + 1
            else:
                high = middle
        return self._entry(low - 1) if low else None

    def last(self) -> tuple[int, int] | None:
        count = len(self)
        return self._entry(count - 1) if count else None

    def is_plausible(self) -> bool:
        """Whether the first and last entries are in order."""
        if len(self.entries) % TIME_ENTRY_SIZE:
            return False
        return not self.entries or 0 <= self._entry(0)[0] <= self.last_timestamp

    def _entry(self, number: int) -> tuple[int, int]:
        timestamp, relative = _TIME_ENTRY.unpack_from(self.entries, number * TIME_ENTRY_SIZE)
        return timestamp, self.base_offset + relative
