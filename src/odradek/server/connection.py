"""One client connection: bytes to frames, frames to the broker, answers back in the order of the requests.

The hot path of the server. It keeps to: no task, no future and no copy per request; one ``writelines`` per
wake-up. Reading stops while too many answers are outstanding or the peer does not read them (back-pressure).
"""

import asyncio
import logging
import os
import struct
from collections import deque
from typing import TYPE_CHECKING, cast

from odradek.broker.requests import Close, Parts, Session, Wait
from odradek.server.buffers import FIRST_LARGEST_BYTES

if TYPE_CHECKING:
    from odradek.server.server import Server

log = logging.getLogger("odradek.connection")

_SIZE = struct.Struct(">i")
MAX_OUTSTANDING = 128
"""Requests of one connection that may be unanswered before it is read no further."""
WRITE_FROM_ANSWERS = 16
"""Answers that are collected at most before they are written."""
UNCOUNTED_BYTES = 16 * 1024
"""Requests of this size need no room of their own: however many others wait for some, they go through."""
_PEER_IS_SLOW = 1
_MUTED = 2
_NO_ROOM = 4
JOIN_BELOW_BYTES = 4 * 1024
"""Pieces of small answers are joined: one copy is cheaper than many vectors to the kernel."""
SLICE_BYTES = 64 * 1024
"""While flushes go on, no more is sent at once: those who wait for one wait for the loop, too. Not always, as
it costs a fetch of a megabyte a fifth more CPU."""
FEW_PIECES = 8
"""So many are not worth looking through for small ones."""


class Connection(asyncio.BufferedProtocol):
    """State of one connection.

    ``_own[:_filled]`` holds the head of a frame that has not arrived whole; ``_own is None`` between frames.
    ``_reserved`` are the bytes it has of :class:`RequestMemory`. ``_held`` has the reasons for which no
    further request is handled, as bits. ``_queue`` holds answers in request order; only its head may be
    written. ``_slices`` is what goes before them, a slice at a time. ``_closing`` says that nothing more is
    read: the connection ends once the queue is empty.
    """

    __slots__ = (
        "_closing",
        "_filled",
        "_held",
        "_own",
        "_own_view",
        "_queue",
        "_reading_paused",
        "_reserved",
        "_server",
        "_slices",
        "_socket_fd",
        "answered_s",
        "last_active_ms",
        "prompt_times",
        "session",
        "transport",
    )

    def __init__(self, server: "Server", listener: str) -> None:
        self._server = server
        self._own: bytearray | None = None
        self._own_view: memoryview = server.pool.shared
        self._filled = 0
        self._queue: deque[Wait | Parts] = deque()
        self._slices: Parts = []
        self._reading_paused = False
        self._held = 0
        self._reserved = 0
        self._closing = False
        self._socket_fd = -1
        self.last_active_ms = 0
        self.answered_s = 0.0
        self.prompt_times = 0
        self.session = Session("", "", 0, listener)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        listener = self.session.listener
        self.session = Session(peer[0] if peer else "", local[0], local[1], listener)
        self.session.on_muted = self.mute
        connected = transport.get_extra_info("socket")
        if connected is not None and transport.get_extra_info("sslcontext") is None:
            self._socket_fd = connected.fileno()
        self.last_active_ms = self._server.clock.monotonic_ms()
        self._server.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._socket_fd = -1
        self._slices = []
        self.session.on_muted = None
        if self._held & _NO_ROOM:
            self._server.memory.leave(self)
        queue, self._queue = self._queue, deque()
        for answer in queue:
            if isinstance(answer, Wait):
                answer.abandon()
        self._give_back_buffer()
        if self.answered_s:
            self._server.riders.came(self, wants_flush=False)
        self._server.closed(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._own is None:
            return self._server.pool.shared
        return self._own_view[self._filled :]

    def buffer_updated(self, count: int) -> None:
        self.last_active_ms = self._server.now_ms
        server = self._server
        if self.answered_s:
            wishes = server.broker.urgent_wishes
            self._consume(self._filled + count)
            if self._queue:
                server.riders.came(self, wants_flush=server.broker.urgent_wishes != wishes)
        else:
            self._consume(self._filled + count)
        server.settle()

    def _consume(self, filled: int) -> None:
        """Handles the frames in the first ``filled`` bytes of the present buffer, keeps what is left."""
        view = self._own_view
        out: list[Parts] = []
        gathered = self._server.broker.gathered
        try:
            position = self._handle_frames(view, filled, out)
        finally:
            # Before any answer leaves, and before the bytes give way to others.
            if gathered.is_pending:
                gathered.write()
        if out:
            self._write(out)
        if not self._closing:
            self._keep(view, position, filled)
        elif not self._queue:
            self.end()

    def _handle_frames(self, view: memoryview, filled: int, out: list[Parts]) -> int:
        """Handles the whole frames in ``view[:filled]``; returns where the first partial one begins."""
        server = self._server
        handle = server.broker.handle_gathering
        session = self.session
        largest = server.max_frame_bytes
        queue = self._queue
        position = 0
        while filled - position >= 4 and not self._closing:
            (size,) = _SIZE.unpack_from(view, position)
            if not 0 <= size <= largest:
                self._refuse(f"a frame of {size} bytes was announced, socket.request.max.bytes is {largest}")
                break
            end = position + 4 + size
            if end > filled:
                break
            if len(queue) >= MAX_OUTSTANDING or self._held:
                self._pause_reading()
                break
            answer = handle(view[position + 4 : end], session)
            position = end
            if type(answer) is list:
                if queue:
                    queue.append(answer)
                else:
                    out.append(answer)
                    if len(out) >= WRITE_FROM_ANSWERS:
                        # Many large answers to many small requests: whether the peer reads them has to show.
                        if server.broker.gathered.is_pending:
                            server.broker.gathered.write()
                        self._write(out)
                        out.clear()
            elif isinstance(answer, Wait):
                answer.notify(self._answer_is_ready)
                queue.append(answer)
            elif answer is not None:
                self._refuse(cast(Close, answer).reason)
        return position

    def _keep(self, view: memoryview, position: int, filled: int) -> None:
        """Keeps the partial frame at ``view[position:filled]``, in a buffer that it will fit whole."""
        rest = filled - position
        if position and self._reserved:
            self._release()
        if rest == 0:
            self._give_back_buffer()
            return
        needed = rest
        if not self._reading_paused:
            size = _SIZE.unpack_from(view, position)[0] + 4 if rest >= 4 else 4
            if size > UNCOUNTED_BYTES and not self._reserved and not self._reserve(size):
                size = rest
            # A lying length must not reserve memory: what exceeds the first grant grows as bytes arrive.
            needed = max(min(size, max(FIRST_LARGEST_BYTES, 2 * rest)), rest + 1)
        if self._own is not None and position == 0 and len(self._own) >= needed:
            self._own_view = memoryview(self._own)[:needed]
            self._filled = rest
            return
        buffer = self._server.pool.lend(needed)
        buffer[:rest] = view[position:filled]
        self._give_back_buffer()
        self._own = buffer
        # Reading ends with this frame, so that the next one starts at a buffer's start.
        self._own_view = memoryview(buffer)[:needed]
        self._filled = rest

    def _reserve(self, size: int) -> bool:
        """Room for a frame of ``size`` bytes; without it the connection is read no further for now."""
        if self._server.memory.reserve(size):
            self._reserved = size
            return True
        self._hold(_NO_ROOM)
        self._server.memory.wait(self)
        return False

    def _release(self) -> None:
        reserved, self._reserved = self._reserved, 0
        self._server.memory.release(reserved)

    def room_was_made(self) -> None:
        """Others are done with theirs: what was kept is looked at again."""
        self._server.call_soon(lambda: self._let_go(_NO_ROOM))

    def mute(self, is_muted: bool) -> None:
        """Handles no further request until it is called again with ``False``."""
        if is_muted:
            self._hold(_MUTED)
        else:
            self.last_active_ms = self._server.now_ms
            self._let_go(_MUTED)

    def _hold(self, reason: int) -> None:
        self._held |= reason
        if not self._closing:
            self._pause_reading()

    def _let_go(self, reason: int) -> None:
        self._held &= ~reason
        if self._reading_paused and not self._held and len(self._queue) < MAX_OUTSTANDING // 2:
            self._resume_reading()

    def _give_back_buffer(self) -> None:
        if self._reserved and self._closing:
            self._release()
        own, self._own = self._own, None
        self._own_view = self._server.pool.shared
        self._filled = 0
        if own is not None:
            self._server.pool.take_back(own)

    def _answer_is_ready(self) -> None:
        ready = self._server.ready
        if not ready or ready[-1] is not self:  # several at once are sent together
            ready.append(self)

    @property
    def outstanding(self) -> int:
        """Requests that have no answer yet, or whose answer is about to be sent."""
        return len(self._queue)

    def drain(self) -> None:
        """Writes what stands complete at the head of the queue, then reads on if that had stopped."""
        queue = self._queue
        out: list[Parts] = []
        while queue:
            answer = queue[0]
            if type(answer) is list:
                out.append(answer)
            elif answer.parts is None:  # type: ignore[union-attr]
                break
            else:
                out.append(answer.parts)  # type: ignore[union-attr]
            queue.popleft()
        if out:
            self._write(out)
        if self._closing and not queue:
            self.end()
        if self._reading_paused and not self._held and len(queue) < MAX_OUTSTANDING // 2:
            self._resume_reading()

    def _write(self, answers: list[Parts]) -> None:
        """Sends ``answers``, by a system call of our own when nothing waits before it: for a fetch this is a
        third cheaper than the transport's way, which remains for what the socket does not take at once."""
        transport = self.transport
        out = answers[0] if len(answers) == 1 else [part for parts in answers for part in parts]
        size = sum(map(len, out))
        if size <= JOIN_BELOW_BYTES:
            out = [b"".join(out)]
        elif len(out) > FEW_PIECES:
            out = _coalesce(out)
        if self._slices:
            self._slices += out
            return
        # A transport that is closing may have given its descriptor back: it must not be written to then.
        if self._socket_fd >= 0 and not transport.get_write_buffer_size() and not transport.is_closing():
            if size > SLICE_BYTES and not self._server.turns.is_quiet:
                self._slices = out
                self.pause_writing()  # until the peer has this
                self._send_slice()
                return
            try:
                sent = os.writev(self._socket_fd, out)
            except OSError:
                sent = 0  # full, or broken: the transport finds out which
            if sent == size:
                return
            out = _behind(out, sent)
        transport.writelines(out)

    def _send_slice(self) -> None:
        """Sends the next slice; one more when others had their turn."""
        if not self._slices or self.transport.is_closing():
            return  # left to the transport meanwhile, or the connection is lost
        slice_ = _first(self._slices, SLICE_BYTES)
        try:
            sent = os.writev(self._socket_fd, slice_)
        except OSError:
            sent = 0
        self._slices = _behind(self._slices, sent)
        if not self._slices:
            self.resume_writing()
        elif sent < SLICE_BYTES:
            self._leave_to_the_transport()
        else:
            self._server.slice_soon(self._send_slice)

    def _leave_to_the_transport(self) -> None:
        slices, self._slices = self._slices, []
        self._held &= ~_PEER_IS_SLOW  # what the transport says counts from here on
        self.transport.writelines(slices)
        if not self._held & _PEER_IS_SLOW:
            self.resume_writing()

    def end(self) -> None:
        """Closes the connection when everything is sent."""
        if self._slices:
            self._leave_to_the_transport()
        self.transport.close()

    def pause_writing(self) -> None:
        self._held |= _PEER_IS_SLOW

    def resume_writing(self) -> None:
        self._let_go(_PEER_IS_SLOW)

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        """Handles the frames that were kept while paused, and goes on reading if they left room."""
        if self._closing:
            return
        self._reading_paused = False
        if self._filled:
            self._consume(self._filled)
            self._server.settle_soon()
        if not self._reading_paused and not self._closing:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def _refuse(self, reason: str) -> None:
        """Reads no further; what was asked before is still answered, then the connection ends."""
        if not self._closing:
            self._closing = True
            log.info("closing the connection of %s: %s", self.session.client_host, reason)
            self._pause_reading()
            self._give_back_buffer()

    def close(self, reason: str) -> None:
        """Ends the connection at once for ``reason``, which is logged."""
        self._refuse(reason)
        self.end()


def _coalesce(parts: Parts) -> Parts:
    """The same bytes in fewer pieces: runs of small pieces joined, large ones (records) left as they are."""
    joined: Parts = []
    small: Parts = []
    for part in parts:
        if len(part) < JOIN_BELOW_BYTES:
            small.append(part)
            continue
        if small:
            joined.append(b"".join(small))
            small = []
        joined.append(part)
    if small:
        joined.append(b"".join(small))
    return joined


def _first(parts: Parts, size: int) -> Parts:
    """The first ``size`` bytes of ``parts``, or all if there are fewer."""
    first: Parts = []
    for part in parts:
        if len(part) >= size:
            first.append(memoryview(part)[:size])
            break
        first.append(part)
        size -= len(part)
    return first


def _behind(parts: Parts, sent: int) -> Parts:
    """What is left of ``parts`` when its first ``sent`` bytes are gone."""
    for index, part in enumerate(parts):
        size = len(part)
        if sent < size:
            return [memoryview(part)[sent:] if sent else part, *parts[index + 1 :]]
        sent -= size
    return []
