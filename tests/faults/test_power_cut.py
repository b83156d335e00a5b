"""The power is cut at any moment of a broker on real files: what was acknowledged is there, as it was.

``ODRADEK_POWER_SECONDS`` is how long power is cut for (default 20), ``ODRADEK_POWER_SEED`` decides where.
``make soak-power`` goes on with trace after trace.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odradek.broker.partitions import Partition
from tests.faults.power.campaign import Campaign, Cut, first_finding, story
from tests.faults.power.platter import Leftover
from tests.faults.power.recorder import Create, Event, Rename, SyncBegin, SyncEnd, Told, Trace
from tests.faults.power.workload import PLAIN, record

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("ODRADEK_POWER_SECONDS", "20"))
SEED = int(os.environ.get("ODRADEK_POWER_SEED", str(time.time_ns() % 1_000_000)))
TRACE_S = 5.0
PLANTED_S = 20.0


EVERYTHING = {
    "acked",
    "read",
    "kept",
    "committed",
    "committed-txn",
    "abort-txn",
    "trimmed",
    "deleted",
}


def has_everything(trace: Trace) -> bool:
    """Whether clients were told of everything that they do, and a compaction has ended."""
    events = trace.events[:]
    words = {event.what for event in events if isinstance(event, Told)}
    return words >= EVERYTHING and any(
        isinstance(event, Rename) and event.new.endswith(".log.swap") for event in events
    )


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("power") / "data"
        return record(folder, TRACE_S, SEED, patch, is_enough=has_everything)


@pytest.mark.timeout(SECONDS + 600)
def test_what_a_power_cut_leaves_recovers(trace: Trace) -> None:
    campaign = Campaign(trace.events, SEED)
    finding = campaign.run(SECONDS)
    assert finding is None, story(trace, SEED, finding)
    assert campaign.cuts >= 20


def _syncs(events: list[Event], is_meant: Callable[[str], bool]) -> set[int]:
    """The numbers of the syncs of files whose path is meant."""
    files = {event.file for event in events if isinstance(event, Create) and is_meant(event.path)}
    return {event.number for event in events if isinstance(event, SyncBegin) and event.target in files}


def _is_segment(path: str) -> bool:
    return path.startswith(PLAIN) and path.endswith(".log")


def _without(events: list[Event], syncs: set[int]) -> list[Event]:
    """The trace of a broker that leaves these syncs out."""
    return [event for event in events if not (isinstance(event, SyncEnd) and event.number in syncs)]


def test_segments_that_are_never_synced_are_found(trace: Trace) -> None:
    assert Campaign(_without(trace.events, _syncs(trace.events, _is_segment)), SEED).run(PLANTED_S)


def test_names_that_are_never_synced_are_found(trace: Trace) -> None:
    of_folders = {
        event.number
        for event in trace.events
        if isinstance(event, SyncBegin) and not isinstance(event.target, int)
    }
    assert Campaign(_without(trace.events, of_folders), SEED).run(PLANTED_S)


def test_one_fdatasync_left_out_is_found(trace: Trace) -> None:
    """Of some that are, as another one soon makes up for one in which nobody was waiting."""
    syncs = sorted(_syncs(trace.events, lambda path: _is_segment(path) and path.startswith(f"{PLAIN}-0/")))
    for number in random.Random(SEED).sample(syncs, 8):
        dropped = trace.events.index(SyncEnd(number))
        events = _without(trace.events, {number})
        following = [at for at in range(dropped, len(events)) if isinstance(events[at], SyncEnd)][:10]
        if first_finding(events, [Cut(at, Leftover.NOTHING, 0) for at in following]):
            return
    pytest.fail("nobody missed any of them")


def test_an_answer_before_the_flush_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def await_commit(partition: Partition, next_offset: int, waiter: Any) -> None:
        waiter.committed()

    monkeypatch.setattr(Partition, "await_commit", await_commit)
    trace = record(tmp_path / "data", 2.0, SEED, monkeypatch, is_sound=False)
    assert Campaign(trace.events, SEED).run(PLANTED_S)
