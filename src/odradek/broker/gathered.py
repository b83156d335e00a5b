"""What waits to be written together, before anybody is told: batches of producers, commits of groups.

Produce requests have their offsets already; of OffsetCommit there are the steps of their machine. The server
has them written when it has handled what one read of a connection brought, before any answer leaves; the
broker does so before it handles anything else, so that a client sees its own writes, and a machine nothing
between a step and its records.
"""

import logging
from typing import TYPE_CHECKING, Any

from odradek.broker.requests import Parts
from odradek.core.errors import ApiError

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.repeated_produce import Acknowledgement, Target
    from odradek.broker.shard_runner import Independent, ShardRunner
    from odradek.storage.gathering import GatheringLog

log = logging.getLogger("odradek.gathered")


class Gathered:
    """``entries``, in the order of their offsets: where to, correlation id, the answer that counts once the
    batch is written, who waits for its commit, and the offset after it.

    Invariant: ``is_pending`` = there is an entry or a step.
    """

    __slots__ = ("_broker", "_steps", "entries", "is_pending")

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._steps: dict[ShardRunner[Any], list[Independent]] = {}
        self.entries: list[tuple[Target, int, Parts, Acknowledgement | None, int]] = []
        self.is_pending = False

    def add_step(self, runner: "ShardRunner[Any]", independent: "Independent") -> None:
        """A step that depends on no other one that is gathered, nor they on it."""
        self._steps.setdefault(runner, []).append(independent)
        self.is_pending = True

    def write(self) -> None:
        """Writes everything."""
        self.is_pending = False
        if self.entries or self._broker.store.volume.gathering:
            self._write_batches()
        if self._steps:
            steps, self._steps = self._steps, {}
            for runner, independent in steps.items():
                runner.perform_together(independent)

    def _write_batches(self) -> None:
        """One call for each log; an answer whose batch the disk refused is replaced."""
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
