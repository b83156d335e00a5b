"""The simulation sees what it is there for: each bug, planted in a good broker, is found by some seed."""

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest

from odradek.broker import transactions
from odradek.broker.group_shard import GroupRunner
from odradek.broker.partitions import OFFSETS_TOPIC, Partition
from odradek.coordinator import classic_membership
from odradek.coordinator.offsets import Offsets
from odradek.coordinator.transactions import decisions
from odradek.storage.flush import FlushTicket
from odradek.storage.log import Log
from odradek.storage.log_state import LogState
from odradek.storage.producers import Producers
from odradek.storage.store import LogStore
from odradek.testing import Simulation
from odradek.testing.simulation.disk import SimulatedDisk

SEEDS = range(40)
Plant = Callable[[pytest.MonkeyPatch], None]


def _no_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FlushTicket, "_sync_each", lambda ticket: None)
    patch.setattr(FlushTicket, "_sync_file_system", lambda ticket: True)


def _no_folder_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedDisk, "sync_folder", lambda disk, path: None)
    patch.setattr(FlushTicket, "_sync_file_system", lambda ticket: False)


def _answer_early(patch: pytest.MonkeyPatch) -> None:
    def await_commit(partition: Partition, next_offset: int, waiter: Any) -> None:
        waiter.committed()

    patch.setattr(Partition, "await_commit", await_commit)


def _serve_unflushed(patch: pytest.MonkeyPatch) -> None:
    def begin_flush(log: LogState, original: Callable[[LogState], Any] = LogState.begin_flush) -> Any:
        log.high_watermark = log.log_end_offset
        return original(log)

    patch.setattr(LogState, "begin_flush", begin_flush)


def _take_duplicates(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Producers, "check", lambda producers, header, **options: None)


def _forget_log_starts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LogStore, "_log_start_checkpoint", lambda store: (f"{store.folder}/nothing", b""))


def _forget_commits(patch: pytest.MonkeyPatch) -> None:
    from odradek.coordinator.shard import GroupShard

    def replay(shard: GroupShard, offset: int, producer_id: int, key: bytes, value: bytes | None) -> None:
        if offset % 7:
            original(shard, offset, producer_id, key, value)

    original = GroupShard.replay
    patch.setattr(GroupShard, "replay", replay)


def _lose_a_tail(patch: pytest.MonkeyPatch) -> None:
    def load(store: LogStore, *arguments: Any) -> None:
        original(store, *arguments)
        for log in store.logs.values():
            if log.offline is None and log.log_end_offset - log.log_start_offset > 20:
                log.truncate_to(log.log_end_offset - 1)

    original = LogStore._load_logs
    patch.setattr(LogStore, "_load_logs", load)


def _serve_what_stands_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LogState, "check_online", lambda log: None)


def _forget_recovered_records(patch: pytest.MonkeyPatch) -> None:
    original = LogStore.recovered

    def recovered(store: LogStore, part: Any, now_ms: int) -> Log | None:
        log = original(store, part, now_ms)
        if log is not None and log.offline is None and log.log_end_offset - log.log_start_offset > 20:
            log.truncate_to(log.log_end_offset - 1)
        return log

    patch.setattr(LogStore, "recovered", recovered)


PLANTED: dict[str, Plant] = {
    "a flush that syncs nothing": _no_sync,
    "names that are never synced": _no_folder_sync,
    "acks=all answered before the flush": _answer_early,
    "unflushed records served": _serve_unflushed,
    "duplicates taken": _take_duplicates,
    "log starts not kept": _forget_log_starts,
    "commits forgotten": _forget_commits,
    "a record lost at each start": _lose_a_tail,
    "logs served that are being recovered": _serve_what_stands_in,
    "a record lost in recovery": _forget_recovered_records,
}


def test_damage_that_is_served_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.storage.log.check_batches", lambda *arguments: None)
    monkeypatch.setattr("odradek.storage.recovery.crc32c", lambda covered: ANY)
    rotting = (seed for seed in range(20_000, 20_400) if Simulation(seed).rots)
    assert any(Simulation(seed).run().problems for seed in rotting)


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[bug](monkeypatch)
    assert any(Simulation(seed).run().problems for seed in SEEDS)


def _hide_aborted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Log, "aborted_transactions", lambda log, start, upper: [])


def _take_every_end_for_a_commit(patch: pytest.MonkeyPatch) -> None:
    original = Producers.end_transaction

    def end(producers: Producers, header: Any, marker: Any, timestamp: int) -> Any:
        return original(producers, header, marker._replace(commit=True), timestamp)

    patch.setattr(Producers, "end_transaction", end)


@pytest.mark.parametrize("plant", [_hide_aborted, _take_every_end_for_a_commit])
def test_a_planted_bug_of_transactions_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert any(Simulation(seed, transactions=True).run().problems for seed in SEEDS)


def _apply_aborted_offsets(patch: pytest.MonkeyPatch) -> None:
    original = Offsets.end_transaction
    patch.setattr(Offsets, "end_transaction", lambda offsets, who, is_commit: original(offsets, who, True))


def _forget_offsets_of_open_transactions(patch: pytest.MonkeyPatch) -> None:
    """A start drops what was not decided yet when it was read."""
    original = GroupRunner.start

    def start(runner: GroupRunner) -> None:
        original(runner)
        runner.shard.offsets.pending.clear()
        runner.shard.offsets.open_transactions.clear()

    patch.setattr(GroupRunner, "start", start)


def _tell_unstable_offsets(patch: pytest.MonkeyPatch) -> None:
    original = Offsets.fetch
    patch.setattr(
        Offsets, "fetch", lambda offsets, request, require_stable: original(offsets, request, False)
    )


def _take_offsets_of_members_that_were_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(classic_membership, "validate_transactional_commit", lambda *arguments: None)


COPYING = [
    _apply_aborted_offsets,
    _forget_offsets_of_open_transactions,
    _tell_unstable_offsets,
    _take_offsets_of_members_that_were_lost,
]


@pytest.mark.parametrize("plant", COPYING)
def test_a_copy_that_is_not_exactly_once_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found = (Simulation(seed, run_ms=9_000, transactions=True).run().problems for seed in SEEDS)
    assert any("copied up to" in problem for problems in found for problem in problems)


def test_states_that_power_cuts_take_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are written together with the state that names their partition, not after it: without what a
    start does about states that are lost, records of one transaction get into another."""
    monkeypatch.setattr(decisions, "restore", lambda *arguments: [])
    monkeypatch.setattr(transactions, "_open_and_ended", lambda broker: ({}, {}))
    assert any(
        Simulation(seed, run_ms=9_000, transactions=True, only_power_cuts=True).run().problems
        for seed in range(100)
    )


def test_states_that_power_cuts_take_from_offsets_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ever ends what such a transaction wants to commit for a group, which then cannot go on."""
    original = transactions._open_and_ended

    def without_offsets(broker: Any) -> Any:
        still_open, ended = original(broker)
        others = {
            producer: frozenset(name for name in partitions if name[0] != OFFSETS_TOPIC)
            for producer, partitions in still_open.items()
        }
        return others, ended

    monkeypatch.setattr(transactions, "_open_and_ended", without_offsets)
    assert any(
        Simulation(seed, run_ms=9_000, transactions=True, only_power_cuts=True).run().problems
        for seed in range(100)
    )


def test_ends_that_power_cuts_leave_to_markers_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markers are written together with the record that decides, not after it: without what a start does
    about decisions that are lost, a transaction is seen in part if its producer does not ask again."""
    monkeypatch.setattr(transactions.Transactions, "ended", lambda *arguments: {})
    assert any(
        Simulation(seed, run_ms=9_000, transactions=True, only_power_cuts=True).run().problems
        for seed in range(40, 100)
    )
