"""Whether the files of a partition are what was written: the work of the scrub and of ``odradek log verify``.

Everything that can be checked is: CRC and order of all batches, index entries against the batches that they
point to, the transaction index against the markers, snapshots by their CRC. What can be made anew from the
log is, beside the old file; whoever asked puts it in its place. Runs as a job (``jobs.py``), changes nothing.
"""

import itertools
import struct
from typing import NamedTuple

from odradek.core.errors import DamageError
from odradek.core.ids import TopicPartition
from odradek.records.batch import HEADER, HEADER_SIZE, BatchHeader
from odradek.storage import names
from odradek.storage.checkpoints import decode_epochs, decode_partition_metadata, encode_epochs
from odradek.storage.disk import Disk, write_temporary
from odradek.storage.epochs import LeaderEpochs
from odradek.storage.index import OFFSET_ENTRY_SIZE, TIME_ENTRY_SIZE
from odradek.storage.jobs import Meter
from odradek.storage.producers import AbortedTransaction, Producers
from odradek.storage.recovery import ScanEnd, damage_reason, producers_as_of, scan
from odradek.storage.segment import Segment
from odradek.storage.snapshots import SnapshotError, decode_snapshot
from odradek.storage.transactions import TransactionIndex, encode_transactions

_OFFSET_ENTRY = struct.Struct(">II")
_TIME_ENTRY = struct.Struct(">qI")


class Part(NamedTuple):
    """One segment to be checked: its log up to ``size``; the active one has no other files that count."""

    base_offset: int
    size: int
    is_active: bool = False


class Unflushed(NamedTuple):
    """Of a log that was not closed cleanly, or is in use: all below ``flushed_offset`` had been flushed, the
    rest may be torn. The next start reads it from the segment of ``recovery_point`` on."""

    flushed_offset: int
    recovery_point: int


class VerifyPlan(NamedTuple):
    """A partition, or a part of it. ``parts`` ascend; ``snapshots`` are all there are; ``end_offset`` is
    where the last part ends, -1 unknown. ``repairs``: write what can be made anew beside the old. Without
    ``unflushed`` all of it had been flushed."""

    topic_partition: TopicPartition
    folder: str
    parts: tuple[Part, ...]
    snapshots: tuple[int, ...]
    end_offset: int
    is_compacted: bool
    index_interval_bytes: int
    repairs: bool
    unflushed: Unflushed | None = None


class Flaw(NamedTuple):
    """What is wrong where. ``remedy``: ``""``, there is none, the partition is damaged; ``rebuilt``, a good
    file lies at ``path`` + ``.tmp``; ``remove``, it is not needed; ``rewrite``, the broker knows its content;
    ``cut``, from there on nothing had been flushed, and a start cuts it off.
    """

    path: str
    position: int
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.path} at byte {self.position}: {self.reason}"


def verify_all(disk: Disk, plans: list[VerifyPlan], meter: Meter) -> None:
    """The job: hands over (plan, flaws) of one partition after the other. Raises ``OSError``."""
    for plan in plans:
        meter.hand_over((plan, verify(disk, plan, meter)))


def verify(disk: Disk, plan: VerifyPlan, meter: Meter) -> list[Flaw]:
    """Everything that is wrong with a partition's files. Raises ``OSError``."""
    return _Verification(disk, plan, meter).run()


class _Metered(Segment):
    """Tells of what it reads."""

    __slots__ = ("meter",)
    meter: Meter

    def read(self, position: int, length: int) -> bytes:
        data = super().read(position, length)
        self.meter.moved(length)
        return data


class _Verification:
    def __init__(self, disk: Disk, plan: VerifyPlan, meter: Meter) -> None:
        self._disk = disk
        self._plan = plan
        self._meter = meter
        self._flaws: list[Flaw] = []
        self._knows_transactions = False
        self._epochs = LeaderEpochs([])
        """As the batches tell."""
        unflushed = plan.unflushed
        bases = [part.base_offset for part in plan.parts]
        self._recovered_from: int | None = None
        """The first segment that a start reads: from there on it makes all that belongs to the log anew."""
        if unflushed is not None and bases:
            self._recovered_from = max((b for b in bases if b <= unflushed.recovery_point), default=bases[0])

    def run(self) -> list[Flaw]:
        plan = self._plan
        snapshots = [offset for offset in plan.snapshots if self._check_snapshot(offset)]
        self._check_text(names.LEADER_EPOCHS, decode_epochs)
        self._check_text(names.PARTITION_METADATA, decode_partition_metadata)
        segments = [self._segment(part) for part in plan.parts]
        producers: Producers | None = None
        try:
            for number, (part, segment) in enumerate(zip(plan.parts, segments, strict=True)):
                if producers is None:
                    producers = self._producers_at(segments, number, snapshots)
                follows = plan.parts[number + 1].base_offset if number + 1 < len(plan.parts) else -1
                if not self._check_segment(part, segment, producers, follows):
                    producers = None
                segment.close()
                if self._flaws and self._flaws[-1].remedy == "cut":
                    break
        finally:
            for segment in segments:
                segment.close()
        if not plan.parts and plan.unflushed is not None and plan.unflushed.flushed_offset > 0:
            reason = damage_reason(ScanEnd(0, 0, "there is no segment"), plan.unflushed.flushed_offset)
            self._found(plan.folder, 0, reason)
        if not any(flaw.remedy in ("", "cut") for flaw in self._flaws):
            self._check_epochs()
        return self._flaws

    def _check_epochs(self) -> None:
        """Where each leader epoch begins, but for the first, which begins with the log."""
        path = f"{self._plan.folder}/{names.LEADER_EPOCHS}"
        told = self._epochs.entries
        try:
            noted = decode_epochs(self._disk.read_file(path))
        except (FileNotFoundError, ValueError):
            return  # none were noted, or that is found already
        if self._plan.is_compacted or not told or not noted:
            return
        if noted[1:] != told[1:] or noted[0][0] != told[0][0]:
            entries = [(told[0][0], max(told[0][1], noted[0][1])), *told[1:]]
            self._rebuild(path, 0, f"the batches tell of {told}, not of {noted}", encode_epochs(entries))

    def _segment(self, part: Part) -> _Metered:
        plan = self._plan
        segment = _Metered(self._disk, plan.folder, part.base_offset, part.size, 0, is_active=False)
        segment.meter = self._meter
        return segment

    def _producers_at(self, segments: list[_Metered], number: int, snapshots: list[int]) -> Producers:
        """Producers as of a segment's start. Without a snapshot there, transactions that began earlier are
        not known: what the index says of them is believed."""
        start = segments[number].base_offset
        known = [offset for offset in snapshots if offset == start]
        self._knows_transactions = (bool(known) or start == 0) and not self._plan.is_compacted
        plan = self._plan
        return producers_as_of(
            plan.topic_partition, self._disk, plan.folder, [segments[number]], known, start
        )

    def _found(self, path: str, position: int, reason: str, remedy: str = "") -> None:
        self._flaws.append(Flaw(path, position, reason, remedy))

    def _check_snapshot(self, offset: int) -> bool:
        path = f"{self._plan.folder}/{names.file_name(offset, names.SNAPSHOT)}"
        try:
            content = self._disk.read_file(path)
            decode_snapshot(content)
        except FileNotFoundError:
            return False
        except SnapshotError as error:
            self._found(path, 0, str(error), "remove")
            return False
        return True

    def _check_text(self, name: str, decode: object) -> None:
        path = f"{self._plan.folder}/{name}"
        try:
            decode(self._disk.read_file(path))  # type: ignore[operator]
        except FileNotFoundError:
            pass
        except ValueError as error:
            self._found(path, 0, str(error), "rewrite")

    def _check_segment(self, part: Part, segment: _Metered, producers: Producers, follows: int) -> bool:
        """Whether the log is whole; its indexes may be bad all the same."""
        plan, aborted = self._plan, list[AbortedTransaction]()
        base = part.base_offset
        try:
            end = scan(segment, base, producers, self._epochs, aborted, plan.index_interval_bytes)
        except DamageError as error:
            self._found(error.path, error.position, error.reason)
            return False
        except FileNotFoundError:
            return False  # deleted meanwhile
        if end.reason or follows < 0:
            unflushed = plan.unflushed
            if unflushed is not None and end.next_offset < unflushed.flushed_offset:
                reason = damage_reason(end, unflushed.flushed_offset)
                self._found(segment.path(), end.position, reason)
                return False
            if end.reason:
                remedy = "cut" if unflushed is not None else ""
                self._found(segment.path(), end.position, end.reason, remedy)
                return False
        limit = follows if follows >= 0 else plan.end_offset
        if limit >= 0 and end.next_offset > limit:
            reason = f"the last batch ends at offset {end.next_offset - 1}, beyond {limit - 1}"
            self._found(segment.path(), segment.size, reason)
            return False
        if not part.is_active:
            try:
                self._check_indexes(segment)
            except DamageError as error:
                self._found(error.path, error.position, error.reason)
                return False
            self._check_transactions(segment, aborted)
        return True

    def _check_indexes(self, segment: _Metered) -> None:
        """Both against the log; those that ``scan`` has made take their place when one is bad."""
        good = (segment.offset_index, segment.time_index)
        good[1].append(segment.max_timestamp, segment.max_timestamp_offset)
        for suffix, check, entries in (
            (names.OFFSET_INDEX, self._offset_flaw, good[0].entries),
            (names.TIME_INDEX, self._time_flaw, good[1].entries),
        ):
            path = segment.path(suffix)
            try:
                content = self._disk.read_file(path)
            except FileNotFoundError:
                flaw: tuple[int, str] | None = (0, "it is missing")
            else:
                flaw = None if content == entries else check(segment, content)
            if flaw is not None:
                self._rebuild(path, *flaw, bytes(entries))

    def _rebuild(self, path: str, position: int, reason: str, content: bytes) -> None:
        if self._plan.repairs:
            write_temporary(self._disk, path, content, sync=True)
        self._found(path, position, reason, "rebuilt")

    def _offset_flaw(self, segment: _Metered, content: bytes) -> tuple[int, str] | None:
        before = (-1, -1)
        for position in range(0, len(content), OFFSET_ENTRY_SIZE):
            if position + OFFSET_ENTRY_SIZE > len(content):
                return position, "a part of an entry"
            entry = _OFFSET_ENTRY.unpack_from(content, position)
            if entry[0] <= before[0] or entry[1] <= before[1]:
                return position, "entries do not ascend"
            header = self._header_at(segment, entry[1])
            if header is None or header.last_offset != segment.base_offset + entry[0]:
                return position, f"no batch at {entry[1]} ends with offset {segment.base_offset + entry[0]}"
            before = entry
        return None

    def _time_flaw(self, segment: _Metered, content: bytes) -> tuple[int, str] | None:
        before = (-1, -1)
        for position in range(0, len(content), TIME_ENTRY_SIZE):
            if position + TIME_ENTRY_SIZE > len(content):
                return position, "a part of an entry"
            timestamp, relative = entry = _TIME_ENTRY.unpack_from(content, position)
            if timestamp <= before[0] or relative < before[1]:
                return position, "entries do not ascend"
            place = segment.locate(segment.base_offset + relative)
            header = self._header_at(segment, place.position) if place is not None else None
            if header is None or header.max_timestamp != timestamp:
                return position, f"no batch of {timestamp} at offset {segment.base_offset + relative}"
            before = entry
        if before[0] != segment.max_timestamp and segment.max_timestamp >= 0:
            return max(len(content) - TIME_ENTRY_SIZE, 0), f"the youngest is {segment.max_timestamp}"
        return None

    def _header_at(self, segment: _Metered, position: int) -> BatchHeader | None:
        if position + HEADER_SIZE > segment.size:
            return None
        return BatchHeader._make(HEADER.unpack(segment.read(position, HEADER_SIZE)))

    def _check_transactions(self, segment: _Metered, aborted: list[AbortedTransaction]) -> None:
        """Entries that the log tells, too, must say the same; what it does not tell cannot be made anew."""
        path = segment.path(names.TRANSACTION_INDEX)
        told = {(entry.producer_id, entry.last_offset): entry for entry in aborted}
        try:
            entries = TransactionIndex(self._disk, path).entries
            reason: str | None = _transactions_flaw(segment, entries, told, self._knows_transactions)
        except DamageError as error:
            reason = error.reason
        if reason is not None and self._knows_transactions:
            self._rebuild(path, 0, reason, encode_transactions(aborted))
        elif reason is not None:
            is_made_anew = self._recovered_from is not None and segment.base_offset >= self._recovered_from
            self._found(path, 0, reason, "rewrite" if is_made_anew else "")


def _transactions_flaw(
    segment: Segment,
    entries: list[AbortedTransaction],
    told: dict[tuple[int, int], AbortedTransaction],
    are_all_told: bool,
) -> str | None:
    for before, entry in itertools.pairwise([None, *entries]):
        assert entry is not None
        if not segment.base_offset <= entry.last_offset or entry.first_offset > entry.last_offset:
            return f"no transaction can end at offset {entry.last_offset}"
        if before is not None and before.last_offset >= entry.last_offset:
            return "entries do not ascend"
        known = told.get((entry.producer_id, entry.last_offset))
        # Where a transaction began is told only if nothing of it was compacted away, nor lies further back.
        if known is not None and (
            known.first_offset < entry.first_offset or (are_all_told and known != entry)
        ):
            return f"the log tells otherwise of the transaction that ends at offset {entry.last_offset}"
        if known is None and are_all_told:
            return f"no marker ends a transaction at offset {entry.last_offset}"
    if len(told) > len(entries):
        return "aborted transactions are missing"
    return None
