"""Which segments have outlived ``retention.ms`` and ``retention.bytes``.

Source: ``UnifiedLog.deleteOldSegments``.
"""

from typing import NamedTuple

from odradek.storage.checking import is_youngest_known
from odradek.storage.log import Log


class RetentionPlan(NamedTuple):
    """Delete whole segments below ``delete_before``; ``roll`` first when even the active one is due."""

    delete_before: int
    roll: bool


def retention_plan(log: Log, now_ms: int) -> RetentionPlan | None:
    """What is due at ``now_ms``, None when nothing is. Only what is committed is ever deleted.

    Segments that lie below the log's start go whatever the policy.
    """
    segments = log.segments
    count = 0
    while count + 1 < len(segments) and segments[count + 1].base_offset <= log.log_start_offset:
        count += 1
    if log.config.is_deleted:
        count = max(count, _count_old(log, now_ms), _count_beyond_size(log))
    while count > 0 and _end_offset(log, count - 1) > log.high_watermark:
        count -= 1
    if count == 0:
        return None
    return RetentionPlan(_end_offset(log, count - 1), count == len(segments))


def _end_offset(log: Log, number: int) -> int:
    return log.segments[number + 1].base_offset if number + 1 < len(log.segments) else log.log_end_offset


def _count_old(log: Log, now_ms: int) -> int:
    retention_ms = log.config.retention_ms
    if retention_ms < 0:
        return 0
    for number, segment in enumerate(log.segments):
        is_empty_end = segment is log.active and segment.size == 0
        if is_empty_end or now_ms - segment.youngest_ms() <= retention_ms:
            return number
        if not is_youngest_known(segment):
            segment.rebuild_indexes()  # one bit of the time index must not delete anything
            if now_ms - segment.youngest_ms() <= retention_ms:
                return number
    return len(log.segments)


def _count_beyond_size(log: Log) -> int:
    retention_bytes = log.config.retention_bytes
    if retention_bytes < 0:
        return 0
    excess = log.size - retention_bytes
    if excess < 0:
        return 0
    for number, segment in enumerate(log.segments):
        is_empty_end = segment is log.active and segment.size == 0
        if is_empty_end or excess < segment.size:
            return number
        excess -= segment.size
    return len(log.segments)
