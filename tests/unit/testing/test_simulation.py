"""The simulation replays exactly, and its disk and its checker do what they say."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odradek.core.ids import new_id
from odradek.storage.disk import LockHeldError, write_all
from odradek.testing import Simulation
from odradek.testing.simulation.__main__ import describe
from odradek.testing.simulation.disk import SECTOR, PowerCut, SimulatedDisk, Volume
from odradek.testing.simulation.history import Entry, History, TopicPromise, parse_value, value_of

TOPIC = new_id(random.Random(1))
KEY = (TOPIC, 0)
PROGRAM = """
from odradek.testing import Simulation
print(Simulation(7, run_ms=2_000).run().digest)
"""


def test_a_run_replays_exactly() -> None:
    first, second = (Simulation(7, run_ms=2_000).run() for _ in range(2))
    assert first.trace == second.trace
    assert first.digest == second.digest != Simulation(8, run_ms=2_000).run().digest


def test_a_run_replays_exactly_in_another_process() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(run.stdout.strip())
    assert digests == {Simulation(7, run_ms=2_000).run().digest}


def test_the_command_that_is_shown_with_a_failing_seed_runs_it_again(tmp_path: Path) -> None:
    keys = {"log.roll.ms": "700", "log.cleaner.backoff.ms": "500"}
    options: dict[str, Any] = {"overrides": keys, "transactions": True, "only_power_cuts": True}
    result = Simulation(7, run_ms=900, **options).run()
    _, _, command = describe(result).splitlines()[-1].partition("replay: python ")
    environment = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, *command.split()], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "trace.txt").read_text().splitlines() == result.trace


class TestDisk:
    @pytest.fixture
    def volume(self) -> Volume:
        return Volume(random.Random(3), lambda: 0)

    def power_cuts(self, change: int, seeds: int = 200) -> set[bytes]:
        """What may be left of a synced file of two sectors after a write of ``change`` bytes behind it."""
        left = set()
        for seed in range(seeds):
            volume = Volume(random.Random(seed), lambda: 0)
            disk = SimulatedDisk(volume, random.Random(seed))
            disk.make_folder("/d")
            fd = disk.open("/d/f", create=True)
            write_all(disk, fd, b"a" * (2 * SECTOR), 0)
            disk.sync(fd)
            disk.sync_folder("/")
            disk.sync_folder("/d")
            write_all(disk, fd, b"b" * change, 2 * SECTOR)
            disk.kill()
            volume.lose_power()
            left.add(SimulatedDisk(volume, random.Random(0)).read_file("/d/f"))
        return left

    def test_what_was_synced_stays(self) -> None:
        assert self.power_cuts(0, 5) == {b"a" * (2 * SECTOR)}
        assert all(content.startswith(b"a" * (2 * SECTOR)) for content in self.power_cuts(700))

    def test_writes_are_torn_forgotten_and_reordered(self) -> None:
        left = {content[2 * SECTOR :] for content in self.power_cuts(3 * SECTOR)}
        whole, nothing, hole = b"b" * SECTOR, b"", bytes(SECTOR)
        assert {nothing, whole * 3, whole + hole + whole, hole * 2 + whole} <= left
        assert any(len(content) % SECTOR for content in left)

    def test_a_name_that_was_not_synced_may_be_gone(self, volume: Volume) -> None:
        outcomes = set()
        for seed in range(20):
            volume = Volume(random.Random(seed), lambda: 0)
            disk = SimulatedDisk(volume, random.Random(seed))
            disk.make_folder("/d")
            disk.sync_folder("/")
            disk.sync(disk.open("/d/f", create=True))
            disk.rename("/d/f", "/d/g")
            volume.lose_power()
            outcomes.add(tuple(entry.name for entry in disk.entries("/d")))
        assert outcomes == {(), ("f",), ("g",)}

    def test_a_failed_sync_forgets_what_it_should_have_written(self, volume: Volume) -> None:
        disk = SimulatedDisk(volume, random.Random(1))
        fd = disk.open("/f", create=True)
        disk.sync_folder("/")
        disk.pwrite(fd, b"abc", 0)

        def fail(call: str, path: str) -> None:
            if call == "sync_data":
                raise OSError(5, "EIO")

        disk.hook = fail
        with pytest.raises(OSError, match="EIO"):
            disk.sync_data(fd)
        disk.hook = lambda call, path: None
        disk.sync_data(fd)
        assert disk.pread(fd, 3, 0) == b"abc"
        volume.lose_power()
        assert b"abc" not in disk.read_file("/f")

    def test_a_full_disk_takes_a_part(self, volume: Volume) -> None:
        disk = SimulatedDisk(volume, random.Random(1))
        fd = disk.open("/f", create=True)
        volume.capacity = 10
        assert disk.pwrite(fd, b"x" * 16, 0) == 10
        with pytest.raises(OSError, match="No space"):
            disk.pwrite(fd, b"x", 10)
        assert disk.space("/") == (10, 0)

    def test_a_dead_process_does_nothing_any_more(self, volume: Volume) -> None:
        disk = SimulatedDisk(volume, random.Random(1))
        fd = disk.open("/f", create=True)
        disk.lock("/lock")
        with pytest.raises(LockHeldError):
            SimulatedDisk(volume, random.Random(1)).lock("/lock")
        disk.kill()
        for call in (lambda: disk.pwrite(fd, b"x", 0), lambda: disk.exists("/f"), lambda: disk.close(fd)):
            with pytest.raises(PowerCut):
                call()
        SimulatedDisk(volume, random.Random(1)).lock("/lock")


class TestHistory:
    """Each promise is broken once."""

    @pytest.fixture
    def history(self) -> History:
        history = History()
        history.topics[TOPIC] = TopicPromise("t", True, -1)
        for offset in range(10):
            history.record_acknowledged(KEY, offset, Entry("p", offset, 0))
        return history

    @staticmethod
    def whole() -> list[tuple[int, Entry]]:
        return [(offset, Entry("p", offset, 0)) for offset in range(10)]

    def test_a_good_log(self, history: History) -> None:
        history.check_log(KEY, 0, self.whole(), 0)
        assert history.problems == []

    @pytest.mark.parametrize(
        "harm",
        [
            lambda log: log.pop(),
            lambda log: log.pop(4),
            lambda log: log.insert(4, log[3]),
            lambda log: log.append((10, Entry("p", 3, 0))),
            lambda log: log.append((10, Entry("p", 9, 0))),
            lambda log: log.reverse(),
            lambda log: log.__setitem__(5, (5, Entry("q", 5, 0))),
        ],
    )
    def test_a_bad_log(self, history: History, harm: object) -> None:
        log = self.whole()
        harm(log)  # type: ignore[operator]
        history.check_log(KEY, 0, log, 0)
        assert history.problems

    def test_what_was_deleted_on_demand_may_be_gone_and_nothing_else(self, history: History) -> None:
        history.records_deletion_asked(KEY, 4)
        history.check_log(KEY, 4, self.whole()[4:], 0)
        assert history.problems == []
        history.check_log(KEY, 5, self.whole()[5:], 0)
        assert history.problems

    def test_what_was_deleted_does_not_come_back(self, history: History) -> None:
        history.records_deletion_asked(KEY, 4)
        history.records_deleted(KEY, 4)
        history.check_log(KEY, 3, self.whole()[3:], 0)
        assert history.problems

    def test_what_retention_may_take(self, history: History) -> None:
        history.topics[TOPIC] = TopicPromise("t", True, 1_000)
        history.check_log(KEY, 10, [], 1_000)
        assert history.problems == []
        history.check_log(KEY, 10, [], 999)
        assert history.problems

    def test_what_was_read_changes(self, history: History) -> None:
        history.record_read(KEY, 10, Entry("p", 10, 0))
        history.record_read(KEY, 10, Entry("q", 0, 0))
        assert history.problems

    def test_commits(self, history: History) -> None:
        history.commit_asked("g", "t", 0, 5)
        history.commit_read("g", "t", 0, -1, history.least_commit("g", "t", 0))
        history.commit_acknowledged("g", "t", 0, 5)
        history.commit_read("g", "t", 0, 5, history.least_commit("g", "t", 0))
        assert history.problems == []
        history.commit_read("g", "t", 0, 4, history.least_commit("g", "t", 0))
        history.commit_read("g", "t", 0, 6, history.least_commit("g", "t", 0))
        assert len(history.problems) == 2

    def test_values(self) -> None:
        assert parse_value(value_of("p1.2", 17, 40), 5) == Entry("p1.2", 17, 5)
