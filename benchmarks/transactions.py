"""Plans for `transactions.c`: what each transactional producer sends, again and again."""

import struct
from dataclasses import dataclass

from benchmarks import coordinator_frames, frames
from benchmarks.coordinator_frames import NEXT_IDENTITY
from benchmarks.frames import Frame

END_TXN_ERROR = 4 + 1 + 4
"""Where the answer to an EndTxn holds its error: behind correlation id, tags and throttle."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a transaction. Those of one `stage` are sent together."""

    frame: Frame
    stage: int
    identity_position: int = 0
    """Where producer id and epoch go; 0: into the batches only."""
    next_identity: int = 0
    batches: tuple[tuple[int, int], ...] = ()
    """Position and length of each batch in the request."""

    @property
    def encoded(self) -> bytes:
        frame = self.frame
        errors = frame.error_positions
        numbers = [
            len(frame.request),
            self.stage,
            frame.payload_bytes,
            self.identity_position,
            frame.offset_position,
            self.next_identity,
            frame.minimum_answer_bytes,
        ]
        offsets = [frame.first_offset, frame.first_offset, frame.offset_step, frame.end_offset]
        positions = [*errors, *(number for batch in self.batches for number in batch)]
        head = struct.pack(">7I4q2I", *numbers, *offsets, len(errors), len(self.batches))
        return head + struct.pack(f">{len(positions)}I", *positions) + frame.request


@dataclass(frozen=True, slots=True)
class Producer:
    """One connection. `identity`: its producer id and epoch, as InitProducerId gave them."""

    identity: bytes
    requests: list[Request]


def plan(producers: list[Producer]) -> bytes:
    pieces = [struct.pack(">I", len(producers))]
    for producer in producers:
        pieces += [producer.identity, struct.pack(">I", len(producer.requests))]
        pieces += [request.encoded for request in producer.requests]
    return b"".join(pieces)


def produce(topic: str, partitions: list[int], batch: bytes, transactional_id: str, stage: int) -> Request:
    """The same transactional batch for each of `partitions`."""
    frame = frames.produce(topic, partitions, batch, -1, transactional_id)
    positions, position = [], 0
    for _ in partitions:
        position = frame.request.index(batch, position)
        positions.append((position, len(batch)))
        position += len(batch)
    return Request(frame, stage, batches=tuple(positions))


def commit_offset(transactional_id: str, group: str, topic: str, stage: int) -> Request:
    request, position = coordinator_frames.txn_offset_commit(transactional_id, group, topic, 0)
    errors = (coordinator_frames.offset_error_position(topic),)
    return Request(Frame(request, error_positions=errors), stage, position)


def end(transactional_id: str, stage: int) -> Request:
    request, position = coordinator_frames.end_txn(transactional_id)
    return Request(Frame(request, error_positions=(END_TXN_ERROR,)), stage, position, NEXT_IDENTITY)


def transactional(batch: bytes) -> bytes:
    """The batch with the transactional bit and sequence numbers from 0; the generator makes the CRC."""
    changed = bytearray(batch)
    attributes = int.from_bytes(changed[21:23], "big") | 0x10
    changed[21:23] = attributes.to_bytes(2, "big")
    changed[53:57] = bytes(4)
    return bytes(changed)
