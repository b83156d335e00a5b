"""Bad input: what the peer sends wrong ends its own connection, and nothing else is disturbed."""

import random
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol import apis
from tests.conformance import raw
from tests.conformance.conftest import EXTERNAL
from tests.conformance.test_api_versions import announced, minimal
from tests.support.broker_process import BrokerProcess

SEED = 20_261_124
HELD_UP_S = 30.0
"""Whom a peer holds up waits for longer: the peers here stay for ever, or are waited for for minutes."""
WILD = (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\x7f")
"""Numbers that are lengths or counts where they hit one."""


class HealthyClient:
    """Publishes and reads back on a connection of its own, all the while, and times it."""

    def __init__(self, bootstrap: str) -> None:
        self.rounds = 0
        self.slowest_s = 0.0
        self.failure: BaseException | None = None
        self._bootstrap = bootstrap
        self._topic = f"healthy-{uuid.uuid4().hex[:8]}"
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(60)

    def _run(self) -> None:
        try:
            with raw.RawConnection(self._bootstrap) as connection:
                raw.create_topic(connection, self._topic)
                self._started.set()
                while not self._stopping.is_set():
                    began = time.monotonic()
                    value = b"round %d" % self.rounds
                    request = raw.produce_request(self._topic, 0, raw.batch_of(value))
                    answer = connection.ask(request, raw.PRODUCE_BY_NAME)
                    assert answer.responses[0].partition_responses[0].base_offset == self.rounds
                    fetch = raw.fetch_request(self._topic, 0, self.rounds)
                    read = connection.ask(fetch, raw.FETCH_BY_NAME).responses[0].partitions[0]
                    assert bytes(read.records).endswith(value + b"\0")
                    self.rounds += 1
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                    time.sleep(0.005)
        except BaseException as error:
            self.failure = error
            self._started.set()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(60)


@pytest.fixture
def healthy(bootstrap: str) -> Iterator[HealthyClient]:
    client = HealthyClient(bootstrap)
    yield client
    before = client.rounds
    deadline = time.monotonic() + 60
    while client.rounds < before + 3 and client.failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    client.stop()
    assert client.failure is None, repr(client.failure)
    assert client.rounds >= before + 3, "the healthy connection was held up"
    assert client.slowest_s < HELD_UP_S, f"the healthy connection waited {client.slowest_s:.1f} s"


def private_bytes(pid: int) -> int:
    """Memory that is the process's own, which only Linux tells."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("private memory is read from /proc, which this system has not")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines["RssAnon"].split()[0]) * 1_024


GARBAGE = {
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": bytes.fromhex("160301020001000201fc0303") + bytes(500),
    "text": b"hello, is this a broker?\n" * 10,
    "a negative size": struct.pack(">i", -1) + b"x" * 20,
    "the most negative size": struct.pack(">i", -(2**31)) + b"x" * 20,
    "a size above the limit": struct.pack(">i", 104_857_601) + b"x" * 20,
    "the largest size": struct.pack(">i", 2**31 - 1) + b"x" * 20,
    "an empty frame": struct.pack(">i", 0),
    "a frame of one byte": struct.pack(">i", 1) + b"\0",
    "a frame shorter than a header": struct.pack(">ihh", 4, 18, 0),
    "a header that ends before the client id": struct.pack(">ihhi", 8, 3, 1, 7),
    "a client id longer than its frame": struct.pack(">ihhih", 13, 3, 1, 7, 500) + b"abc",
    "a client id of negative length": struct.pack(">ihhih", 10, 3, 1, 7, -7),
    "a client id that is no text": struct.pack(">ihhih", 14, 3, 1, 7, 2) + b"\xff\xfe" + b"\0\0",
    "header tags longer than the frame": struct.pack(">ihhih", 13, 3, 9, 7, -1) + b"\xff\xff\x7f",
    "a body that ends too early": struct.pack(">ihhih", 12, 3, 1, 7, -1) + b"\0\0",
    "an array longer than its frame": struct.pack(">ihhihi", 14, 3, 1, 7, -1, 2**31 - 1),
    "an array that must not be null": struct.pack(">ihhihi", 14, 19, 2, 7, -1, -5),
    "a compact array longer than its frame": struct.pack(">ihhihB", 16, 3, 9, 7, -1, 0)
    + b"\xff\xff\xff\xff\x0f",
    "a varint without an end": struct.pack(">ihhihB", 21, 3, 9, 7, -1, 0) + b"\xff" * 10,
}


@pytest.mark.parametrize("what", list(GARBAGE))
def test_garbage_ends_its_own_connection(what: str, bootstrap: str, healthy: HealthyClient) -> None:
    with raw.RawConnection(bootstrap) as connection:
        connection.send(GARBAGE[what])
        assert connection.is_closed(), f"{what} did not end the connection"


def test_random_bytes(bootstrap: str, healthy: HealthyClient) -> None:
    chance = random.Random(SEED)
    for _ in range(100):
        payload = chance.randbytes(chance.randrange(1, 300))
        with raw.RawConnection(bootstrap) as connection:
            try:
                connection.send_frame(payload)
                connection.send(chance.randbytes(50))
            except raw.Closed:
                pass


def test_a_frame_that_never_ends(bootstrap: str, healthy: HealthyClient) -> None:
    """The peer leaves in the middle, politely and otherwise."""
    whole = raw.encode_request(raw.request_of("Metadata", topics=None), 12, 1)
    for reset in (False, True):
        for sent in (1, 3, 4, 5, len(whole) // 2, len(whole) + 3):
            connection = raw.RawConnection(bootstrap)
            connection.send((struct.pack(">i", len(whole)) + whole)[:sent])
            if reset:
                linger = struct.pack("ii", 1, 0)
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.socket.close()


def test_a_dripped_frame_is_answered_and_holds_up_nobody(bootstrap: str, healthy: HealthyClient) -> None:
    whole = raw.encode_request(raw.request_of("ApiVersions"), 2, 77)
    whole = struct.pack(">i", len(whole)) + whole
    with raw.RawConnection(bootstrap) as connection:
        for number in range(len(whole)):
            connection.send(whole[number : number + 1])
            time.sleep(0.03)
        assert raw.decode_response(18, 2, connection.receive_frame(), 77).error_code == ErrorCode.NONE


def test_truncated_bodies_of_every_api(bootstrap: str, healthy: HealthyClient) -> None:
    """A frame whose body lacks its end is never taken for a whole one."""
    taken = []
    for api_key, (_, highest) in announced(bootstrap).items():
        if api_key == 18:
            continue
        whole = raw.encode_request(minimal(api_key), highest, 9)
        header = len(raw.encode_request(minimal(api_key), highest, 9)) - len(body_of(api_key, highest))
        for size in {len(whole) - 1, (header + len(whole)) // 2, header}:
            if size >= len(whole):
                continue
            with raw.RawConnection(bootstrap) as connection:
                connection.send_frame(whole[:size])
                if not connection.is_closed():
                    taken.append((apis.APIS[api_key].name, highest, size, len(whole)))
    assert taken == []


def body_of(api_key: int, version: int) -> bytes:
    parts: list[bytes] = []
    minimal(api_key).encode(parts, version)
    return b"".join(bytes(part) for part in parts)


def test_mutated_requests_of_every_api(bootstrap: str, healthy: HealthyClient) -> None:
    """One changed byte, one wild number or one cut: answered or closed, and the broker lives on."""
    chance = random.Random(SEED)
    for api_key, (lowest, highest) in announced(bootstrap).items():
        lowest = max(lowest, apis.APIS[api_key].lowest_version)
        for _ in range(25):
            version = chance.randint(lowest, highest)
            frame = bytearray(raw.encode_request(minimal(api_key), version, 9))
            kind = chance.randrange(3)
            position = chance.randrange(13, max(14, len(frame)))
            if kind == 0 and position < len(frame):
                frame[position] ^= 1 << chance.randrange(8)
            elif kind == 1:
                frame[position : position + 4] = chance.choice(WILD)
            else:
                del frame[position:]
            with raw.RawConnection(bootstrap) as connection:
                connection.send_frame(bytes(frame))
                connection.is_closed(0.05)


def test_lengths_that_lie_allocate_next_to_nothing(own_broker: BrokerProcess) -> None:
    """A frame's announced size reserves 2 MiB at most before its bytes arrive."""
    connections = [raw.RawConnection(own_broker.bootstrap) for _ in range(40)]
    for connection in connections:
        connection.ask(raw.request_of("ApiVersions"), 0)
    before = private_bytes(own_broker.pid)
    for connection in connections:
        connection.send(struct.pack(">i", 104_857_600) + b"\0\x03\0\x0c" + b"x" * 100)
    time.sleep(0.5)
    grown = private_bytes(own_broker.pid) - before
    for connection in connections:
        connection.socket.close()
    assert grown < 40 * 2_500_000, f"40 frames that only said to be 100 MiB took {grown:,} bytes"


def test_one_line_is_logged_for_each(own_broker: BrokerProcess) -> None:
    before = len(own_broker.log_path.read_text().splitlines())
    for payload in (GARBAGE["an HTTP request"], GARBAGE["a body that ends too early"]):
        with raw.RawConnection(own_broker.bootstrap) as connection:
            connection.send(payload)
            assert connection.is_closed()
    assert own_broker.stop() == 0  # then all is written
    lines = own_broker.log_path.read_text().splitlines()[before:]
    goodbye = next(number for number, line in enumerate(lines) if "stopping" in line)
    assert goodbye == 2, lines
    assert all("127.0.0.1" in line for line in lines[:goodbye]), lines


def test_a_peer_that_reads_nothing_costs_no_memory(own_broker: BrokerProcess) -> None:
    """400 answers of a megabyte each are asked for and never read."""
    with raw.RawConnection(own_broker.bootstrap) as connection:
        raw.create_topic(connection, "large")
        batch = raw.batch_of(random.Random(SEED).randbytes(1_000_000))
        connection.ask(raw.produce_request("large", 0, batch), raw.PRODUCE_BY_NAME)
        before = private_bytes(own_broker.pid)
        frame = raw.encode_request(raw.fetch_request("large", 0, 0), raw.FETCH_BY_NAME, 1)
        connection.socket.settimeout(1)
        try:
            for _ in range(400):
                connection.send_frame(frame)
        except TimeoutError:
            pass  # back-pressure reaches us: good
        time.sleep(0.5)
        grown = private_bytes(own_broker.pid) - before
        assert grown < 60_000_000, f"answers that nobody reads took {grown:,} bytes"
        with raw.RawConnection(own_broker.bootstrap) as other:
            assert other.ask(raw.request_of("ApiVersions"), 0).error_code == ErrorCode.NONE


def test_a_peer_that_leaves_in_the_middle_of_its_answer(bootstrap: str, healthy: HealthyClient) -> None:
    topic = f"large-{uuid.uuid4().hex[:8]}"
    with raw.RawConnection(bootstrap) as connection:
        raw.create_topic(connection, topic)
        batch = raw.batch_of(random.Random(SEED).randbytes(900_000))
        connection.ask(raw.produce_request(topic, 0, batch), raw.PRODUCE_BY_NAME)
    frame = raw.encode_request(raw.fetch_request(topic, 0, 0), raw.FETCH_BY_NAME, 1)
    for number in range(30):
        with raw.RawConnection(bootstrap) as connection:
            connection.send_frame(frame)
            if number % 2:
                connection.socket.recv(1_000)


def test_a_peer_that_leaves_while_its_answer_waits(bootstrap: str, healthy: HealthyClient) -> None:
    topic = f"quiet-{uuid.uuid4().hex[:8]}"
    with raw.RawConnection(bootstrap) as connection:
        raw.create_topic(connection, topic)
    frame = raw.encode_request(raw.fetch_request(topic, 0, 0, max_wait_ms=300_000), raw.FETCH_BY_NAME, 1)
    for _ in range(30):
        with raw.RawConnection(bootstrap) as connection:
            connection.send_frame(frame)
    with raw.RawConnection(bootstrap) as connection:
        answer = connection.ask(raw.produce_request(topic, 0, raw.batch_of(b"x")), raw.PRODUCE_BY_NAME)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.NONE


def test_many_connections_that_say_nothing(bootstrap: str, healthy: HealthyClient) -> None:
    connections = [raw.RawConnection(bootstrap) for _ in range(300)]
    assert connections[-1].ask(raw.request_of("ApiVersions"), 0).error_code == ErrorCode.NONE
    for connection in connections:
        connection.socket.close()


def test_null_records_are_refused(bootstrap: str) -> None:
    if EXTERNAL:
        pytest.skip("Kafka 4.3 never answers them")
    topic = f"null-{uuid.uuid4().hex[:8]}"
    with raw.RawConnection(bootstrap) as connection:
        raw.create_topic(connection, topic)
        try:
            answer = connection.ask(raw.produce_request(topic, 0, None), raw.PRODUCE_BY_NAME)
        except raw.Closed:
            return
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.INVALID_RECORD
