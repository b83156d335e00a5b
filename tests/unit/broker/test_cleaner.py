"""Which log is compacted when, and what becomes of a pass that succeeds, fails, or is not wanted any more."""

import errno
import os
from pathlib import Path

import pytest

from odradek.protocol.generated.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.records.builder import build_batch
from odradek.records.control import build_marker
from odradek.records.record import Record
from odradek.storage import pacing
from odradek.storage.jobs import JobFailedError, JobQueue, Outcome, Submitted
from odradek.storage.log import COORDINATOR, Log
from odradek.storage.producers import Vouched

from .harness import Harness

BACKOFF_MS = 15_000


class Compacting:
    """A broker whose compaction jobs wait until the test does them."""

    def __init__(self, folder: Path, **overrides: str) -> None:
        self.harness = Harness(folder, **overrides)
        self.attach()

    def attach(self) -> None:
        self.queue = JobQueue(self.harness.broker.store.disk)
        self.cleaner.jobs = self.queue

    @property
    def cleaner(self):  # type: ignore[no-untyped-def]
        return self.harness.broker.cleaner

    def topic(self, name: str, **configs: str) -> Log:
        configs = {"cleanup.policy": "compact", "segment.bytes": "1048576"} | {
            key.replace("_", "."): value for key, value in configs.items()
        }
        made = [CreatableTopicConfig(name=key, value=value) for key, value in configs.items()]
        topic = CreatableTopic(
            name=name, num_partitions=1, replication_factor=1, assignments=[], configs=made
        )
        response = self.harness.call(CreateTopicsRequest(topics=[topic], timeout_ms=1, validate_only=False))
        assert response.topics[0].error_code == 0, response.topics[0].error_message
        return self.log(name)

    def log(self, name: str) -> Log:
        partition = self.harness.broker.topics.partition(name, 0)
        assert partition is not None
        return partition.log

    def fill(self, log: Log, records: int = 20, *, keys: int = 2) -> None:
        """A sealed segment of one batch per record."""
        for number in range(records):
            now_ms = self.harness.clock.now_ms()
            record = Record(0, now_ms, b"%d" % (number % keys), b"v" * 100)
            log.append(memoryview(build_batch([record])), now_ms, leader_epoch=0)
        log.roll(self.harness.clock.now_ms())
        self.harness.flush()

    def look(self, ms: int = BACKOFF_MS) -> int:
        """Lets time pass and the cleaner look; how many jobs wait."""
        self.harness.advance(ms)
        for chore in self.cleaner.run():
            chore()
        return len(self.queue)

    def clean(self) -> None:
        self.queue.run_next()
        self.harness.flush()
        for chore in self.cleaner.run():
            chore()

    def checkpoint(self) -> str:
        path = self.harness.folder / "cleaner-offset-checkpoint"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def compacting(tmp_path: Path) -> Compacting:
    return Compacting(tmp_path)


def test_a_dirty_log_is_compacted_and_that_is_remembered(compacting: Compacting) -> None:
    log = compacting.topic("t")
    compacting.topic("plain", cleanup_policy="delete")
    assert compacting.look() == 0, "nothing is dirty"
    compacting.fill(log)
    before = log.size
    assert compacting.look(1000) == 0, "not before log.cleaner.backoff.ms"
    assert compacting.look() == 1
    (current,) = compacting.cleaner.passes.values()
    assert current.share == 0.0
    compacting.clean()
    assert log.size < before
    assert compacting.checkpoint().startswith("0\n2\nt 0 20\n")
    assert compacting.cleaner.passes == {}
    assert compacting.look() == 0, "clean is clean"

    compacting.fill(log, 3)
    assert compacting.look() == 1, "three fresh records beside two are more than half"
    compacting.clean()
    compacting.fill(log, 1)
    assert compacting.look() == 0, "one beside two is less"
    assert 0 < compacting.cleaner.dirtiest_ratio < 0.5

    compacting.harness.restart()
    compacting.attach()
    assert compacting.look() == 0, "a start knows what is clean"
    compacting.fill(compacting.log("t"), 5)
    assert compacting.look() == 1


def test_the_checkpoint_waits_for_the_disk(compacting: Compacting) -> None:
    log = compacting.topic("t")
    compacting.fill(log)
    assert compacting.look() == 1
    compacting.queue.run_next()
    assert compacting.cleaner.run() == []
    assert compacting.checkpoint() == ""
    compacting.harness.flush()
    for chore in compacting.cleaner.run():
        chore()
    assert compacting.checkpoint().startswith("0\n2\nt 0 20\n")


def test_the_filthiest_first_and_no_more_than_threads(tmp_path: Path) -> None:
    compacting = Compacting(tmp_path, log_cleaner_threads="2")
    logs = [compacting.topic(name) for name in ("a", "b", "c")]
    for log in logs:
        compacting.fill(log, 10)
    assert compacting.look() == 2
    compacting.clean()
    assert len(compacting.queue) == 2
    compacting.clean()
    compacting.clean()
    assert compacting.checkpoint().count(" 10\n") == 3
    compacting.fill(logs[0], 4)
    compacting.fill(logs[1], 30)
    compacting.look()
    assert next(iter(compacting.cleaner.passes)) is logs[1]


def test_urgency_grows_with_what_is_written_meanwhile(
    compacting: Compacting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "LEAST_GROWTH_BYTES", 1)
    log, other = compacting.topic("t"), compacting.topic("other")
    compacting.fill(log, 20)
    size = log.size
    assert compacting.look() == 1
    assert compacting.cleaner.urgency == 0
    compacting.fill(log, 5)
    compacting.look(0)
    assert compacting.cleaner.urgency == pytest.approx((log.size - size) / (size * 0.5), rel=0.01)

    compacting.fill(other, 20)
    compacting.look()
    compacting.fill(other, 40)
    compacting.look(0)
    assert compacting.cleaner.urgency > 2, "who waits for a pass counts, too"
    compacting.queue.run_next()
    compacting.harness.flush()
    compacting.look(1000)
    assert compacting.cleaner.passes.keys() == {other}
    compacting.queue.run_next()
    compacting.harness.flush()
    compacting.look(1000)
    compacting.clean()
    compacting.look(1000)
    assert compacting.cleaner.urgency == 0, "all is clean"


def test_what_came_during_a_pass_is_not_forgotten_with_it(
    compacting: Compacting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "LEAST_GROWTH_BYTES", 1)
    log = compacting.topic("t")
    compacting.fill(log, 20)
    compacting.look()
    compacting.fill(log, 60)
    compacting.queue.run_next()
    compacting.harness.flush()
    assert compacting.look(1000) == 1
    assert compacting.cleaner.urgency > 0.5


def test_a_pass_is_urgent_when_it_takes_long_or_room_is_short(compacting: Compacting) -> None:
    compacting.fill(compacting.topic("t"))
    assert compacting.look() == 1
    compacting.look(pacing.LONGEST_MS // 2)
    assert compacting.cleaner.urgency == pytest.approx(0.5)
    compacting.harness.broker.store.set_tight(True)
    compacting.look(0)
    assert compacting.cleaner.urgency == 1


def test_an_overdue_log_has_a_part_of_its_lag(compacting: Compacting) -> None:
    late = compacting.topic("late", max_compaction_lag_ms="3600000", min_cleanable_dirty_ratio="1.0")
    compacting.fill(late)
    assert compacting.look(3_601_000) == 1
    compacting.look(int(3_600_000 * pacing.LAG_SHARE))
    assert compacting.cleaner.urgency == pytest.approx(1.0)

    lags = {"max_compaction_lag_ms": "3600000", "min_cleanable_dirty_ratio": "0.01"}
    waiting = compacting.topic("waiting", **lags)
    compacting.fill(waiting)
    compacting.look()
    compacting.look(3_601_000)
    compacting.clean()
    compacting.look(int(3_600_000 * pacing.LAG_SHARE) // 2)
    assert compacting.cleaner.urgency == pytest.approx(0.5, rel=0.1), "overdue while it waits for its turn"


def test_lags(compacting: Compacting) -> None:
    young = compacting.topic("young", min_compaction_lag_ms="3600000")
    compacting.fill(young)
    assert compacting.look() == 0
    assert compacting.look(3_600_000) == 1
    compacting.clean()

    late = compacting.topic("late", max_compaction_lag_ms="3600000", min_cleanable_dirty_ratio="1.0")
    compacting.fill(late)
    assert compacting.look() == 0
    assert compacting.look(3_600_000) == 1
    compacting.clean()
    assert compacting.look() == 0


def test_disabled(tmp_path: Path) -> None:
    compacting = Compacting(tmp_path, log_cleaner_enable="false")
    compacting.fill(compacting.topic("t"))
    assert compacting.look() == 0


def test_damage_takes_out_only_the_cleaning_of_that_log(
    compacting: Compacting, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, well = compacting.topic("damaged"), compacting.topic("well")
    compacting.fill(damaged)
    compacting.fill(well, 10)
    path = Path(damaged.segments[0].path())
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    assert compacting.look() == 1
    compacting.clean()
    (error,) = compacting.cleaner.uncleanable.values()
    assert error.path == str(path)
    assert "CRC" in error.reason
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        f"damaged-0 is not compacted any more, its segments stay as they are: {error}"
    ]
    assert path.read_bytes() == content
    assert damaged.offline is None
    assert not [name for name in os.listdir(damaged.folder) if name.endswith(".cleaned")]
    assert [str(one.topic_partition) for one in compacting.cleaner.passes] == ["well-0"]
    compacting.clean()
    assert "well 0 10" in compacting.checkpoint()
    assert compacting.look(600_000) == 0


@pytest.mark.parametrize(
    "error", [JobFailedError("the process died"), OSError(errno.ENOSPC, "no space left")]
)
def test_a_pass_that_fails_is_tried_again_later(compacting: Compacting, error: Exception) -> None:
    log = compacting.topic("t")
    compacting.fill(log)
    assert compacting.look() == 1
    _end(compacting, Outcome(error=error))
    leftover = Path(log.folder) / f"{0:020d}.log.cleaned"
    leftover.write_bytes(b"half")
    assert compacting.look(1000) == 0
    assert not leftover.exists()
    assert compacting.look(BACKOFF_MS) == 0
    assert compacting.cleaner.dirtiest_ratio > 0.5, "it is to be seen that it stays dirty"
    assert compacting.look(60_000) == 1
    compacting.clean()
    assert "t 0 20" in compacting.checkpoint()


def _end(compacting: Compacting, outcome: Outcome) -> Submitted:
    submitted, done, _ = compacting.queue._waiting.popleft()
    done(outcome)
    return submitted


def test_a_deleted_topic_and_a_changed_policy_end_the_pass(compacting: Compacting) -> None:
    gone, changed = compacting.topic("gone"), compacting.topic("changed")
    compacting.fill(gone)
    assert compacting.look() == 1
    compacting.harness.call(
        DeleteTopicsRequest(topics=[DeleteTopicState(name="gone")], timeout_ms=1, topic_names=[])
    )
    compacting.look(1000)
    assert compacting.queue._waiting[0][0].is_cancelled
    compacting.clean()
    assert compacting.cleaner.passes == {}

    compacting.fill(changed)
    assert compacting.look() == 1
    changed.config = changed.config.with_changes(cleanup_policy=("delete",))
    before = [segment.base_offset for segment in changed.segments]
    compacting.queue.run_next()  # it has ended just before it was cancelled
    assert [segment.base_offset for segment in changed.segments] == before
    assert compacting.look() == 0
    assert compacting.checkpoint() == ""
    assert not [name for name in os.listdir(changed.folder) if name.endswith(".cleaned")]


def test_a_segment_that_cannot_be_swapped_in_leaves_the_log_dirty(compacting: Compacting) -> None:
    log = compacting.topic("t", cleanup_policy="compact,delete")
    compacting.fill(log)
    compacting.fill(log)
    assert compacting.look() == 1
    log.delete_segments_before(20)
    compacting.clean()
    assert compacting.checkpoint() == ""
    assert compacting.look() == 0
    assert compacting.look(60_000) == 1
    compacting.clean()
    assert "t 0 40" in compacting.checkpoint()


def test_a_segment_that_our_own_fault_kept_out_leaves_the_log_dirty(
    compacting: Compacting, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = compacting.topic("t")
    compacting.fill(log)
    compacting.look()

    def fail(*_: object, **__: object) -> bool:
        raise RuntimeError("ours")

    monkeypatch.setattr("odradek.broker.cleaner.swap_in", fail)
    (current,) = compacting.cleaner.passes.values()
    with pytest.raises(RuntimeError):
        compacting.cleaner._take(current, None)
    assert not current.is_complete


def test_what_the_scrub_reads_while_segments_are_replaced_is_no_damage(compacting: Compacting) -> None:
    scrubber = compacting.harness.broker.scrubber
    log = compacting.topic("t", min_cleanable_dirty_ratio="0.0")
    compacting.fill(log, 20, keys=20)
    compacting.fill(log, 21, keys=21)
    checks = JobQueue(compacting.harness.broker.store.disk)
    scrubber.jobs = checks
    compacting.harness.clock.advance(1 << 40)
    scrubber.run()
    assert len(checks) == 1
    compacting.fill(log, 1)
    assert compacting.look() == 1
    compacting.clean()
    checks.run_next()
    assert log.offline is None
    assert scrubber.progress.flaws == 0


def test_what_compaction_leaves_of_aborted_transactions_is_no_damage(compacting: Compacting) -> None:
    log = compacting.topic("t", min_cleanable_dirty_ratio="0.0")
    now_ms = compacting.harness.clock.now_ms()
    for sequence in (0, 1):
        record = Record(0, now_ms, b"key", b"aborted")
        data = build_batch(
            [record], producer_id=7, producer_epoch=0, base_sequence=sequence, transactional=True
        )
        log.append(memoryview(data), now_ms, leader_epoch=0, vouched=Vouched.VERIFIED)
    marker = memoryview(build_marker(7, 0, False, 0, now_ms))
    log.append(marker, now_ms, leader_epoch=0, origin=COORDINATOR)
    compacting.fill(log)
    assert compacting.look() == 1
    compacting.clean()
    scrubber = compacting.harness.broker.scrubber
    checks = JobQueue(compacting.harness.broker.store.disk)
    scrubber.jobs = checks
    compacting.harness.clock.advance(1 << 40)
    scrubber.run()
    checks.run_next()
    assert log.offline is None
    assert scrubber.progress.flaws == 0
    assert log.aborted_transactions(0, log.log_end_offset) == [(7, 0)]
