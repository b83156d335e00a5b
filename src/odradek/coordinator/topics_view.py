"""What the coordinator must know of topics: which there are, their ids, partitions and racks.

It is given as one value per state of the cluster, so that what was made of it can be kept as long as it
lasts. Topic hashes are Kafka's (KIP-1101), so that a Kafka that takes a group over, or hands one over, does
not take its topics for changed.

Source: ``org.apache.kafka.coordinator.group.Utils`` (``computeTopicHash``, ``computeGroupHash``).
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from odradek.core.ids import TopicId

_MAGIC = 0
_ID = struct.Struct("<qq")
_BIG_ID = struct.Struct(">qq")
_INT = struct.Struct("<i")


class PartitionView(Protocol):
    """One partition, as ``cluster/image.py`` has it."""

    @property
    def replicas(self) -> Sequence[int]: ...


class TopicView(Protocol):
    """One topic."""

    @property
    def name(self) -> str: ...

    @property
    def topic_id(self) -> TopicId: ...

    @property
    def partitions(self) -> Sequence[PartitionView]: ...


class TopicsView:
    """All topics at one moment. ``version`` grows from one moment to the next; ``racks`` are those of the
    brokers that have one, by their ids."""

    __slots__ = ("_hashes", "by_id", "by_name", "racks", "version")

    def __init__(
        self,
        by_name: Mapping[str, TopicView],
        by_id: Mapping[TopicId, TopicView],
        racks: Mapping[int, str],
        version: int,
    ) -> None:
        self.by_name = by_name
        self.by_id = by_id
        self.racks = racks
        self.version = version
        self._hashes: dict[str, int] = {}

    def group_hash(self, names: Iterable[str]) -> int:
        """The hash of those of these topics that exist: 0 for none, else a signed 64-bit number."""
        known = sorted(name for name in names if name in self.by_name)
        if not known:
            return 0
        return _signed(_xxh3(b"".join(self._topic_hash(name).to_bytes(8, "little") for name in known)))

    def _topic_hash(self, name: str) -> int:
        found = self._hashes.get(name)
        if found is None:
            found = self._hashes[name] = _xxh3(self._topic_bytes(self.by_name[name]))
        return found

    def _topic_bytes(self, topic: TopicView) -> bytes:
        parts = [
            bytes((_MAGIC,)),
            _ID.pack(*_BIG_ID.unpack(topic.topic_id)),
            _text(topic.name),
            _INT.pack(len(topic.partitions)),
        ]
        racks = self.racks
        for index, partition in enumerate(topic.partitions):
            parts.append(_INT.pack(index))
            for rack in sorted({racks[broker] for broker in partition.replicas if broker in racks}):
                raw = _text(rack)
                parts += (raw[-_INT.size :], raw)
        return b"".join(parts)


def _text(text: str) -> bytes:
    """As the hash library of Kafka takes it: UTF-16, then how many units. Racks have that in front too."""
    raw = text.encode("utf-16-le", "surrogatepass")
    return raw + _INT.pack(len(raw) // 2)


def _xxh3(raw: bytes) -> int:
    import xxhash  # Only where there are consumer groups: start-up does not pay for it.

    return xxhash.xxh3_64_intdigest(raw)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


NO_TOPICS = TopicsView({}, {}, {}, 0)
