"""Putting a compacted segment in the place of the old ones: a crash leaves either the one or the others.

The renames, in their order; the new segment's bytes and names are on disk before the first of them:

    <base>.index.cleaned, .timeindex.cleaned, .txnindex.cleaned → .swap
    <base>.log.cleaned → <base>.log.swap        from here on the new segment counts
    files of the old segments → .deleted
    <base>.index.swap, .timeindex.swap, .txnindex.swap → without suffix
    <base>.log.swap → <base>.log

A start that finds ``.log.swap`` finishes what is left to do; one that finds ``.log.cleaned`` forgets it. The
new segment tells by its last batch where it ends, and so which old ones it covers; it has all four files.
Source: ``LocalLog.replaceSegments``, ``LogLoader``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odradek.core.errors import DamageError
from odradek.storage import names
from odradek.storage.disk import Disk
from odradek.storage.segment import Segment

if TYPE_CHECKING:
    from odradek.storage.compact_job import CleanedSegment
    from odradek.storage.log import Log

INDEX_SUFFIXES = (names.OFFSET_INDEX, names.TIME_INDEX, names.TRANSACTION_INDEX)


def swap_in(log: Log, cleaned: CleanedSegment, *, is_settled: bool = False) -> bool:
    """Replace segments of ``log`` by ``cleaned``; False, and it is thrown away, when the log has changed.

    ``is_settled`` says that what was known to be flushed when the pass began has survived already.
    Nothing may build on it before the next flush. Raises ``OSError``; failing half-way it takes the log
    offline, and a start finishes or forgets it.
    """
    disk = log.volume.disk
    new = Segment(disk, log.folder, cleaned.base_offset, cleaned.size, 0, is_active=False)
    number = _fits(log, cleaned)
    if number is None:
        discard(disk, log.folder, cleaned)
        return False
    old = log.segments[number : number + len(cleaned.replaced)]
    path = new.path()
    try:
        # Once offsets are missing, only what is known to be flushed tells a gap from a lost end of a segment.
        if not is_settled:
            log.volume.settle_flushed_offsets()
        for suffix in INDEX_SUFFIXES:
            disk.rename(new.path(suffix) + names.CLEANED, new.path(suffix) + names.SWAP)
        disk.rename(path + names.CLEANED, path + names.SWAP)
    except OSError:
        discard(disk, log.folder, cleaned)
        raise
    try:
        for segment in old:
            segment.close()
            log.set_aside(segment.file_names(), are_replaced=True)
        for suffix in INDEX_SUFFIXES:
            disk.rename(new.path(suffix) + names.SWAP, new.path(suffix))
        disk.rename(path + names.SWAP, path)
    except OSError as error:
        log.go_offline(DamageError(path, 0, f"a compacted segment was swapped in half-way: {error}"))
        raise
    new.first_timestamp = cleaned.first_timestamp
    new.max_timestamp = cleaned.max_timestamp
    new.max_timestamp_offset = cleaned.max_timestamp_offset
    log.replace_segments(number, len(old), new)
    return True


def _fits(log: Log, cleaned: CleanedSegment) -> int | None:
    """The number of the first segment to be replaced; None when it does not fit any more."""
    if log.offline is not None:
        return None
    bases = [segment.base_offset for segment in log.segments[:-1]]
    if cleaned.base_offset not in bases:
        return None
    number = bases.index(cleaned.base_offset)
    if tuple(bases[number : number + len(cleaned.replaced)]) != cleaned.replaced:
        return None
    if log.segments[number + len(cleaned.replaced)].base_offset < cleaned.end_offset:
        return None
    path = f"{log.folder}/{names.file_name(cleaned.base_offset, names.LOG)}{names.CLEANED}"
    disk = log.volume.disk
    return number if disk.exists(path) and disk.file_size(path) == cleaned.size else None


def discard(disk: Disk, folder: str, cleaned: CleanedSegment) -> None:
    """Remove a compacted segment that is of no use, its log last: it tells a start to forget the others."""
    for suffix in (*INDEX_SUFFIXES, names.LOG):
        path = f"{folder}/{names.file_name(cleaned.base_offset, suffix)}"
        disk.remove(path + names.SWAP)
        disk.remove(path + names.CLEANED)


def remove_unfinished(disk: Disk, folder: str) -> None:
    """Remove what a pass that failed has left; none may be under way."""
    for entry in disk.entries(folder):
        if entry.name.endswith(names.CLEANED):
            disk.remove(f"{folder}/{entry.name}")


def finish_swaps(disk: Disk, folder: str, found: list[str]) -> None:
    """At a start: finish swaps that counted already, forget those that did not; ``found`` are the names.

    Kafka's own too, which renames the log first: then its indexes alone are left over.
    """
    for name in [name for name in found if name.endswith(names.LOG + names.SWAP)]:
        _finish_swap(disk, folder, name.removesuffix(names.SWAP), found)
    for name in [name for name in found if name.endswith(names.SWAP)]:
        path = f"{folder}/{name}"
        log_name = name.split(".")[0] + names.LOG
        if disk.exists(path):
            if log_name + names.CLEANED in found:
                disk.remove(path)
            else:
                disk.rename(path, path.removesuffix(names.SWAP))
    disk.sync_folder(folder)


def _finish_swap(disk: Disk, folder: str, log_name: str, found: list[str]) -> None:
    parsed = names.parse_file_name(log_name)
    if parsed is None:
        return
    base_offset, path = parsed[0], f"{folder}/{log_name}{names.SWAP}"
    swap = Segment(disk, folder, base_offset, disk.file_size(path), 0, is_active=False, suffix=names.SWAP)
    end_offset = swap.end_by_walking()
    swap.close()
    for suffix in INDEX_SUFFIXES:
        final = f"{folder}/{names.file_name(base_offset, suffix)}"
        for temporary in (final + names.CLEANED, final + names.SWAP):
            if disk.exists(temporary):
                disk.rename(temporary, final)
    for name in found:
        other = names.parse_file_name(name)
        if other is not None and base_offset < other[0] < end_offset:
            disk.remove(f"{folder}/{name}")
    disk.sync_folder(folder)
    disk.rename(path, f"{folder}/{log_name}")
    disk.sync_folder(folder)
