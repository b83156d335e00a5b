"""Compaction done by hand: plan, job and swap in a row, as the broker's cleaner does them."""

from collections.abc import Callable
from typing import Any

from odradek.storage.compact_job import CleanedSegment, CompactionResult, compact
from odradek.storage.compaction import CompactionPlan, measure_dirt, plan_compaction
from odradek.storage.jobs import Unmetered
from odradek.storage.log import Log
from odradek.storage.swap import swap_in

from .conftest import NOW_MS

MEMORY = 1 << 20


def make_plan(
    log: Log, now_ms: int = NOW_MS, checkpoint: int | None = None, memory_bytes: int = MEMORY
) -> CompactionPlan | None:
    """The plan for one pass, however little dirt there is; None when there is none."""
    dirt = measure_dirt(log, checkpoint, now_ms)
    return None if dirt is None else plan_compaction(dirt, now_ms, memory_bytes, 0.9)


def run_plan(
    log: Log, plan: CompactionPlan, on_part: Callable[[Any], None] | None = None
) -> CompactionResult:
    """Do the work of ``plan`` and swap in what comes of it."""
    parts: list[CleanedSegment] = []
    result = compact(log.volume.disk, plan, Unmetered(on_part or parts.append))
    for part in parts:
        assert swap_in(log, part)
    return result


def clean(
    log: Log, now_ms: int = NOW_MS, checkpoint: int | None = None, memory_bytes: int = MEMORY
) -> CompactionResult | None:
    """One pass over ``log``; None when there is nothing to do."""
    plan = make_plan(log, now_ms, checkpoint, memory_bytes)
    return None if plan is None else run_plan(log, plan)
