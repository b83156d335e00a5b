"""Produce requests whose batches have their offsets and wait to be written, together, before anybody is told.

The server has them written when it has handled what one read of a connection brought, before any answer
leaves; the broker does so before it handles anything else, so that a client sees its own batches.
"""

import logging
from typing import TYPE_CHECKING

from odradek.broker.requests import Parts
from odradek.core.errors import ApiError

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.repeated_produce import Acknowledgement, Target
    from odradek.storage.gathering import GatheringLog

log = logging.getLogger("odradek.gathered")


class Gathered:
    """``entries``, in the order of their offsets: where to, correlation id, the answer that counts once the
    batch is written, who waits for its commit, and the offset after it."""

    __slots__ = ("_broker", "entries")

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self.entries: list[tuple[Target, int, Parts, Acknowledgement | None, int]] = []

    def write(self) -> None:
        """Writes all of them, one call for each log; an answer whose batch the disk refused is replaced."""
        broker = self._broker
        entries, self.entries = self.entries, []
        refused: dict[GatheringLog, ApiError] = {}
        written: list[GatheringLog] = []
        for partition_log, error in broker.store.volume.write_gathered(broker.clock.now_ms()):
            if error is None:
                written.append(partition_log)
            else:
                refused[partition_log] = error
        for target, correlation_id, parts, wait, next_offset in entries:
            refusal = refused.get(target.partition.log) if refused else None
            if refusal is not None:
                # In place: the list is in the connection's hands already, but not sent.
                parts[:] = target.refusal(correlation_id, refusal.code, refusal.message)
                if wait is not None:
                    wait.committed()
            elif wait is not None:
                broker.await_commit(target.partition, next_offset, wait)
                broker.want_flush(is_urgent=True)
        for partition_log in written:
            self._tell(partition_log)

    def _tell(self, written: "GatheringLog") -> None:
        partition = self._broker.topics.partition_of(written)
        if partition is None:
            return
        if written.high_watermark < written.log_end_offset:
            self._broker.want_flush(is_urgent=bool(partition.fetch_waiters))
        elif partition.fetch_waiters or partition.waiters:
            try:
                partition.high_watermark_moved()
            except Exception:
                log.exception("someone who waited for %s could not be told", partition.topic_partition)
