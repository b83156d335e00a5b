"""Which leader epoch starts at which offset: ``leader-epoch-checkpoint``.

Source: ``LeaderEpochFileCache`` (KIP-101, KIP-279).
"""

UNKNOWN = (-1, -1)


class LeaderEpochs:
    """(epoch, start offset) pairs, both ascending."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[tuple[int, int]]) -> None:
        self.entries = entries

    @property
    def latest(self) -> int:
        """The newest epoch that wrote, -1 when none did."""
        return self.entries[-1][0] if self.entries else -1

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Note that ``epoch`` writes from ``start_offset`` on; False when that is known.

        Entries that contradict it are dropped: the newer word counts.
        """
        entries = self.entries
        if entries and entries[-1][0] == epoch and start_offset >= entries[-1][1]:
            return False
        while entries and (entries[-1][0] >= epoch or entries[-1][1] >= start_offset):
            entries.pop()
        entries.append((epoch, start_offset))
        return True

    def end_offset(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """(epoch, offset): the largest epoch up to ``epoch`` that wrote, and where it ended.

        ``UNKNOWN`` when the answer cannot be known here.
        """
        if epoch < 0 or not self.entries:
            return UNKNOWN
        if epoch == self.entries[-1][0]:
            return epoch, log_end_offset
        found = epoch
        for known, start_offset in self.entries:
            if known > epoch:
                return found, start_offset
            found = known
        return UNKNOWN

    def epoch_at(self, offset: int) -> int:
        """The epoch that wrote ``offset``, -1 when that is not known."""
        found = -1
        for epoch, start_offset in self.entries:
            if start_offset > offset:
                break
            found = epoch
        return found

    def cut_end(self, end_offset: int) -> bool:
        """Forget epochs that start at or above ``end_offset``; whether any did."""
        kept = [entry for entry in self.entries if entry[1] < end_offset]
        changed = len(kept) != len(self.entries)
        self.entries = kept
        return changed

    def cut_start(self, start_offset: int) -> bool:
        """Let the history begin at ``start_offset``; whether that changed anything."""
        older = [entry for entry in self.entries if entry[1] <= start_offset]
        if not older or older == [(older[0][0], start_offset)]:
            return False
        self.entries = [(older[-1][0], start_offset), *self.entries[len(older) :]]
        return True
