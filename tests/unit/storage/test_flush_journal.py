"""The flush journal: what it says is true, and it says all that it was told but for what was torn."""

import errno
from pathlib import Path
from random import Random

import pytest

from odradek.core.ids import new_id
from odradek.storage.flush_journal import Fact, FlushJournal, decode_facts, encode_facts, read_facts
from odradek.storage.log import Log
from odradek.storage.store import LogStore
from tests.support.disks import QuickDisk

from .conftest import NOW_MS, T0, FaultyDisk, Opener, append, crash, make_log, values_of

A, B = new_id(Random(1)), new_id(Random(2))
FACTS = [Fact(A, 0, 5), Fact(B, 3, 1 << 40), Fact(A, 0, 9)]


def test_the_last_word_counts() -> None:
    content = b"".join(encode_facts([fact]) for fact in FACTS)
    assert decode_facts(content) == {(A, 0): 9, (B, 3): 1 << 40}
    assert decode_facts(encode_facts(FACTS)) == {(A, 0): 9, (B, 3): 1 << 40}
    assert decode_facts(b"") == {}


def test_what_is_torn_or_damaged_ends_it() -> None:
    frames = [encode_facts([fact]) for fact in FACTS]
    content = b"".join(frames)
    for cut in range(len(content)):
        told = decode_facts(content[:cut])
        assert told == decode_facts(b"".join(frames[: cut // len(frames[0])]))
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        assert decode_facts(bytes(damaged)) == decode_facts(b"".join(frames[: position // len(frames[0])]))
    assert decode_facts(content + bytes(100)) == decode_facts(content), "a hole behind the end"


def test_a_long_journal_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.storage.flush_journal.REWRITE_BYTES", 400)
    path = str(tmp_path / "journal")
    journal = FlushJournal(QuickDisk(), path)
    journal.start()
    for offset in range(100):
        journal.note([Fact(A, 0, offset), Fact(B, 1, 2 * offset)])
    assert read_facts(QuickDisk(), path) == {(A, 0): 99, (B, 1): 198}
    assert (tmp_path / "journal").stat().st_size <= 500
    journal.sync()
    journal.close()
    journal.note([Fact(A, 0, 1000)])
    assert read_facts(QuickDisk(), path) == {(A, 0): 99, (B, 1): 198}


def test_a_journal_that_cannot_be_written_stops_nothing_and_is_not_believed(opener: Opener) -> None:
    disk = FaultyDisk()
    store = opener(disk)
    log = make_log(store)
    path = f"{store.folder}/odradek-flushed-offsets"
    append(log, b"a")
    ticket = store.begin_flush(NOW_MS)
    assert ticket is not None
    disk.faults = [("pwrite", 0), ("pwrite", errno.ENOSPC)]
    ticket.run()
    store.finish_flush(ticket)
    assert log.flushed_offset == 1
    assert read_facts(disk, path) is None
    append(log, b"b")
    store.flush(NOW_MS)
    assert log.flushed_offset == 2
    assert read_facts(disk, path) == {(log.topic_id, 0): 2}


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
    assert read_facts(disk, path) is None
    assert not journal.sync()
    journal.note([Fact(A, 0, 2)])
    assert journal.sync()
    assert read_facts(disk, path) == {(A, 0): 2}
    journal.close()
