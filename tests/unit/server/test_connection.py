"""Frames in, answers out: with a broker that answers as each test says, and no socket."""

import socket
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.broker.requests import Answer, Close, Session, Wait
from odradek.server.buffers import BufferPool
from odradek.server.connection import MAX_OUTSTANDING, SLICE_BYTES, Connection
from odradek.server.memory import RequestMemory
from odradek.server.riders import PROMPT_TIMES, Riders


class FakeTransport:
    def __init__(self, connected: socket.socket | None = None) -> None:
        self.connected = connected
        self.written = b""
        self.is_closed = False
        self.is_reading = True

    def get_extra_info(self, name: str) -> Any:
        known = {"socket": self.connected, "peername": ("127.0.0.1", 9092), "sockname": ("127.0.0.1", 9092)}
        return known.get(name)

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def is_closing(self) -> bool:
        return self.is_closed

    def writelines(self, parts: list[bytes]) -> None:
        assert not self.is_closed
        self.written += b"".join(map(bytes, parts))

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def close(self) -> None:
        self.is_closed = True


class FakeGathered:
    """What waits to be written; ``writes`` counts how often that was done."""

    def __init__(self) -> None:
        self.pending: list[Callable[[], None]] = []
        self.writes = 0

    @property
    def is_pending(self) -> bool:
        return bool(self.pending)

    def write(self) -> None:
        for written in self.pending:
            written()
        self.pending.clear()
        self.writes += 1


class FakeServer:
    def __init__(self, handle: Callable[[memoryview, Session], Answer]) -> None:
        self.gathered = FakeGathered()
        self.broker = SimpleNamespace(handle_gathering=handle, gathered=self.gathered, urgent_wishes=0)
        self.riders = Riders(lambda: 1_000.0)
        self.clock = SimpleNamespace(monotonic_ms=lambda: 0)
        self.pool = BufferPool()
        self.ready: list[Connection] = []
        self.now_ms = 0
        self.max_frame_bytes = 1_000_000
        self.memory = RequestMemory(-1)
        self.turns = SimpleNamespace(is_quiet=True)
        self.soon: list[Callable[[], None]] | None = None

    def opened(self, connection: Connection) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        pass

    def settle(self) -> None:
        while self.ready:
            ready, self.ready = self.ready, []
            for connection in ready:
                connection.drain()

    settle_soon = settle

    def call_soon(self, callback: Callable[[], None]) -> None:
        if self.soon is None:
            callback()
        else:
            self.soon.append(callback)

    slice_soon = call_soon


def connect(
    handle: Callable[[memoryview, Session], Answer], connected: socket.socket | None = None
) -> tuple[Connection, FakeTransport, FakeServer]:
    server = FakeServer(handle)
    connection = Connection(server, "PLAINTEXT")  # type: ignore[arg-type]
    transport = FakeTransport(connected)
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection, transport, server


def receive(connection: Connection, data: bytes) -> None:
    """Hands ``data`` over as the loop would: into whatever buffer the connection offers."""
    while data:
        buffer = connection.get_buffer(-1)
        count = min(len(buffer), len(data))
        assert count > 0
        buffer[:count] = data[:count]
        data = data[count:]
        connection.buffer_updated(count)


def frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def echo(view: memoryview, session: Session) -> Answer:
    return [bytes(view)]


class Later:
    """Answers that are completed when the test says so."""

    def __init__(self) -> None:
        self.waits: list[Wait] = []

    def handle(self, view: memoryview, session: Session) -> Answer:
        body = bytes(view)
        if body.startswith(b"now"):
            return [body]
        wait = Wait()
        wait.bind(lambda response: [body])
        self.waits.append(wait)
        return wait


@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(st.binary(min_size=1, max_size=3_000) | st.just(b"x" * 70_000), max_size=8),
    cuts=st.lists(st.integers(1, 40_000), min_size=1, max_size=20),
)
def test_frames_arrive_whole_however_the_bytes_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    connection, transport, _ = connect(echo)
    data = b"".join(map(frame, bodies))
    index = 0
    while data:
        cut = cuts[index % len(cuts)]
        index += 1
        receive(connection, data[:cut])
        data = data[cut:]
    assert transport.written == b"".join(bodies)
    assert connection._own is None, "nothing is held between frames"


def test_answers_go_out_in_the_order_of_the_requests_when_one_waits() -> None:
    later = Later()
    connection, transport, server = connect(later.handle)
    receive(connection, frame(b"wait1") + frame(b"now2") + frame(b"wait3") + frame(b"now4"))
    assert transport.written == b""
    later.waits[1].complete(SimpleNamespace())  # type: ignore[arg-type]
    server.settle()
    assert transport.written == b""
    later.waits[0].complete(SimpleNamespace())  # type: ignore[arg-type]
    server.settle()
    assert transport.written == b"wait1now2wait3now4"


def test_reading_stops_at_the_limit_of_outstanding_requests_and_goes_on_below_it() -> None:
    later = Later()
    connection, transport, server = connect(later.handle)
    receive(connection, frame(b"wait") * (MAX_OUTSTANDING + 7))
    assert len(later.waits) == MAX_OUTSTANDING
    assert not transport.is_reading
    for wait in list(later.waits):
        wait.complete(SimpleNamespace())  # type: ignore[arg-type]
    server.settle()
    assert transport.is_reading
    assert len(later.waits) == MAX_OUTSTANDING + 7


def test_a_peer_that_does_not_read_is_not_read() -> None:
    connection, transport, _ = connect(echo)
    connection.pause_writing()
    receive(connection, frame(b"one") + frame(b"two"))
    assert transport.written == b""
    assert not transport.is_reading
    connection.resume_writing()
    assert transport.written == b"onetwo"
    assert transport.is_reading


@pytest.mark.parametrize("size", [-1, -(1 << 31), 1_000_001, (1 << 31) - 1])
def test_a_lying_length_closes_and_allocates_nothing(size: int) -> None:
    connection, transport, _ = connect(echo)
    receive(connection, struct.pack(">i", size) + b"abc")
    assert transport.is_closed
    assert connection._own is None


def test_a_large_announced_frame_reserves_no_more_than_the_first_grant() -> None:
    connection, _, server = connect(echo)
    server.max_frame_bytes = 1 << 30
    receive(connection, struct.pack(">i", 1 << 29) + b"abc")
    assert connection._own is not None
    assert len(connection._own) <= 2 * 1024 * 1024


def test_what_was_asked_before_a_bad_request_is_answered_before_the_connection_ends() -> None:
    later = Later()

    def handle(view: memoryview, session: Session) -> Any:
        return Close("bad") if bytes(view) == b"bad" else later.handle(view, session)

    connection, transport, server = connect(handle)
    receive(connection, frame(b"wait") + frame(b"bad") + frame(b"never"))
    assert not transport.is_closed
    later.waits[0].complete(SimpleNamespace())  # type: ignore[arg-type]
    server.settle()
    assert transport.written == b"wait"
    assert transport.is_closed
    assert len(later.waits) == 1


def test_a_lost_connection_abandons_what_waits() -> None:
    later = Later()
    connection, _, _ = connect(later.handle)
    receive(connection, frame(b"wait"))
    abandoned = []
    later.waits[0].on_abandoned = lambda: abandoned.append(True)
    connection.connection_lost(None)
    assert abandoned == [True]


def test_answers_that_nobody_reads_are_not_collected() -> None:
    asked = []

    def handle(view: memoryview, session: Session) -> Answer:
        asked.append(1)
        return [b"head", b"x" * 100_000]

    connection, transport, _ = connect(handle)

    def writelines(parts: list[bytes]) -> None:
        connection.pause_writing()

    transport.writelines = writelines  # type: ignore[method-assign]
    receive(connection, frame(b"ask") * 2_000)
    assert len(asked) <= 32
    assert not transport.is_reading


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 300_000), min_size=1, max_size=6), is_quiet=st.booleans())
def test_what_the_socket_does_not_take_at_once_goes_to_the_transport(
    sizes: list[int], is_quiet: bool
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        bodies = [bytes([65 + index]) * size for index, size in enumerate(sizes)]
        connection, transport, server = connect(lambda view, session: [b"<", bytes(view), b">"], ours)
        server.turns.is_quiet = is_quiet
        receive(connection, b"".join(map(frame, bodies)))
        arrived = b""
        try:
            while chunk := theirs.recv(1 << 20):
                arrived += chunk
        except BlockingIOError:
            pass
        assert arrived + transport.written == b"".join(b"<" + body + b">" for body in bodies)


@pytest.fixture
def sliced() -> Iterator[tuple[Connection, FakeTransport, FakeServer, socket.socket]]:
    """A connection that answers with 300,000 bytes of what it was asked, beside flushes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
        ours.setblocking(False)
        theirs.setblocking(False)
        connection, transport, server = connect(lambda view, session: [bytes(view) * 300_000], ours)
        server.turns.is_quiet = False
        server.soon = []
        if ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < 400_000:
            pytest.skip("this system has no room for a slice in a socket")
        yield connection, transport, server, theirs


Sliced = tuple[Connection, FakeTransport, FakeServer, socket.socket]


def run_soon(server: FakeServer) -> int:
    """Runs what is due; how much that was."""
    due, server.soon = server.soon or [], []
    for callback in due:
        callback()
    return len(due)


def test_beside_flushes_a_long_answer_goes_out_in_slices(sliced: Sliced) -> None:
    connection, transport, server, theirs = sliced
    receive(connection, frame(b"a") + frame(b"b"))
    assert len(theirs.recv(1 << 20)) == SLICE_BYTES
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    receive(connection, frame(b"c"))
    assert not transport.is_reading, "no more requests are handled before the peer has its answers"
    arrived = b""
    rounds = 0
    while run_soon(server):
        rounds += 1
        arrived += theirs.recv(1 << 20)
    assert rounds >= 6
    assert arrived == (b"a" * 300_000 + b"b" * 300_000 + b"c" * 300_000)[SLICE_BYTES:]
    assert transport.is_reading
    assert transport.written == b""


def test_an_answer_behind_slices_keeps_its_place(sliced: Sliced) -> None:
    connection, _, server, theirs = sliced
    receive(connection, frame(b"a"))
    connection._write([[b"later"]])
    arrived = theirs.recv(1 << 20)
    while run_soon(server):
        arrived += theirs.recv(1 << 20)
    assert arrived == b"a" * 300_000 + b"later"


def test_slices_are_sent_before_the_connection_ends(sliced: Sliced) -> None:
    connection, transport, server, theirs = sliced
    receive(connection, frame(b"a"))
    connection.close("for a reason")
    assert transport.is_closed
    assert theirs.recv(1 << 20) + transport.written == b"a" * 300_000
    assert run_soon(server) == 1, "which finds nothing more to do"


def test_slices_that_the_socket_does_not_take_go_to_the_transport(sliced: Sliced) -> None:
    connection, transport, server, theirs = sliced
    paused = []

    def writelines(parts: list[bytes]) -> None:
        transport.written += b"".join(parts)
        if paused:
            connection.pause_writing()

    transport.writelines = writelines  # type: ignore[method-assign]
    for pauses in (False, True):
        paused[:] = [True] if pauses else []
        receive(connection, frame(b"a"))
        connection._socket_fd, fd = -1, connection._socket_fd  # a descriptor that takes nothing
        run_soon(server)
        connection._socket_fd = fd
        assert theirs.recv(1 << 20) + transport.written == b"a" * 300_000
        assert bool(connection._held) == pauses, "what the transport says counts"
        transport.written = b""


def test_slices_stop_where_the_transport_is_closing(sliced: Sliced) -> None:
    """Its descriptor may be somebody else's already."""
    connection, transport, server, theirs = sliced
    receive(connection, frame(b"a"))
    theirs.recv(1 << 20)
    transport.is_closed = True
    assert run_soon(server) == 1
    assert not server.soon
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_slices_of_a_lost_connection_are_forgotten(sliced: Sliced) -> None:
    connection, transport, server, theirs = sliced
    receive(connection, frame(b"a"))
    theirs.recv(1 << 20)
    connection.connection_lost(None)
    run_soon(server)
    assert transport.written == b""
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_a_closing_transport_s_descriptor_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        later = Later()
        connection, transport, server = connect(later.handle, ours)
        receive(connection, frame(b"wait"))
        transport.is_closed = True
        transport.writelines = lambda parts: None  # type: ignore[method-assign]
        later.waits[0].complete(SimpleNamespace())  # type: ignore[arg-type]
        server.settle()
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


def test_what_one_read_brought_is_written_at_once_and_before_it_is_answered() -> None:
    def handle(view: memoryview, session: Session) -> Answer:
        answer = [b"too early"]

        def write() -> None:
            answer[:] = [bytes(view)]  # the frame is still as it was

        server.gathered.pending.append(write)
        return answer  # type: ignore[return-value]

    connection, transport, server = connect(handle)
    cut = frame(b"three, cut")
    receive(connection, frame(b"one") + frame(b"two") + cut[:8])
    assert server.gathered.writes == 1
    receive(connection, cut[8:10])
    assert server.gathered.writes == 1
    receive(connection, cut[10:])
    assert server.gathered.writes == 2
    assert transport.written == b"onetwothree, cut"


def test_who_was_answered_by_a_flush_has_come_back_when_it_waits_for_the_next() -> None:
    later = Later()
    connection, _, server = connect(lambda view, session: answer(view, session))

    def answer(view: memoryview, session: Session) -> Answer:
        server.broker.urgent_wishes += bytes(view) == b"write"
        return later.handle(view, session)

    receive(connection, frame(b"write"))
    assert connection.prompt_times == 0, "no flush has answered it yet"
    later.waits.pop().complete(SimpleNamespace())  # type: ignore[arg-type]
    server.riders.answered(server.ready)
    server.settle()
    receive(connection, frame(b"now"))
    assert (connection.answered_s, connection.prompt_times) == (1_000.0, 0), "that needed no flush"
    receive(connection, frame(b"write"))
    assert (connection.answered_s, connection.prompt_times) == (0.0, 1)
    later.waits.pop().complete(SimpleNamespace())  # type: ignore[arg-type]
    server.riders.answered(server.ready)
    server.settle()
    receive(connection, frame(b"read when there is something"))
    assert (connection.answered_s, connection.prompt_times) == (0.0, 0)


def test_a_connection_that_is_lost_is_not_waited_for() -> None:
    connection, _, server = connect(Later().handle)
    connection.prompt_times = PROMPT_TIMES
    receive(connection, frame(b"wait"))
    server.riders.answered([connection])
    assert server.riders.are_awaited()
    connection.connection_lost(None)
    assert not server.riders.are_awaited()
