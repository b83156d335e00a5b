"""Some hundred seeds of the simulation, and by name those that have found something.

``make soak-simulation`` runs as many more as one likes.
"""

import os
from multiprocessing import get_context

import pytest

from odradek.testing import Simulation
from odradek.testing.simulation.__main__ import describe
from odradek.testing.simulation.simulation import Result

SEEDS = 200
RUN_MS_OF_FINDINGS = 12_000
FOUND = {
    "a new producer's second batch was taken though its first had been refused by the disk": 1016,
    "a sealed segment lost its unsynced end at a batch's boundary, and what followed it stayed": 1095,
    "what a failed sync had dropped was taken for durable by the next start": 1012,
    "batches in flight before a clean stop were not recognized across the end of a segment": 1219,
    "a torn partition.metadata took a partition offline after a power cut": 1053,
    "DeleteRecords met a disk that fails and was answered UNKNOWN_SERVER_ERROR": 1168,
    "a partition that was offline was noted as flushed by the flush after": 58,
    "a flush failed on a full disk, and nothing said so to the next start": 34,
    "a batch behind one that was refused, as there was no room for a log, was taken once there was": 8543,
    "a flush could not be noted on a full disk, and damage was cut off as a torn tail": 20052,
    "the journal's word on a log that did not tell its topic was lost, and damage was cut off": 20543,
    "a deletion that the metadata log had failed to take was answered as done when it was asked again": 7413,
    "a log for which there was no descriptor at a start was offline until the next": 20582,
    "a power cut after a crash took what was known to be flushed, and damage was cut off": 91196,
}
"""What went wrong once → a seed that showed it. The fixes have unit tests of their own."""


TRANSACTION_SEEDS = 40
LOST_STATES_SEEDS = 40
COMPACTING_SEEDS = 40
ROTTING_SEEDS = 40
COMPACTING = {
    "log.cleaner.backoff.ms": "500",
    "log.cleaner.min.cleanable.ratio": "0.01",
    "log.roll.ms": "700",
}
AT_ONCE = {"log.segment.delete.delay.ms": "0"}
"""What was replaced is removed while there is still harm."""


def simulate_compacting(seed: int) -> Result:
    return Simulation(seed, run_ms=9_000, overrides=COMPACTING | AT_ONCE).run()


def simulate(seed: int) -> Result:
    return Simulation(seed).run()


@pytest.mark.timeout(900)
def test_some_hundred_seeds() -> None:
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        results = list(pool.imap_unordered(simulate, range(SEEDS)))
    failed = [result for result in results if result.problems]
    assert not failed, "\n\n".join(map(describe, failed[:3]))
    assert sum(result.counts["crashes in recovery"] for result in results) > SEEDS // 10


@pytest.mark.timeout(900)
def test_seeds_with_busy_compaction() -> None:
    """Of the groups' commits, with crashes and power cuts at any step of it."""
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        results = list(pool.imap_unordered(simulate_compacting, range(COMPACTING_SEEDS)))
    failed = [result for result in results if result.problems]
    assert not failed, "\n\n".join(map(describe, failed[:3]))
    assert sum("compacted __consumer_offsets" in line for result in results for line in result.trace) > 100


def test_compaction_beside_transactions_and_pauses() -> None:
    result = Simulation(20033, run_ms=9_000, transactions=True, overrides=COMPACTING).run()
    assert not result.problems, describe(result)


@pytest.mark.parametrize("seed", [9100017, 9100679])
def test_logs_for_which_there_was_no_room_are_recovered_in_the_end(seed: int) -> None:
    result = Simulation(seed, transactions=True).run()
    assert not result.problems, describe(result)
    assert any("no room on the disk to recover" in line for line in result.trace)


def test_a_log_for_whose_recovery_there_is_no_descriptor_is_waited_for_by_transactions() -> None:
    """It alone knew, after a power cut, that one of them had been committed."""
    result = Simulation(70039, run_ms=9_000, transactions=True).run()
    assert not result.problems, describe(result)
    assert any("too many files are open" in line for line in result.trace)


@pytest.mark.timeout(900)
def test_seeds_with_bits_that_flip() -> None:
    """What is damaged is not served, and nobody else notices: see docs/damage.md."""
    rotting = [seed for seed in range(20_000, 20_400) if Simulation(seed).rots][:ROTTING_SEEDS]
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        results = list(pool.imap_unordered(simulate, rotting))
    failed = [result for result in results if result.problems]
    assert not failed, "\n\n".join(map(describe, failed[:3]))
    lines = [line for result in results for line in result.trace]
    assert sum("flips a bit" in line for line in lines) > ROTTING_SEEDS // 2
    assert sum("is offline" in line and "CRC" in line for line in lines) > ROTTING_SEEDS // 4


def simulate_transactions(seed: int) -> Result:
    return Simulation(seed, run_ms=9_000, transactions=True).run()


@pytest.mark.timeout(900)
def test_seeds_with_transactions() -> None:
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        results = pool.map(simulate_transactions, range(TRANSACTION_SEEDS))
    assert sum(result.counts.get("transactions", 0) for result in results) > TRANSACTION_SEEDS
    assert sum(result.counts.get("copied", 0) for result in results) > 10 * TRANSACTION_SEEDS
    failed = [result for result in results if result.problems]
    assert not failed, "\n\n".join(map(describe, failed[:3]))


def simulate_lost_states(seed: int) -> Result:
    return Simulation(seed, run_ms=9_000, transactions=True, only_power_cuts=True).run()


@pytest.mark.timeout(900)
def test_seeds_with_states_of_transactions_that_power_cuts_take() -> None:
    """While what was written because of them is there: see docs/transactions.md."""
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        results = list(pool.imap_unordered(simulate_lost_states, range(LOST_STATES_SEEDS)))
    failed = [result for result in results if result.problems]
    assert not failed, "\n\n".join(map(describe, failed[:3]))
    assert sum("they are put back" in line for result in results for line in result.trace) > 1


@pytest.mark.parametrize("finding", FOUND)
def test_what_a_seed_has_found(finding: str) -> None:
    result = Simulation(FOUND[finding], run_ms=RUN_MS_OF_FINDINGS).run()
    assert not result.problems, describe(result)
