"""When the scrub begins, and what of it survives a restart. What it finds: ``test_damage.py``."""

from pathlib import Path
from typing import Any

import pytest

from odradek.broker import scrubber
from odradek.broker.scrub_notes import ScrubNotes, encode_notes, read_notes
from odradek.broker.scrubber import FIRST_AFTER_MS
from odradek.core.ids import TopicPartition
from odradek.storage.disk import SystemDisk
from odradek.storage.jobs import JobQueue
from tests.support.disks import QuickDisk

from .harness import Harness, batch
from .transaction_client import create_topic

DAY_MS = 86_400_000
PARTITIONS = 3


class Scrubbing:
    """A broker with some partitions whose scrub does one of them at a time, when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.harness = Harness(folder)
        create_topic(self.harness, PARTITIONS)
        for number in range(PARTITIONS):
            log = self.harness.broker.store.logs[TopicPartition("t", number)]
            log.append(memoryview(bytearray(batch(b"v"))), self.harness.clock.now_ms(), leader_epoch=0)
        self.harness.flush()
        self._attach()

    def _attach(self) -> None:
        self.queue = JobQueue(QuickDisk())
        self.scrubber.jobs = self.queue

    @property
    def scrubber(self) -> Any:
        return self.harness.broker.scrubber

    def restart(self) -> None:
        self.harness.restart()
        self._attach()

    def look(self, ms: int = 1_000) -> int:
        """Lets time pass and the scrub look; how many jobs wait."""
        self.harness.advance(ms)
        for chore in self.scrubber.run():
            chore()
        return len(self.queue)

    def check_next(self) -> int:
        """One partition; whether there is another."""
        self.queue.run_next()
        return self.look()


@pytest.fixture
def scrubbing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scrubbing:
    monkeypatch.setattr(scrubber, "JOB_PARTITIONS", 1)
    return Scrubbing(tmp_path)


def test_the_first_pass_begins_soon_after_the_start_and_the_next_a_day_after_its_end(
    scrubbing: Scrubbing,
) -> None:
    assert scrubbing.look(FIRST_AFTER_MS - 1_000) == 0
    assert scrubbing.look() == 1
    assert scrubbing.scrubber.progress.total > 0
    assert [scrubbing.check_next() for _ in range(PARTITIONS)] == [1, 1, 0]
    progress = scrubbing.scrubber.progress
    assert (progress.passes, progress.total) == (1, 0)
    assert progress.finished_ms == scrubbing.harness.clock.now_ms()
    assert scrubbing.look(DAY_MS - 2_000) == 0
    assert scrubbing.look(2_000) == 1


def test_a_pass_goes_on_after_a_restart_where_it_was(scrubbing: Scrubbing) -> None:
    scrubbing.look(FIRST_AFTER_MS)
    assert scrubbing.check_next() == 1
    scrubbing.restart()
    assert scrubbing.look(FIRST_AFTER_MS - 1_000) == 0
    assert scrubbing.look() == 1
    assert scrubbing.scrubber.progress.done > 0
    assert [scrubbing.check_next() for _ in range(PARTITIONS - 1)] == [1, 0]
    assert scrubbing.scrubber.progress.passes == 1


def test_restarts_bring_no_pass_that_is_not_due(scrubbing: Scrubbing) -> None:
    scrubbing.look(FIRST_AFTER_MS)
    while scrubbing.check_next():
        pass
    for _ in range(3):
        scrubbing.restart()
        assert scrubbing.look(DAY_MS // 4) == 0
    scrubbing.restart()
    assert scrubbing.look(DAY_MS // 4) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense",
        b"finished.ms=5\nafter=\ncrc=1\n",
        encode_notes(ScrubNotes(DAY_MS * 100_000)),
        encode_notes(ScrubNotes(5, "t-1")).replace(b"t-1", b"t-2"),
    ],
)
def test_notes_that_cannot_be_believed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odradek-scrub").write_bytes(content)
    assert read_notes(SystemDisk(), str(tmp_path), DAY_MS * 20_000) == ScrubNotes()


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_notes(SystemDisk(), str(tmp_path), 9) == ScrubNotes()
    (tmp_path / "odradek-scrub").write_bytes(encode_notes(ScrubNotes(5, "t-1")))
    assert read_notes(SystemDisk(), str(tmp_path), 9) == ScrubNotes(5, "t-1")
