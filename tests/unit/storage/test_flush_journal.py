"""The flush journal: what it says is true, and it says all that it was told but for what was torn."""

import errno
import os
from pathlib import Path
from random import Random

import pytest

from odradek.core.ids import ZERO_ID, new_id
from odradek.storage import names
from odradek.storage.disk import SystemDisk
from odradek.storage.flush_journal import (
    NOTHING_TOLD,
    Fact,
    FlushJournal,
    Noted,
    Told,
    decode_facts,
    encode_facts,
    read_facts,
)
from odradek.storage.log import Log
from odradek.storage.store import LogStore
from tests.support.disks import QuickDisk

from .conftest import NOW_MS, T0, FaultyDisk, Opener, append, crash, make_log, stop, values_of

A, B = new_id(Random(1)), new_id(Random(2))
FACTS = [Fact(A, 0, 5), Fact(B, 3, 1 << 40), Fact(A, 0, 9)]


def test_the_last_word_counts() -> None:
    content = b"".join(encode_facts([fact]) for fact in FACTS)
    assert decode_facts(content) == Told({(A, 0): 9, (B, 3): 1 << 40}, True)
    assert decode_facts(encode_facts(FACTS)) == Told({(A, 0): 9, (B, 3): 1 << 40}, True)
    assert decode_facts(b"") == Told({}, True)


def test_what_is_torn_ends_it() -> None:
    frames = [encode_facts([fact]) for fact in FACTS]
    content = b"".join(frames)
    for cut in range(len(content)):
        told = decode_facts(content[:cut])
        assert told == decode_facts(b"".join(frames[: cut // len(frames[0])]))
        assert told.is_whole
    for count in range(100):
        assert decode_facts(content + bytes(count)) == decode_facts(content), "a hole behind the end"
        for number in range(3):
            holed = b"".join([*frames[:number], bytes(count), *frames[number:]])
            assert decode_facts(holed) == Told(decode_facts(content).facts, count == 0), "a hole before it"


def test_what_is_damaged_is_missing_and_what_follows_it_is_not() -> None:
    frames = [encode_facts([fact]) for fact in FACTS]
    content = b"".join(frames)
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        number = position // len(frames[0])
        others = decode_facts(b"".join(frames[:number] + frames[number + 1 :]))
        assert decode_facts(bytes(damaged)) == Told(others.facts, number == len(frames) - 1)


def test_what_was_flushed_before_a_flush_failed_is_known() -> None:
    told = decode_facts(encode_facts([Fact(A, 0, 5), Fact(A, 1, ~5), Fact(A, 2, -1)]))
    assert [told.of((A, number)) for number in range(4)] == [(5, True), (5, False), (0, False), (0, True)]
    assert told._replace(is_whole=False).of((A, 0)) == Noted(5, False)
    assert told.only((A, 1)) == Told({(A, 1): ~5}, True)
    assert NOTHING_TOLD.of((A, 0)) == Noted(0, False)


def test_a_long_journal_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.storage.flush_journal.REWRITE_BYTES", 400)
    path = str(tmp_path / "journal")
    journal = FlushJournal(QuickDisk(), path)
    journal.start()
    for offset in range(100):
        journal.note([Fact(A, 0, offset), Fact(B, 1, 2 * offset)])
    assert read_facts(QuickDisk(), path).facts == {(A, 0): 99, (B, 1): 198}
    assert (tmp_path / "journal").stat().st_size <= 20_000
    journal.sync()
    journal.close()
    journal.note([Fact(A, 0, 1000)])
    assert read_facts(QuickDisk(), path).facts == {(A, 0): 99, (B, 1): 198}


def test_a_journal_that_cannot_be_written_stops_nothing_and_is_not_believed(opener: Opener) -> None:
    disk = FaultyDisk()
    store = opener(disk)
    log = make_log(store)
    path = f"{store.folder}/odradek-flushed-offsets"
    append(log, b"a")
    ticket = store.begin_flush(NOW_MS)
    assert ticket is not None
    disk.faults = [("pwrite", 0), *ILL]
    ticket.run()
    store.finish_flush(ticket)
    assert log.flushed_offset == 1
    assert read_facts(disk, path) == NOTHING_TOLD, "it told nothing yet"
    append(log, b"b")
    store.flush(NOW_MS)
    assert log.flushed_offset == 2
    assert read_facts(disk, path) == Told({(log.topic_id, 0): 2}, True)


def flip(log: Log, value: bytes) -> None:
    path = Path(log.active.path())
    content = bytearray(path.read_bytes())
    content[content.index(value)] ^= 1
    path.write_bytes(bytes(content))


def test_damage_in_what_was_flushed_after_the_last_checkpoint_is_no_torn_tail(
    opener: Opener, store: LogStore
) -> None:
    log = make_log(store)
    for value in (b"first", b"second", b"third"):
        append(log, value)
        store.flush(NOW_MS)
    crash(store)
    before = Path(log.active.path()).read_bytes()
    flip(log, b"second")
    again = opener().logs[T0]
    assert again.offline is not None
    assert "below offset 3 had been flushed" in str(again.offline)
    assert len(Path(log.active.path()).read_bytes()) == len(before)


ILL = [("pwrite", errno.EIO), ("open", errno.EIO)]
"""Neither a journal nor another in its place."""


def flush_unnoted(store: LogStore, disk: FaultyDisk) -> None:
    """A flush that goes well, on a disk that does not take the word of it."""
    ticket = store.begin_flush(NOW_MS)
    assert ticket is not None
    disk.faults = list(ILL)
    ticket.run()
    store.finish_flush(ticket)
    assert not disk.faults


def two_flushed_and_one_not(opener: Opener, disk: FaultyDisk) -> tuple[LogStore, Log]:
    store = opener(disk)
    log = make_log(store)
    for value in (b"first", b"second"):
        append(log, value)
        store.flush(NOW_MS)
    append(log, b"third")
    return store, log


def test_damage_is_none_the_less_known_when_a_later_flush_could_not_be_noted(opener: Opener) -> None:
    disk = FaultyDisk()
    store, log = two_flushed_and_one_not(opener, disk)
    flush_unnoted(store, disk)
    crash(store)
    path = Path(log.active.path())
    sound = path.read_bytes()
    flip(log, b"second")
    damaged = path.read_bytes()
    for _ in range(2):
        again = opener()
        assert "below offset 2 had been flushed" in str(again.logs[T0].offline)
        assert path.read_bytes() == damaged
        crash(again)
    path.write_bytes(sound)
    writing = CountingDisk()
    assert values_of(opener(writing).logs[T0]) == [b"first", b"second", b"third"]
    assert writing.written == 1, "what is not known to be on disk is written once more"


class CountingDisk(FaultyDisk):
    """Counts batches that are written."""

    __slots__ = ("written",)

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int, /) -> int:  # type: ignore[override]
        self.written += b"third" in bytes(data)
        return super().pwrite(fd, data, position)


def test_damage_is_none_the_less_known_when_a_later_flush_has_failed(opener: Opener) -> None:
    disk = FaultyDisk()
    store, log = two_flushed_and_one_not(opener, disk)
    disk.faults = [("sync_data", errno.EIO)]
    store.flush(NOW_MS)
    assert log.offline is not None
    crash(store)
    flip(log, b"second")
    assert "below offset 2 had been flushed" in str(opener().logs[T0].offline)


@pytest.mark.parametrize("count", range(1, 8))
def test_a_crash_at_any_step_of_setting_a_journal_aside_loses_no_fact(tmp_path: Path, count: int) -> None:
    """Given up, begun again, given up again, with a crash after so many calls of the disk."""
    path = str(tmp_path / "journal")
    disk = DyingDisk()
    journal = FlushJournal(disk, path)
    journal.start([Fact(A, 0, 5)])
    try:
        disk.faults = list(ILL)
        disk.left = count
        journal.note([Fact(A, 0, 6)])  # written in vain, and renamed
        journal.note([Fact(A, 0, 7)])  # begun again: opened, written, renamed, the one set aside removed
        disk.faults = list(ILL)
        journal.note([Fact(A, 0, 8)])  # written in vain, renamed to where the first one was
    except DeadError:
        pass
    told = read_facts(QuickDisk(), path)
    assert told == Told({(A, 0): 5 if count < 4 else 7}, count in (1, 4, 5, 6))


class DeadError(Exception):
    """The process is no more."""


class DyingDisk(FaultyDisk):
    """Renames, removals and writes end the process once there are ``left`` of them no more."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        super().__init__()
        self.left = 1 << 30

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise DeadError

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int, /) -> int:  # type: ignore[override]
        self._live()
        return super().pwrite(fd, data, position)

    def rename(self, old: str, new: str, /) -> None:  # type: ignore[override]
        self._live()
        SystemDisk.rename(old, new)

    def remove(self, path: str) -> None:
        self._live()
        super().remove(path)


def test_what_was_told_counts_on_where_a_start_can_write_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    first = FlushJournal(QuickDisk(), path)
    first.start()
    first.note([Fact(A, 0, 5), Fact(B, 0, 7)])
    first.close()
    disk = FaultyDisk()
    disk.faults = [("pwrite", errno.EIO)]
    second = FlushJournal(disk, path)
    second.start([Fact(B, 0, 7)], read_facts(disk, path))
    assert read_facts(disk, path) == Told({(A, 0): 5, (B, 0): 7}, False)
    second.note([Fact(B, 0, 8)])
    assert read_facts(disk, path) == Told({(A, 0): 5, (B, 0): 8}, True)
    second.close()


def test_what_was_told_before_a_clean_stop_does_not(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    first = FlushJournal(QuickDisk(), path)
    first.start()
    first.note([Fact(A, 0, 5)])
    first.close()
    disk = FaultyDisk()
    disk.faults = [("pwrite", errno.EIO)]
    second = FlushJournal(disk, path)
    second.start()
    assert read_facts(disk, path) == NOTHING_TOLD
    second.close()


def test_a_full_disk_has_room_for_what_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.storage.flush_journal.REWRITE_BYTES", 1000)
    path = tmp_path / "journal"
    disk = FullDisk()
    journal = FlushJournal(disk, str(path))
    journal.start([Fact(B, 0, 7)])
    disk.room = path.stat().st_size
    for offset in range(1, 1000):
        journal.note([Fact(A, 0, offset)])
        assert read_facts(disk, str(path)) == Told({(B, 0): 7, (A, 0): offset}, True)
    assert [one.name for one in tmp_path.iterdir()] == ["journal"], "room for others"
    journal.close()
    next_one = FlushJournal(disk, str(path))
    next_one.start([Fact(B, 0, 8)])
    next_one.note([Fact(A, 0, 1000)])
    assert read_facts(disk, str(path)) == Told({(B, 0): 8, (A, 0): 1000}, True)
    next_one.note([Fact(A, number, 1) for number in range(1, 3000)])
    assert read_facts(disk, str(path)) == Told({(B, 0): 8, (A, 0): 1000}, False), (
        "more than there is room for"
    )
    next_one.close()


class FullDisk(FaultyDisk):
    """Once there is a bound, files get no longer than it, and new ones have no bytes at all."""

    __slots__ = ("room",)

    def __init__(self) -> None:
        super().__init__()
        self.room: int | None = None

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int, /) -> int:  # type: ignore[override]
        if self.room is not None and (not os.fstat(fd).st_size or position + len(data) > self.room):
            raise OSError(errno.ENOSPC, "full")
        return super().pwrite(fd, data, position)


def test_a_cut_log_is_not_held_to_what_was_set_aside(opener: Opener) -> None:
    disk = FaultyDisk()
    store, log = two_flushed_and_one_not(opener, disk)
    flush_unnoted(store, disk)
    disk.faults = [("open", 0), ("open", errno.ENOSPC)]  # the log, the journal
    log.truncate_to(1)
    crash(store)
    again = opener()
    assert again.logs[T0].offline is None
    assert values_of(again.logs[T0]) == [b"first"]


def test_a_log_made_anew_is_not_held_to_what_was_told_of_the_one_before(opener: Opener) -> None:
    """Of one topic id: its folder was taken away while the broker was down."""
    store = opener()
    log = make_log(store)
    append(log, b"first")
    store.flush(NOW_MS)
    crash(store)
    Path(log.folder).rename(f"{store.folder}-gone")
    disk = FaultyDisk()
    disk.faults = [("pwrite", errno.EIO)]
    again = opener(disk)
    disk.faults = []
    append(make_log(again), b"unflushed")
    crash(again)
    assert opener().logs[T0].offline is None


def test_damage_in_what_was_not_flushed_is_a_torn_tail(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    append(log, b"first")
    store.flush(NOW_MS)
    append(log, b"second")
    append(log, b"third")
    crash(store)
    flip(log, b"second")
    again = opener().logs[T0]
    assert again.offline is None
    assert values_of(again) == [b"first"]


def test_a_truncated_log_may_be_torn_where_it_was_flushed_once(opener: Opener, store: LogStore) -> None:
    log = make_log(store)
    for value in (b"first", b"second", b"third"):
        append(log, value)
    store.flush(NOW_MS)
    log.truncate_to(1)
    append(log, b"another")
    crash(store)
    flip(log, b"another")
    assert values_of(opener().logs[T0]) == [b"first"]


def test_what_was_flushed_is_known_to_the_second_start_after_damage_too(
    opener: Opener, store: LogStore
) -> None:
    log = make_log(store)
    for value in (b"first", b"second", b"third"):
        append(log, value)
        store.flush(NOW_MS)
    crash(store)
    path = Path(log.active.path())
    sound = path.read_bytes()
    flip(log, b"second")
    damaged = path.read_bytes()
    for is_clean in (False, True, False):
        again = opener()
        assert "below offset 3 had been flushed" in str(again.logs[T0].offline)
        assert path.read_bytes() == damaged
        if is_clean:
            again.close(NOW_MS)
            again._lock = -1
        else:
            crash(again)
    path.write_bytes(sound)
    assert values_of(opener().logs[T0]) == [b"first", b"second", b"third"]


def test_what_was_flushed_of_a_log_that_did_not_tell_its_topic_is_known_to_the_start_after(
    opener: Opener, store: LogStore
) -> None:
    log = make_log(store)
    for value in (b"first", b"second", b"third"):
        append(log, value)
        store.flush(NOW_MS)
    crash(store)
    disk = FaultyDisk()
    disk.faults = [("read_file partition.metadata", errno.EIO)] * 2
    again = opener(disk)
    assert again.logs[T0].offline is not None
    assert again.logs[T0].topic_id == ZERO_ID
    crash(again)
    flip(log, b"second")
    assert "below offset 3 had been flushed" in str(opener().logs[T0].offline)


@pytest.mark.parametrize("is_clean", [False, True])
def test_what_was_flushed_is_known_without_the_recovery_points_too(
    opener: Opener, store: LogStore, is_clean: bool
) -> None:
    log = make_log(store)
    for value in (b"first", b"second", b"third"):
        append(log, value)
        store.flush(NOW_MS)
    (stop if is_clean else crash)(store)
    crash(opener())
    flip(log, b"second")
    points = Path(store.folder, names.RECOVERY_POINTS)
    points.write_bytes(points.read_bytes().replace(b"3", b"2"))
    assert "below offset 3 had been flushed" in str(opener().logs[T0].offline)


class NotingDisk(FaultyDisk):
    """Notes which folders were synced."""

    def __init__(self) -> None:
        super().__init__()
        self.folders: list[str] = []

    def sync_folder(self, path: str) -> None:
        self.folders.append(path)
        super().sync_folder(path)


def test_a_sync_makes_the_name_of_a_new_journal_durable_too(tmp_path: Path) -> None:
    disk = NotingDisk()
    journal = FlushJournal(disk, str(tmp_path / "journal"))
    journal.start()
    for offset in (1, 2):
        journal.note([Fact(A, 0, offset)])
        assert journal.sync()
    assert disk.folders == [str(tmp_path)]
    journal.close()


def test_a_journal_that_cannot_be_synced_is_not_believed(tmp_path: Path) -> None:
    disk = FaultyDisk()
    path = str(tmp_path / "journal")
    journal = FlushJournal(disk, path)
    journal.start()
    journal.note([Fact(A, 0, 1)])
    disk.faults = [("sync_data", errno.EIO)]
    with pytest.raises(OSError, match="EIO"):
        journal.sync()
    assert read_facts(disk, path) == Told({(A, 0): 1}, False)
    assert not journal.sync()
    journal.note([Fact(A, 0, 2)])
    assert journal.sync()
    assert read_facts(disk, path) == Told({(A, 0): 2}, True)
    journal.close()
