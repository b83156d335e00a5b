"""The server: listeners, connections, the broker's timers and its flushes, on one event loop.

Every entry from the loop into the broker ends in :meth:`Server.settle`: answers that became ready go out,
and what became dirty is flushed: soon when someone waits for it, with what else comes in meanwhile; else it
lingers, so that acks=1 traffic does not pay for a disk flush per wake-up.
"""

import asyncio
import errno
import logging
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from socket import gaierror

from odradek.broker.broker import Broker, Flush
from odradek.broker.maintenance import Chore
from odradek.broker.table import OFFSET_COMMIT, writes
from odradek.core.clock import Clock
from odradek.core.config.listeners import Listener
from odradek.core.errors import StartupError
from odradek.server.buffers import BufferPool
from odradek.server.cold_reader import ColdReader
from odradek.server.connection import Connection
from odradek.server.flusher import Flusher
from odradek.server.histogram import Histogram
from odradek.server.limits import ConnectionLimits
from odradek.server.memory import RequestMemory
from odradek.server.riders import PROMPT_S, Riders
from odradek.server.worker import Worker
from odradek.storage.pacing import IDLE_COMMITS

log = logging.getLogger("odradek.server")

LINGER_S = 0.1
"""How long what nobody waits for may stay unflushed; shorter, flusher and writers meet on the same pages."""
OVERLAP_FROM_BYTES = 256 * 1024
"""From so much on that is not flushed the disk is kept busy; less waits for what comes meanwhile."""
RIDE_S = 0.001
"""How long a flush that somebody waits for is put off while one wake-up after the other brings requests."""
SPARE_DESCRIPTORS = 256
"""Never given to connections: without one a flush cannot be made, nor a segment opened."""
HOUSEKEEPING_S = 1.0
BACKLOG = 1_024
WRITE_BUFFER_HIGH_BYTES = 4 * 1024 * 1024
WRITE_BUFFER_LOW_BYTES = 1024 * 1024


class Server:
    """Runs one broker on one loop; heavy work in child processes, without ``uses_processes`` in threads."""

    def __init__(
        self, broker: Broker, clock: Clock, loop: asyncio.AbstractEventLoop, *, uses_processes: bool = True
    ) -> None:
        self.broker = broker
        self.clock = clock
        self.pool = BufferPool()
        self.ready: list[Connection] = []
        """Connections whose oldest answer may have become ready."""
        self.now_ms = clock.monotonic_ms()
        """Monotonic time, a second coarse: idleness needs no better, and the hot path no clock."""
        self.max_frame_bytes = broker.config.socket_request_max_bytes
        self._loop = loop
        self._connections: set[Connection] = set()
        self._listeners: dict[Listener, asyncio.Server] = {}
        self._reopening: asyncio.Task[None] | None = None
        self._flusher = Flusher(loop, self._flushed)
        self.turns = self._flusher.turns
        self._flush_in_flight = False
        self._is_stopping = False
        self.flush_seconds = self._flusher.seconds
        self.loop_delay_seconds = Histogram()
        self._housekeeping_due_s = 0.0
        self._written = self._committed = 0
        """Requests as of the last housekeeping."""
        self._lacks_threads = False
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = limit == resource.RLIM_INFINITY
        highest = 1 << 31 if unlimited else limit - min(SPARE_DESCRIPTORS, limit // 4)
        self.limits = ConnectionLimits(broker, clock, highest)
        self.memory = RequestMemory(broker.config.queued_max_request_bytes)
        self.riders = Riders(time.monotonic)
        self._flush_is_next = self._no_request_came = False
        self._flush_due_s = 0.0
        self._hold_handle: asyncio.TimerHandle | None = None
        """There while the next flush waits for those who will be back in a moment."""
        self._slices: list[Callable[[], None]] = []
        """What sends one each, once the next flush has begun."""
        self._linger_handle: asyncio.TimerHandle | None = None
        self._timer_handle: asyncio.TimerHandle | None = None
        self._housekeeping_handle: asyncio.TimerHandle | None = None
        broker.timers.on_earlier = self._arm_timer
        self._cleaner_worker = Worker(
            loop,
            max(broker.config.log_cleaner_threads, 1),
            in_processes=uses_processes,
            sign=self.turns.sign,
            after=self.settle,
        )
        broker.cleaner.jobs = self._cleaner_worker
        self._cold_reader = ColdReader(loop, broker.store.volume.disk, self.turns, after=self.settle)
        broker.loader = self._cold_reader
        broker.store.remover.turn = self.turns.piece
        self._scrub_worker = Worker(loop, in_processes=uses_processes, after=self.settle)
        broker.scrubber.jobs = self._scrub_worker
        self._recovery_worker = Worker(
            loop,
            self._recovery_limit(),
            is_urgent=True,
            in_processes=uses_processes,
            after=self.settle,
            inherited=(broker.store.lock,),
        )
        broker.recovery.jobs = self._recovery_worker

    def _recovery_limit(self) -> int:
        return min(self.broker.config.num_recovery_threads_per_data_dir, os.cpu_count() or 1)

    async def start(self, listeners: Sequence[Listener]) -> list[tuple[str, int]]:
        """Opens the listeners; returns the addresses that they are bound to.

        Raises :class:`StartupError` when one cannot be opened.
        """
        addresses = []
        for listener in listeners:
            server = await self._open(listener)
            addresses += [socket.getsockname()[:2] for socket in server.sockets]
        self.broker.on_config = self._config_changed
        self._arm_timer()
        self._housekeep()
        self.settle()
        return addresses

    async def _open(self, listener: Listener) -> asyncio.Server:
        try:
            server = await self._loop.create_server(
                lambda: Connection(self, listener.name),
                listener.host or None,
                listener.port,
                backlog=BACKLOG,
                reuse_address=True,
            )
        except OSError as error:
            raise _cannot_listen(listener, error) from error
        self._listeners[listener] = server
        return server

    def _config_changed(self) -> None:
        """Most is read where it counts; but somebody has to open and close listeners."""
        self._cleaner_worker.limit = max(self.broker.config.log_cleaner_threads, 1)
        self._recovery_worker.limit = self._recovery_limit()
        if set(self.broker.config.listeners) != self._listeners.keys() and self._reopening is None:
            self._reopening = self._loop.create_task(self._reopen())

    async def _reopen(self) -> None:
        """Opens the listeners that were added and closes those that are gone, with their connections."""
        try:
            wanted = self.broker.config.listeners
            for listener in [known for known in self._listeners if known not in wanted]:
                self._listeners.pop(listener).close()
                log.info("%s is closed", listener)
                for connection in list(self._connections):
                    if connection.session.listener == listener.name:
                        connection.close(f"its listener {listener} was taken away")
            for listener in wanted:
                if listener not in self._listeners:
                    try:
                        await self._open(listener)
                        log.info("listening on %s now", listener)
                    except StartupError as error:
                        log.error("%s", error)
        finally:
            self._reopening = None

    def opened(self, connection: Connection) -> None:
        """Admits a connection, now or in a while, or closes it when a limit is reached."""
        host = connection.session.client_host
        transport = connection.transport
        self._connections.add(connection)
        transport.set_write_buffer_limits(WRITE_BUFFER_HIGH_BYTES, WRITE_BUFFER_LOW_BYTES)
        reason = self.limits.enter(host, transport.get_extra_info("socket").fileno())
        if reason is not None:
            connection.close(reason)
        elif early_ms := self.limits.early_ms(host):
            connection.mute(True)
            reason = f"connection_creation_rate of {host} is exceeded"
            self._loop.call_later(early_ms / 1_000, connection.close, reason)
        elif delay_ms := self.limits.delay_ms():
            self.broker.quotas.mute(connection.session, delay_ms)

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.limits.leave(connection.session.client_host)

    def connection_counts(self) -> Counter[str]:
        """Open connections by the name of their listener."""
        return Counter(connection.session.listener for connection in self._connections)

    def settle(self) -> None:
        """Sends what became ready and starts the flush that became due."""
        while self.ready:
            ready, self.ready = self.ready, []
            for connection in ready:
                connection.drain()
        broker = self.broker
        if not broker.has_unflushed or self._flush_in_flight:
            return
        if broker.flush_is_urgent:
            self._no_request_came = False
            if not self._flush_is_next:
                self._flush_is_next = True
                self._flush_due_s = time.monotonic() + RIDE_S  # the loop's own clock counts milliseconds
                self._loop.call_soon(self._flush_when_quiet)
            elif self._hold_handle is not None and (
                not self.riders.are_awaited() or self._has_much_to_flush()
            ):
                self._end_hold()
                self._loop.call_soon(self._flush_when_quiet)
        elif self._linger_handle is None:
            self._linger_handle = self._loop.call_later(LINGER_S, self._flush)

    def settle_soon(self) -> None:
        self._loop.call_soon(self.settle)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def slice_soon(self, send: Callable[[], None]) -> None:
        """Has a slice of a long answer sent when others had their turn, and behind the beginning of a flush
        that is due: it is put off by wake-ups, each of which would be as long as a slice."""
        if self._flush_is_next and self._hold_handle is None:
            self._slices.append(send)
        else:
            self._loop.call_soon(send)

    def _let_slices_go(self) -> None:
        slices, self._slices = self._slices, []
        for send in slices:
            self._loop.call_soon(send)

    def _flush_when_quiet(self) -> None:
        """Begins a flush of little behind the first wake-up that brings no request, so that what others have
        sent meanwhile rides along: clients that were answered together come back one after the other. It
        waits longer for those who are sure to be back in a moment (:class:`Riders`)."""
        if not self._flush_is_next or self._hold_handle is not None:
            return
        came = not self._no_request_came
        if time.monotonic() >= self._flush_due_s or (came and self._has_much_to_flush()):
            self._flush()
        elif came:
            self._no_request_came = True  # unless the next wake-up tells otherwise
            self._loop.call_soon(self._flush_when_quiet)
        elif self.riders.are_awaited():
            self._hold_handle = self._loop.call_later(PROMPT_S, self._flush_without_the_late)
            self._let_slices_go()
        else:
            self._flush()

    def _has_much_to_flush(self) -> bool:
        return self.broker.store.volume.unflushed_bytes() >= OVERLAP_FROM_BYTES

    def _end_hold(self) -> None:
        if self._hold_handle is not None:
            self._hold_handle.cancel()
            self._hold_handle = None

    def _flush_without_the_late(self) -> None:
        self.riders.give_up()
        self._flush()

    def _flush(self) -> None:
        self._flush_is_next = False
        self._let_slices_go()
        self._end_hold()
        if self._linger_handle is not None:
            self._linger_handle.cancel()
            self._linger_handle = None
        if self._flush_in_flight or self._is_stopping:
            return
        flush = self.broker.begin_flush()
        if flush is not None:
            self._flush_in_flight = True
            self._flusher.submit(flush)
        else:
            self.settle()

    def _flushed(self, flush: Flush) -> None:
        self._flush_in_flight = False
        try:
            self.broker.finish_flush(flush, self._flush_if_urgent)
        except Exception:
            log.exception("the end of a flush failed")
        self.riders.answered(self.ready)
        self.settle()

    def _flush_if_urgent(self) -> None:
        """Two halves of the clients take turns, one on the disk, one here. Begun a moment later, when the
        answers are out, a flush would carry what they bring in too, and from then on all would wait
        together: for the disk, and the disk for them. For little that is better: a flush has its price, and
        what it carries comes for nothing (commits of groups: twice as many in a second)."""
        broker = self.broker
        if broker.flush_is_urgent and broker.store.volume.unflushed_bytes() >= OVERLAP_FROM_BYTES:
            self._flush()

    def _arm_timer(self) -> None:
        if self._timer_handle is not None:
            self._timer_handle.cancel()
            self._timer_handle = None
        deadline_ms = self.broker.timers.next_deadline_ms()
        if deadline_ms is not None:
            delay_ms = max(deadline_ms - self.clock.monotonic_ms(), 0)
            self._timer_handle = self._loop.call_later(delay_ms / 1_000, self._run_timers)

    def _run_timers(self) -> None:
        self._timer_handle = None
        self.broker.run_timers()
        self._arm_timer()
        self.settle()

    def _housekeep(self) -> None:
        now_s = self._loop.time()
        if self._housekeeping_due_s:
            self.loop_delay_seconds.observe(max(now_s - self._housekeeping_due_s, 0.0))
        self._housekeeping_due_s = now_s + HOUSEKEEPING_S
        self._housekeeping_handle = self._loop.call_later(HOUSEKEEPING_S, self._housekeep)
        self.now_ms = self.clock.monotonic_ms()
        limit_ms = self.broker.config.connections_max_idle_ms
        if limit_ms > 0:
            # What was active since the last look bears that look's time: nobody may be closed too early.
            oldest_ms = self.now_ms - limit_ms - int(HOUSEKEEPING_S * 1_000)
            for connection in list(self._connections):
                if connection.last_active_ms < oldest_ms:
                    connection.close(f"idle for longer than connections.max.idle.ms={limit_ms}")
        try:
            for chore in self.broker.housekeep():
                self._in_thread(_attempt, chore)
            self._tell_children()
        except Exception:
            log.exception("housekeeping failed, it goes on in a second")
        self.settle()

    def _in_thread(self, work: Callable[..., None], *arguments: object) -> asyncio.Future[None] | None:
        """None when no thread can be started: the executor does it then as soon as one can be."""
        try:
            future = self._loop.run_in_executor(None, work, *arguments)
        except RuntimeError as error:
            if not self._lacks_threads:
                self._lacks_threads = True
                log.warning(
                    "%s: there are too many of them, or too many processes; what tidies up waits", error
                )
            return None
        self._lacks_threads = False
        return future

    def _tell_children(self) -> None:
        """How gently they are to work. Flushes do not tell of clients: some are for what they do."""
        self.turns.show_urgency(self.broker.cleaner.urgency)
        apis = self.broker.apis
        written, committed = writes(apis), apis[OFFSET_COMMIT].requests
        if written != self._written or committed > self._committed + IDLE_COMMITS:
            self.turns.show_written()
        self._written, self._committed = written, committed

    async def stop(self, *, is_abrupt: bool = False) -> None:
        """Closes listeners and connections and flushes what was appended; the broker can then be closed.

        With ``is_abrupt`` connections are reset and nothing more is flushed, as in a crash.
        """
        self._is_stopping = True
        self.broker.store.remover.stop()
        if is_abrupt:
            for connection in list(self._connections):
                connection.transport.abort()
        for listener in self._listeners.values():
            listener.close()
        self.broker.timers.on_earlier = None
        for handle in (self._timer_handle, self._housekeeping_handle):
            if handle is not None:
                handle.cancel()
        for blocking in (self._cleaner_worker, self._scrub_worker, self._recovery_worker, self._flusher):
            stopped = self._in_thread(blocking.stop)
            if stopped is None:
                blocking.stop()
            else:
                await stopped
        self.turns.close()
        self._cold_reader.stop()
        # What the flusher finished is announced by callbacks that are due now.
        await asyncio.sleep(0)
        last = None if is_abrupt else self.broker.begin_flush()
        if last is not None:
            last.run()
            self.broker.finish_flush(last)
        self.settle()
        for connection in list(self._connections):
            connection.end()
        await asyncio.sleep(0)


def _cannot_listen(listener: Listener, error: OSError) -> StartupError:
    """The loop's own text names the address once more, so the cause is told by its number."""
    where = f"{listener.host}:{listener.port}" if listener.host else f"port {listener.port} of all interfaces"
    if isinstance(error, gaierror):
        reason = "the host name cannot be resolved; name an address of this machine with --listen HOST:PORT"
    elif error.errno == errno.EADDRINUSE:
        reason = (
            "the port is in use; stop the program that holds it, or choose another with --listen HOST:PORT"
        )
    elif error.errno == errno.EADDRNOTAVAIL:
        reason = "this machine has no such address; name one that it has with --listen HOST:PORT"
    else:
        cause = os.strerror(error.errno) if error.errno else str(error)
        reason = f"{cause}; choose another address with --listen HOST:PORT"
    return StartupError(f"cannot listen on {where}: {reason}")


def _attempt(chore: Chore) -> None:
    try:
        chore()
    except OSError as error:
        log.warning("could not tidy up, will be tried again: %s", error)
