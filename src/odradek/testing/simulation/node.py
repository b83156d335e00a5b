"""A broker in a simulation: started, flushed, killed and started again as ``server/`` and a supervisor would.

The flusher's thread is one call of the simulation that lets other events run while it waits for the disk.
"""

import errno
import random
from collections.abc import Callable, Mapping

from odradek.broker.broker import Broker, Flush
from odradek.broker.requests import Answer, Session
from odradek.cluster.file_store import FileMetadataStore
from odradek.core.config.broker import broker_config
from odradek.core.errors import DamageError, StartupError
from odradek.storage.jobs import JobQueue
from odradek.storage.recovering import AT_ONCE_BYTES
from odradek.storage.store import LogStore
from odradek.testing.simulation.disk import PowerCut, SimulatedDisk, Volume
from odradek.testing.simulation.loop import Loop
from odradek.testing.simulation.network import Connection, Network
from odradek.testing.simulation.trace import Trace

FOLDER = "/data"
LINGER_MS = 100
HOUSEKEEPING_MS = 1_000
JOB_MS = 20
"""How long a job takes: all of it happens at its end."""
RECOVERY_MS = 300
"""How long a job that recovers logs takes, at most."""
REMOVED_BYTES = 256
"""So much at a time is cut off replaced segments, which are small here."""
_READS = frozenset({"pread", "read_file"})
_WAITING_CALLS = frozenset({"sync_data", "sync_file_system"})
"""Calls in which the flusher's thread waits, holding no lock."""


class Node:
    """One broker through all its lives on one volume."""

    def __init__(self, loop: Loop, rng: random.Random, trace: Trace, overrides: Mapping[str, str]) -> None:
        self.loop = loop
        self.rng = rng
        self.trace = trace
        self.volume = Volume(rng, loop.now_ms)
        self.network = Network(loop, rng, self)
        self.config = broker_config({"log.dirs": FOLDER, **overrides})
        self.broker: Broker | None = None
        self.disk = SimulatedDisk(self.volume, rng)
        self._jobs = JobQueue(self.disk)
        self._recoveries = JobQueue(self.disk)
        self.is_paused = False
        self.lives = self.crashes_in_recovery = 0
        self.offline: dict[str, str] = {}
        """Partitions that are or were offline in this life, and why."""
        self.on_power_cut: Callable[[], None] = lambda: None
        self.on_flushed: Callable[[], None] = lambda: None
        self.had_faults = False
        """Whether the disk ever failed a call in a way that only a broken one does."""
        self.calls_until_crash: int | None = None
        self.crash_cuts_power = False
        self.fault: Callable[[str, str], int] = lambda call, path: 0
        """The error number with which a disk call is to fail, or 0."""
        self._ready: dict[Connection, None] = {}
        self._flush_in_flight = self._flush_is_next = self._lingers = False
        self._recovery_goes_on = False
        self._is_flushing = False
        self._timer_at = float("inf")

    @property
    def is_up(self) -> bool:
        return self.broker is not None

    @property
    def is_recovering(self) -> bool:
        """Whether it is up, and some logs are not."""
        return self.broker is not None and bool(self.broker.store.recovering.sizes)

    # -- life and death

    def start(self) -> bool:
        """Open the data folder and serve; whether that went well. A crash may come in between."""
        self.lives += 1
        self.disk = SimulatedDisk(self.volume, self.rng)
        self.disk.hook = self._disk_call
        self.offline.clear()
        self._flush_in_flight = self._flush_is_next = self._lingers = self._is_flushing = False
        self._recovery_goes_on = False
        self._timer_at = float("inf")
        self.trace.note("node", f"starts, life {self.lives}")
        try:
            store = LogStore.open(
                FOLDER,
                self.disk,
                self.loop,
                self.rng,
                node_id=self.config.node_id,
                at_once_bytes=0 if self.lives % 3 else AT_ONCE_BYTES,
            )
            metadata = FileMetadataStore.open(
                FOLDER, self.disk, store.cluster_id, node_id=self.config.node_id, was_clean=store.was_clean
            )
            self.broker = Broker(self.config, store, metadata, self.loop, self.rng)
        except PowerCut:
            return False
        except (OSError, StartupError, DamageError) as error:
            self.trace.note("node", f"cannot start: {error}")
            self.crash(cuts_power=False)
            return False
        self.broker.timers.on_earlier = self._arm_timer
        self.broker.cleaner.jobs = self.broker.scrubber.jobs = self._jobs = JobQueue(self.disk)
        self._recoveries = JobQueue(self.disk)
        self.broker.recovery.jobs = self._recoveries
        self.broker.recovery.job_logs = 1
        self.broker.store.remover.piece_bytes = REMOVED_BYTES
        self.note_offline()
        self._later(HOUSEKEEPING_MS, self._housekeep)
        self._later(0, self._recover)
        self._enter(self._arm_timer)
        return self.is_up

    def note_offline(self) -> None:
        """Remember which partitions are offline now."""
        assert self.broker is not None
        for partition, log in self.broker.store.logs.items():
            if log.offline is not None and not log.is_recovering:
                self.offline.setdefault(str(partition), str(log.offline))

    def crash(self, *, cuts_power: bool) -> None:
        """The process is gone; with ``cuts_power`` so is all that the platter does not have."""
        self.trace.note("node", "power cut" if cuts_power else "killed")
        self.calls_until_crash = None
        self.crashes_in_recovery += self.is_recovering
        self.disk.kill()
        self.broker = None
        self._ready.clear()
        if cuts_power:
            self.on_power_cut()
            self.volume.lose_power()
        self.network.cut()

    def stop(self) -> None:
        """A clean stop, as SIGTERM asks for it."""
        if self.broker is None or self._flush_in_flight:
            return
        self.trace.note("node", "stops")
        self.network.cut()

        def close(broker: Broker) -> None:
            last = broker.begin_flush()
            if last is not None:
                last.run()
                broker.finish_flush(last)
            broker.close()

        broker = self.broker
        try:
            self._enter(lambda: close(broker))
        except OSError as error:
            self.trace.note("node", f"could not stop cleanly: {error}")
        if self.broker is not None:
            self.disk.kill()
            self.broker = None
            self._ready.clear()

    # -- serving

    def handle(self, frame: memoryview, session: Session) -> Answer:
        answer: Answer = None

        def work() -> None:
            nonlocal answer
            if self.broker is not None:
                answer = self.broker.handle(frame, session)

        self._enter(work)
        return answer if self.is_up else None

    def answered(self, connection: Connection) -> None:
        self._ready[connection] = None

    def _enter(self, work: Callable[[], object]) -> None:
        """Every way into the broker: a crash ends here, and what became ready or dirty is seen to."""
        try:
            work()
            self._settle()
        except PowerCut:
            pass

    def _later(self, delay_ms: float, work: Callable[[], object]) -> None:
        """Enter after a while, unless this life is over by then; a paused process comes to it later."""
        life = self.lives

        def due() -> None:
            if self.broker is None or self.lives != life:
                return
            if self.is_paused:
                self.loop.after(50, due)
            else:
                self._enter(work)

        self.loop.after(delay_ms, due)

    def _settle(self) -> None:
        while self._ready:
            ready, self._ready = self._ready, {}
            for connection in ready:
                connection.drain()
        broker = self.broker
        if broker is None or not broker.has_unflushed or self._flush_in_flight:
            return
        if broker.flush_is_urgent:
            if not self._flush_is_next:
                self._flush_is_next = True
                self._later(self.rng.random() * 0.2, self._flush)
        elif not self._lingers:
            self._lingers = True
            self._later(LINGER_MS, self._flush)

    def _flush(self) -> None:
        self._flush_is_next = self._lingers = False
        broker = self.broker
        if broker is None or self._flush_in_flight:
            return
        flush = broker.begin_flush()
        if flush is not None:
            self._flush_in_flight = True
            is_slow = self.rng.random() < 0.05
            self._later(self.rng.random() * (500 if is_slow else 2), lambda: self._run_flush(flush))

    def _run_flush(self, flush: Flush) -> None:
        self._is_flushing = True
        try:
            flush.run()
        finally:
            self._is_flushing = False

        def finish() -> None:
            self._flush_in_flight = False
            assert self.broker is not None
            self.broker.finish_flush(flush, self._flush_if_urgent)
            self.on_flushed()
            self.note_offline()

        self._later(self.rng.random(), finish)

    def _flush_if_urgent(self) -> None:
        if self.broker is not None and self.broker.flush_is_urgent:
            self._flush()

    def _arm_timer(self) -> None:
        assert self.broker is not None
        deadline_ms = self.broker.timers.next_deadline_ms()
        if deadline_ms is not None and deadline_ms < self._timer_at:
            self._timer_at = deadline_ms
            self._later(max(deadline_ms - self.loop.elapsed_ms, 0), self._run_timers)

    def _run_timers(self) -> None:
        assert self.broker is not None
        self._timer_at = float("inf")
        self.broker.run_timers()
        self._arm_timer()

    def _housekeep(self) -> None:
        assert self.broker is not None
        self._later(HOUSEKEEPING_MS, self._housekeep)
        for chore in self.broker.housekeep():
            self._later(self.rng.random() * 5, lambda chore=chore: self._attempt(chore))  # type: ignore[misc]
        if self.rng.random() < 0.3:
            # More often than every five minutes, which no simulation lasts.
            self.broker.store.apply_retention(self.loop.now_ms())
        if self._jobs:
            self._later(JOB_MS, self._run_job)
        self._go_on_recovering()  # with what there was no room for
        self.note_offline()

    def _run_job(self) -> None:
        if self._jobs:  # after a pause two may be due, for one job
            self._jobs.run_next()

    def _recover(self) -> None:
        """The jobs of the recovery: each takes a while, in which others are served."""
        assert self.broker is not None
        self.broker.recovery.run()
        self._go_on_recovering()

    def _go_on_recovering(self) -> None:
        if self._recoveries and not self._recovery_goes_on:
            self._recovery_goes_on = True
            self._later(self.rng.random() * RECOVERY_MS, self._recover_next)

    def _recover_next(self) -> None:
        self._recovery_goes_on = False
        self._recoveries.run_next()
        self.note_offline()
        self._recover()

    def _attempt(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except OSError as error:
            self.trace.note("node", f"could not tidy up: {error}")

    # -- the disk

    def _disk_call(self, call: str, path: str) -> None:
        if self.calls_until_crash is not None:
            self.calls_until_crash -= 1
            if self.calls_until_crash < 0:
                self.trace.note("disk", f"{call} {path}")
                self.crash(cuts_power=self.crash_cuts_power)
                raise PowerCut
        number = self.fault(call, path)
        if number:
            # No disk that works tells a reader that it is full.
            is_broken = number == errno.EIO or (number == errno.ENOSPC and call in _READS)
            self.had_faults = self.had_faults or is_broken
            self.trace.note("disk", f"{call} {path} fails with {errno.errorcode[number]}")
            raise OSError(number, errno.errorcode[number], path)
        if self._is_flushing and call in _WAITING_CALLS:
            self._is_flushing = False
            self.loop.run_for(self.rng.random() * 3)
            self._is_flushing = not self.disk.is_dead
