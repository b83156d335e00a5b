"""Which part of which log is compacted next, and how its segments are put together: plans, nothing is done.

A log is cut in three: what was cleaned before, what is dirty and can be cleaned, and what cannot be cleaned
yet (the active segment, open transactions, what is not flushed, what is younger than the compaction lag).
Source: ``LogCleanerManager``, ``Cleaner.groupSegmentsBySize``; KIP-58 (minimum lag), KIP-354 (maximum lag).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from odradek.storage.checking import transactions_of
from odradek.storage.index import LARGEST_RELATIVE_OFFSET
from odradek.storage.log import Log
from odradek.storage.producers import AbortedTransaction
from odradek.storage.segment import Segment

MOST_SEGMENTS_JOINED = 32
"""In one pass and one segment: swapping it in is a few renames for each, on the event loop."""


class LastRecord(NamedTuple):
    """Of an active producer: the end of its last batch, -1 when only a marker is left, and its epoch."""

    last_data_offset: int
    epoch: int


class Span(NamedTuple):
    """One segment's place and size; ``index_bytes`` is the size of the longer of its two indexes."""

    base_offset: int
    size: int
    index_bytes: int = 0


class CompactionPlan(NamedTuple):
    """Everything that the cleaning of one log needs to know, and nothing that changes meanwhile.

    ``spans`` are the segments below ``upper_offset``, which is not cleaned any more; ``later_bases`` those of
    the sealed segments above, whose transaction indexes count too, and ``active_aborted`` is what the active
    one has. ``memory_bytes`` bounds the offset map.
    """

    folder: str
    spans: tuple[Span, ...]
    later_bases: tuple[int, ...]
    active_aborted: tuple[AbortedTransaction, ...]
    last_records: dict[int, LastRecord]
    first_dirty_offset: int
    upper_offset: int
    now_ms: int
    delete_retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    index_interval_bytes: int
    memory_bytes: int
    load_factor: float


class Dirt(NamedTuple):
    """How dirty a log is. Cleaning goes from ``first_dirty_offset`` up to ``upper_offset``."""

    log: Log
    first_dirty_offset: int
    upper_offset: int
    clean_bytes: int
    cleanable_bytes: int
    is_overdue: bool
    """``max.compaction.lag.ms`` has passed for its oldest dirty segment."""

    @property
    def ratio(self) -> float:
        return self.cleanable_bytes / (self.clean_bytes + self.cleanable_bytes)

    @property
    def is_due(self) -> bool:
        """Whether it is dirty enough, or for too long."""
        return self.is_overdue or self.ratio > self.log.config.min_cleanable_dirty_ratio


def measure_dirt(log: Log, checkpoint: int | None, now_ms: int) -> Dirt | None:
    """What of ``log`` could be cleaned; None when there is nothing.

    ``checkpoint`` is up to where it was cleaned before. May raise DamageError and ``OSError``.
    """
    segments = log.segments
    if len(segments) < 2:
        return None
    first_dirty = log.log_start_offset if checkpoint is None else checkpoint
    if not log.log_start_offset <= first_dirty <= log.log_end_offset:
        first_dirty = log.log_start_offset
    if first_dirty >= log.active.base_offset:
        return None
    bases = [segment.base_offset for segment in segments]
    first_number = _number_of(bases, first_dirty)
    dirty = segments[first_number:-1]
    upper = min(log.active.base_offset, log.flushed_offset, log.last_stable_offset)
    lag_ms = log.config.min_compaction_lag_ms
    if lag_ms > 0:
        young = (one.base_offset for one in dirty if one.youngest_ms() > now_ms - lag_ms)
        upper = min(upper, next(young, upper))
    end_number = _number_of(bases, max(upper, first_dirty))
    upper = bases[end_number]
    cleanable_bytes = sum(segment.size for segment in segments[first_number:end_number])
    if not cleanable_bytes:
        return None
    clean_number = first_number if first_dirty == bases[first_number] else first_number + 1
    clean_bytes = sum(segment.size for segment in segments[:clean_number])
    is_overdue = _is_overdue(dirty, now_ms - log.config.max_compaction_lag_ms)
    return Dirt(log, first_dirty, upper, clean_bytes, cleanable_bytes, is_overdue)


def _number_of(bases: Sequence[int], offset: int) -> int:
    """The last segment that starts at or below ``offset``, the first one for anything lower."""
    return max((number for number, base in enumerate(bases) if base <= offset), default=0)


def _is_overdue(dirty: Iterable[Segment], before_ms: int) -> bool:
    if before_ms <= 0:
        return False
    for segment in dirty:
        if segment.size:
            segment.load_first_timestamp()
            if 0 < segment.first_timestamp < before_ms:
                return True
    return False


def plan_compaction(dirt: Dirt, now_ms: int, memory_bytes: int, load_factor: float) -> CompactionPlan:
    """The plan for one pass over a log. May raise DamageError and ``OSError``."""
    log, upper = dirt.log, dirt.upper_offset
    last_records = {
        producer.producer_id: LastRecord(
            producer.batches[-1].last_offset if producer.batches else -1, producer.epoch
        )
        for producer in log.producers.by_id.values()
    }
    for number, segment in enumerate(log.segments):
        if segment.base_offset >= upper or segment is log.active:
            transactions_of(log.segments, number)  # markers below are met by the pass itself
    return CompactionPlan(
        folder=log.folder,
        spans=tuple(Span(one.base_offset, one.size) for one in log.segments if one.base_offset < upper),
        later_bases=tuple(one.base_offset for one in log.segments[:-1] if one.base_offset >= upper),
        active_aborted=tuple(
            entry for entry in log.active.transaction_index.entries if entry.first_offset < upper
        ),
        last_records=last_records,
        first_dirty_offset=dirt.first_dirty_offset,
        upper_offset=upper,
        now_ms=now_ms,
        delete_retention_ms=log.config.delete_retention_ms,
        segment_bytes=log.config.segment_bytes,
        segment_index_bytes=log.config.segment_index_bytes,
        index_interval_bytes=log.config.index_interval_bytes,
        memory_bytes=memory_bytes,
        load_factor=load_factor,
    )


def group_segments(
    spans: Sequence[Span], upper_offset: int, segment_bytes: int, index_bytes: int
) -> list[list[Span]]:
    """Neighbours that fit into one segment together, by size, index size and range of offsets.

    ``upper_offset`` bounds the offsets of the last one. So segments do not shrink from pass to pass.
    """
    groups: list[list[Span]] = []
    size = indexed = 0
    for number, span in enumerate(spans):
        end_offset = spans[number + 1].base_offset if number + 1 < len(spans) else upper_offset
        size += span.size
        indexed += span.index_bytes
        if (
            groups
            and len(groups[-1]) < MOST_SEGMENTS_JOINED
            and size <= segment_bytes
            and indexed <= index_bytes
            and (not span.size or end_offset - 1 - groups[-1][0].base_offset <= LARGEST_RELATIVE_OFFSET)
        ):
            groups[-1].append(span)
        else:
            groups.append([span])
            size, indexed = span.size, span.index_bytes
    return groups
