"""CPU of exactly-once copies without a network, and how many flushes lie between beginning and end of one.

Run: ``python -m benchmarks.micro_transactions``. As many producers as in the bench's case copy a batch over
and over: Fetch, Produce, TxnOffsetCommit, EndTxn; each goes on as soon as it is answered, and when none can,
there is a flush. ``--profile`` prints where the time goes.
"""

import argparse
import cProfile
import pstats
import struct
import time
from typing import Any

from benchmarks import coordinator_frames, frames, transactions
from benchmarks.coordinator_frames import GROUP, IDENTITY_BYTES, NEXT_IDENTITY, TRANSACTION
from benchmarks.micro_broker import flush, handle, running_broker
from odradek.broker.broker import Broker
from odradek.broker.requests import Session, Wait
from odradek.records.builder import seal_batch

PRODUCERS = 8
COPIES = 2_000
SOURCE, TARGET = "source", "target"
CONCURRENT_TRANSACTIONS = 51
BATCH_BYTES = 16 * 1024
_BATCH_IDENTITY = 43


class Copier:
    """One transactional producer; ``ask`` handles its next request."""

    def __init__(self, broker: Broker, number: int, batch: bytes, records: int) -> None:
        self._broker = broker
        self._session = Session("127.0.0.1", "127.0.0.1", 9092)
        name = f"copier-{number}"
        for kind in (GROUP, TRANSACTION):
            find = frames.request(10, 4, coordinator_frames.find_coordinator(kind, name))
            _settled(broker, handle(broker, self._session, find))
        begin = frames.request(22, 5, coordinator_frames.init_producer_id(name))
        answer = b"".join(_settled(broker, handle(broker, self._session, begin)))[4:]
        self._identity = answer[NEXT_IDENTITY : NEXT_IDENTITY + IDENTITY_BYTES]
        read = frames.fetch(
            SOURCE, 0, len(batch), batch=batch, batch_records=records, end_offset=records, read_committed=True
        )
        written = transactions.transactional(batch)
        self._requests = [
            transactions.Request(read, 0),
            transactions.produce(TARGET, [0], written, name, 1),
            transactions.commit_offset(name, name, SOURCE, 2),
            transactions.end(name, 3),
        ]
        self._turn = 0
        self._wait: Any = None
        self.copies = self.retries = 0

    @property
    def is_waiting(self) -> bool:
        return isinstance(self._wait, Wait) and self._wait.parts is None

    def prepare(self) -> bytearray:
        """The next request, as the generator would have it ready."""
        request = self._requests[self._turn]
        frame = bytearray(request.frame.request)
        if request.identity_position:
            frame[request.identity_position : request.identity_position + IDENTITY_BYTES] = self._identity
        for position, length in request.batches:
            place = position + _BATCH_IDENTITY
            frame[place : place + IDENTITY_BYTES] = self._identity
            seal_batch(memoryview(frame)[position : position + length])
        return frame

    def ask(self, frame: bytearray) -> None:
        self._wait = self._broker.handle(memoryview(frame)[4:], self._session)

    def take_answer(self) -> None:
        """Looks at the answer and moves on to the next request."""
        request = self._requests[self._turn]
        parts = self._wait.parts if isinstance(self._wait, Wait) else self._wait
        answer = b"".join(parts)[4:]
        for position in request.frame.error_positions:
            (code,) = struct.unpack_from(">h", answer, position)
            if code == CONCURRENT_TRANSACTIONS:
                self.retries += 1
                return
            assert code == 0, (request.stage, code)
        if request.next_identity:
            start = request.next_identity
            self._identity = answer[start : start + IDENTITY_BYTES]
            self.copies += 1
        self._turn = (self._turn + 1) % len(self._requests)


def _settled(broker: Broker, answer: Any) -> Any:
    """The parts of an answer, once it is there: topics are made by and by."""
    while isinstance(answer, Wait) and answer.parts is None:
        broker.run_timers()
        flush(broker)
    return answer.parts if isinstance(answer, Wait) else answer


def run(broker: Broker, copiers: list[Copier], copies: int) -> tuple[float, float, float]:
    """For each copy: microseconds of CPU in the broker, the same in its flushes; and flushes in turn."""
    before = sum(copier.copies for copier in copiers)
    spent = flushing = 0.0
    flushes = 0
    clock = time.process_time
    while sum(copier.copies for copier in copiers) - before < copies:
        asking = [copier for copier in copiers if not copier.is_waiting]
        if asking:
            requests = [(copier, copier.prepare()) for copier in asking]
            started = clock()
            for copier, frame in requests:
                copier.ask(frame)
            spent += clock() - started
            for copier in asking:
                if not copier.is_waiting:
                    copier.take_answer()
            continue
        started = clock()
        ticket = broker.begin_flush()
        assert ticket is not None
        begun = clock()
        ticket.run()
        done = clock()
        broker.finish_flush(ticket)
        ended = clock()
        spent += begun - started + ended - done
        flushing += done - begun
        flushes += 1
        for copier in copiers:
            if not copier.is_waiting:
                copier.take_answer()
    return spent / copies * 1e6, flushing / copies * 1e6, flushes * len(copiers) / copies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    session = Session("127.0.0.1", "127.0.0.1", 9092)
    with running_broker() as broker:
        for topic in (SOURCE, TARGET):
            create = struct.pack(">ih", 1, len(topic)) + topic.encode() + b"\1"
            _settled(broker, handle(broker, session, frames.request(3, 4, create, flexible=False)))
        batch, records = frames.record_batch(1000, BATCH_BYTES, int(time.time() * 1000))
        handle(broker, session, frames.produce(SOURCE, [0], batch, -1).request)
        flush(broker)
        copiers = [Copier(broker, number, batch, records) for number in range(PRODUCERS)]
        flush(broker)
        run(broker, copiers, 200)
        if options.profile:
            profile = cProfile.Profile()
            profile.enable()
            run(broker, copiers, COPIES)
            profile.disable()
            pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(45)
            return
        results = [run(broker, copiers, COPIES // 5) for _ in range(5)]
        cpu_us, flush_us, flushes = (min(column) for column in zip(*results, strict=True))
        print(f"a copy: {cpu_us:.0f} µs, {flush_us:.0f} µs in flushes, {flushes:.1f} flushes in turn")


if __name__ == "__main__":
    main()
