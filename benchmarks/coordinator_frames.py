"""Requests to coordinators as bytes, written by hand as in `frames.py`, and what their answers say."""

import struct

from benchmarks.frames import Frame, compact_string, request, unsigned_varint

OFFSET_COMMIT, FIND_COORDINATOR, INIT_PRODUCER_ID, END_TXN, TXN_OFFSET_COMMIT = 8, 10, 22, 26, 28
CONSUMER_GROUP_HEARTBEAT = 68
NULL = unsigned_varint(0)
TAGS = b"\0"
GROUP, TRANSACTION = 0, 1
IDENTITY_BYTES = 10
"""Producer id and epoch."""
NEXT_IDENTITY = 11
"""Where the answers to InitProducerId 5 and EndTxn 5 hold it: correlation id, tags, throttle, error."""
TRANSACTION_TIMEOUT_MS = 60_000


def find_coordinator(key_type: int, key: str) -> bytes:
    """The body of FindCoordinator 4 for one key; makes the coordinator's topic where there is none yet."""
    return struct.pack(">b", key_type) + unsigned_varint(2) + compact_string(key) + TAGS


def init_producer_id(transactional_id: str) -> bytes:
    """The body of InitProducerId 5."""
    identity = struct.pack(">iqh", TRANSACTION_TIMEOUT_MS, -1, -1)
    return compact_string(transactional_id) + identity + TAGS


def end_txn(transactional_id: str) -> tuple[bytes, int]:
    """EndTxn 5 that commits, and where in it the identity goes."""
    name = compact_string(transactional_id)
    frame = request(END_TXN, 5, name + bytes(IDENTITY_BYTES) + b"\1" + TAGS)
    return frame, len(frame) - 2 - IDENTITY_BYTES


def txn_offset_commit(transactional_id: str, group: str, topic: str, partition: int) -> tuple[bytes, int]:
    """TxnOffsetCommit 5 of one partition's offset, and where in it the identity goes."""
    before = compact_string(transactional_id) + compact_string(group)
    after = struct.pack(">i", -1) + compact_string("") + NULL  # no generation, member or instance
    after += _offsets(topic, partition)
    frame = request(TXN_OFFSET_COMMIT, 5, before + bytes(IDENTITY_BYTES) + after + TAGS)
    return frame, len(frame) - 1 - len(after) - IDENTITY_BYTES


def offset_commit(group: str, topic: str, partition: int, member: str = "", epoch: int = -1) -> Frame:
    """OffsetCommit 9 of one partition's offset, by a member, or as by one who reads without being one."""
    body = compact_string(group) + struct.pack(">i", epoch) + compact_string(member) + NULL
    frame = request(OFFSET_COMMIT, 9, body + _offsets(topic, partition) + TAGS)
    return Frame(frame, payload_bytes=1, error_positions=(offset_error_position(topic),))


def _offsets(topic: str, partition: int) -> bytes:
    where = struct.pack(">iqi", partition, 1, -1) + compact_string("") + TAGS
    return unsigned_varint(2) + compact_string(topic) + unsigned_varint(2) + where + TAGS


def offset_error_position(topic: str) -> int:
    """Of the one partition in an answer to an OffsetCommit 9 or TxnOffsetCommit 5."""
    return 4 + 1 + 4 + 1 + len(compact_string(topic)) + 1 + 4


def consumer_group_heartbeat(
    group: str, member: str, epoch: int, topics: list[str] | None = None, owned: "Owned | None" = None
) -> bytes:
    """The body of ConsumerGroupHeartbeat 1. With `topics` it joins; without it says that nothing changed.

    `owned` (topic id and its partitions) acknowledges an assignment.
    """
    body = compact_string(group) + compact_string(member) + struct.pack(">i", epoch) + NULL + NULL
    if topics is None:
        body += struct.pack(">i", -1) + NULL
    else:
        body += struct.pack(">i", 60_000) + unsigned_varint(len(topics) + 1)
        body += b"".join(compact_string(topic) for topic in topics)
    body += NULL + NULL  # no regular expression, no assignor
    return body + _owned(owned) + TAGS


Owned = list[tuple[bytes, list[int]]]


def _owned(owned: Owned | None) -> bytes:
    if owned is None:
        return NULL
    pieces = [unsigned_varint(len(owned) + 1)]
    for topic_id, partitions in owned:
        pieces += [topic_id, unsigned_varint(len(partitions) + 1)]
        pieces += [struct.pack(">i", partition) for partition in partitions]
        pieces.append(TAGS)
    return b"".join(pieces)


class Heartbeat:
    """The answer to a ConsumerGroupHeartbeat 1, from its body on."""

    __slots__ = ("assignment", "epoch", "error", "interval_ms")

    def __init__(self, answer: bytes) -> None:
        position = 1 + 4  # tags of the header, throttle
        (self.error,) = struct.unpack_from(">h", answer, position)
        position += 2
        for _ in range(2):  # error message, member id
            length, position = _varint(answer, position)
            position += max(length - 1, 0)
        self.epoch, self.interval_ms, is_there = struct.unpack_from(">iib", answer, position)
        self.assignment: Owned | None = None
        if is_there >= 0:
            self.assignment = _read_owned(answer, position + 9)


def _read_owned(answer: bytes, position: int) -> Owned:
    owned: Owned = []
    topics, position = _varint(answer, position)
    for _ in range(topics - 1):
        topic_id = answer[position : position + 16]
        count, position = _varint(answer, position + 16)
        owned.append((topic_id, list(struct.unpack_from(f">{count - 1}i", answer, position))))
        position += 4 * (count - 1) + 1
    return owned


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
