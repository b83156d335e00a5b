"""A whole broker in one thread, on a real folder and a clock that the test moves; requests go in as bytes."""

import random
import struct
from pathlib import Path
from typing import Any

from odradek.broker.broker import Broker
from odradek.broker.requests import Close, Parts, Session, Wait
from odradek.cluster.file_store import FileMetadataStore
from odradek.core.config.broker import broker_config
from odradek.protocol import apis
from odradek.protocol.headers import read_response_header, request_header, response_header_version
from odradek.protocol.primitives import Message
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage.disk import Disk
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock
from tests.support.disks import QuickDisk


class Closed(Exception):
    """The broker wants the connection closed."""


class Harness:
    """``call`` is what a client does that waits for each answer; ``send`` leaves the answer to the test."""

    def __init__(self, folder: Path, disk: Disk | None = None, **overrides: str) -> None:
        self.at_once_bytes: int | None = None
        """More than that is left to ``broker.recovery`` by :meth:`start`."""
        self.folder = folder
        self.disk = disk or QuickDisk()
        self.overrides = {"log.dirs": str(folder), "group.initial.rebalance.delay.ms": "0"}
        self.overrides |= {key.replace("_", "."): value for key, value in overrides.items()}
        self.clock = FakeClock()
        self.session = Session("127.0.0.1", "127.0.0.1", 9092)
        self.start()

    def start(self) -> None:
        config = broker_config(self.overrides)
        disk = self.disk
        randomness = random.Random(1)
        store = LogStore.open(
            config.log_dir,
            disk,
            self.clock,
            randomness,
            node_id=config.node_id,
            at_once_bytes=self.at_once_bytes,
        )
        metadata = FileMetadataStore.open(
            config.log_dir, disk, store.cluster_id, node_id=config.node_id, was_clean=store.was_clean
        )
        self.broker = Broker(config, store, metadata, self.clock, randomness)

    def stop(self) -> None:
        self.flush()
        self.broker.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def flush(self) -> None:
        """Flushes until nothing is dirty, as the server's thread would."""
        while (flush := self.broker.begin_flush()) is not None:
            flush.run()
            self.broker.finish_flush(flush)

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)
        self.broker.run_timers()

    def send(self, request: Message, version: int | None = None) -> "Pending":
        """One request; nothing is flushed and no time passes."""
        if version is None:
            version = request.HIGHEST_VERSION
        parts: list[Any] = [request_header(request.API_KEY, version, 7, "tester")]
        request.encode(parts, version)
        answer = self.broker.handle(memoryview(bytearray(b"".join(parts))), self.session)
        return Pending(self, request.API_KEY, version, answer)

    def call(self, request: Message, version: int | None = None) -> Any:
        """One request and its answer; flushes when the answer waits for it."""
        pending = self.send(request, version)
        if not pending.is_answered:
            self.flush()
        return pending.response()


class Pending:
    """An answer that may still be waiting."""

    def __init__(self, harness: Harness, api_key: int, version: int, answer: Any) -> None:
        self._harness = harness
        self._api_key = api_key
        self._version = version
        self._answer = answer

    @property
    def is_answered(self) -> bool:
        return not isinstance(self._answer, Wait) or self._answer.parts is not None

    def response(self) -> Any:
        """The decoded response, ``None`` when none is owed. Raises :class:`Closed`."""
        if isinstance(self._answer, Close):
            raise Closed(self._answer.reason)
        parts: Parts | None = self._answer.parts if isinstance(self._answer, Wait) else self._answer
        assert parts is not None or self._answer is None, "not answered yet"
        if not parts:
            return None
        frame = memoryview(b"".join(parts))
        (size,) = struct.unpack_from(">i", frame)
        assert size == len(frame) - 4
        header_version = response_header_version(self._api_key, self._version)
        correlation_id, position = read_response_header(frame, 4, header_version)
        assert correlation_id == 7
        response, end = apis.load(self._api_key).response.decode(frame, position, self._version)
        assert end == len(frame)
        return response


def batch(*values: bytes, timestamp_ms: int = 1_700_000_000_000, **fields: Any) -> bytes:
    """A record batch of these values, a millisecond apart."""
    records = [Record(index, timestamp_ms + index, None, value, []) for index, value in enumerate(values)]
    return bytes(build_batch(records, **fields))
