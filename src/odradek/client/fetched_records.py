"""The records in the bytes that a Fetch answered, without those of aborted transactions.

Source: KIP-98; ``CompletedFetch`` of Kafka's consumer.
"""

from collections.abc import Iterable

from odradek.records.batch import BatchHeader, check_crc, iterate_batches
from odradek.records.record import Record, read_records

Aborted = tuple[int, int]
"""The producer id of an aborted transaction and the first offset that it wrote."""


def fetched_records(
    buffer: memoryview | None, offset: int, aborted: Iterable[Aborted] = ()
) -> tuple[list[Record], int]:
    """The data records from ``offset`` on, and the offset after the last batch.

    ``aborted`` are the transactions that a read_committed Fetch named beside the bytes.
    Raises ``CorruptBatchError`` and ``InvalidRecordsError``.
    """
    records: list[Record] = []
    if not buffer:
        return records, offset
    filter_ = _AbortedFilter(aborted)
    next_offset = offset
    for position, header in iterate_batches(buffer):
        check_crc(buffer, position, header)
        next_offset = header.next_offset
        batch = buffer[position : position + header.size]
        if filter_.passes(header, batch):
            found = read_records(batch)
            records += found if header.base_offset >= offset else [r for r in found if r.offset >= offset]
    return records, max(next_offset, offset)


class _AbortedFilter:
    """Follows which producers are inside an aborted transaction, batch by batch.

    A producer is inside from the first offset of its transaction up to its abort marker.
    """

    __slots__ = ("_inside", "_to_come")

    def __init__(self, aborted: Iterable[Aborted]) -> None:
        self._to_come = sorted(aborted, key=lambda transaction: transaction[1], reverse=True)
        self._inside: set[int] = set()

    def passes(self, header: BatchHeader, batch: memoryview) -> bool:
        """Whether the batch holds records for the reader; control batches never do."""
        while self._to_come and self._to_come[-1][1] <= header.last_offset:
            self._inside.add(self._to_come.pop()[0])
        if header.is_control:
            if header.producer_id in self._inside and _is_abort(batch):
                self._inside.discard(header.producer_id)
            return False
        return not (header.is_transactional and header.producer_id in self._inside)


def _is_abort(batch: memoryview) -> bool:
    from odradek.records.control import read_marker

    records = read_records(batch)
    marker = read_marker(records[0]) if records else None
    return marker is not None and not marker.commit
