"""A committed offset as bytes: half of what the object and its numbers take, and there may be millions.

All that most commits have is of one length; an expiry of its own and metadata lie behind it.
"""

from struct import Struct

from odradek.coordinator.records import CommittedOffset
from odradek.core.ids import TopicId

_ALWAYS = Struct("<qiqq16s")
"""Offset, leader epoch, time of the commit, where its record lies, topic id."""
PLAIN_SIZE = _ALWAYS.size
"""Bytes of one that has neither an expiry of its own nor metadata."""
_SOMETIMES = Struct("<q")
"""Expiry; the metadata follows as UTF-8."""
_NO_EXPIRY = -1
_TIME = Struct("<12xq")
_TOPIC_ID = slice(28, 44)

_pack, _unpack, _unpack_time = _ALWAYS.pack, _ALWAYS.unpack_from, _TIME.unpack_from


def keep(
    offset: int,
    leader_epoch: int,
    metadata: str,
    commit_timestamp_ms: int,
    expire_timestamp_ms: int,
    topic_id: TopicId,
    record_offset: int,
) -> bytes:
    """The fields of :class:`CommittedOffset` as bytes."""
    kept = _pack(offset, leader_epoch, commit_timestamp_ms, record_offset, topic_id)
    if metadata or expire_timestamp_ms != _NO_EXPIRY:
        kept += _SOMETIMES.pack(expire_timestamp_ms) + metadata.encode("utf-8", "surrogatepass")
    return kept


def look(kept: bytes) -> CommittedOffset:
    """What :func:`keep` was given."""
    offset, leader_epoch, commit_timestamp_ms, record_offset, topic_id = _unpack(kept)
    return CommittedOffset(
        offset,
        leader_epoch,
        _metadata(kept),
        commit_timestamp_ms,
        expire_timestamp_ms(kept),
        topic_id,
        record_offset,
    )


def position(kept: bytes) -> tuple[int, int, str]:
    """``offset``, ``leader_epoch`` and ``metadata`` alone: what consumers ask for."""
    offset, leader_epoch, _, _, _ = _unpack(kept)
    return offset, leader_epoch, _metadata(kept) if len(kept) > PLAIN_SIZE else ""


def _metadata(kept: bytes) -> str:
    return kept[PLAIN_SIZE + _SOMETIMES.size :].decode("utf-8", "surrogatepass")


def commit_timestamp_ms(kept: bytes) -> int:
    """``commit_timestamp_ms`` alone."""
    time: int = _unpack_time(kept)[0]
    return time


def expire_timestamp_ms(kept: bytes) -> int:
    """``expire_timestamp_ms`` alone."""
    if len(kept) == PLAIN_SIZE:
        return _NO_EXPIRY
    expiry: int = _SOMETIMES.unpack_from(kept, PLAIN_SIZE)[0]
    return expiry


def topic_id(kept: bytes) -> TopicId:
    """``topic_id`` alone."""
    return kept[_TOPIC_ID]
