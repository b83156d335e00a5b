"""How much came in and went out, per topic and in all, since the broker started.

Nothing is counted for it when records are appended: messages are told from log end offsets and bytes from the
sizes of segments, by the difference to the last look. Totals do not fall when a topic is deleted.
"""

from collections.abc import Iterator

from odradek.broker.partitions import Partition, Topic
from odradek.broker.topics import Topics

PARTITIONS_AT_ONCE = 500


class Counts:
    """Sums since the start. A transaction marker counts as a message, as it does for Kafka."""

    __slots__ = ("bytes_in", "bytes_out", "messages_in")

    def __init__(self) -> None:
        self.messages_in = 0
        self.bytes_in = 0
        self.bytes_out = 0


class Traffic:
    """Counts as of the last :meth:`look`, and the ``size`` of all logs then. What a topic took between that
    and its deletion is not seen. One look at a time."""

    def __init__(self, topics: Topics) -> None:
        self.all_topics = Counts()
        self.by_topic: dict[Topic, Counts] = {}
        self.size = 0
        self._topics = topics
        self._seen: dict[Topic, list[tuple[int, int, int]]] = {
            topic: [_position(partition) for partition in topic.partitions]
            for topic in topics.by_name.values()
        }

    def look(self) -> None:
        """Takes in what came and went since the last time."""
        for _ in self.look_in_parts():
            pass

    def look_in_parts(self) -> Iterator[None]:
        """The same, a millisecond's work at a time; what others do in between may or may not be seen."""
        seen: dict[Topic, list[tuple[int, int, int]]] = {}
        by_topic: dict[Topic, Counts] = {}
        size = looked_at = 0
        for topic in list(self._topics.by_name.values()):
            counts = by_topic[topic] = self.by_topic.get(topic) or Counts()
            known = self._seen.get(topic, ())
            now = seen[topic] = []
            for index, partition in enumerate(list(topic.partitions)):
                position = messages, bytes_in, bytes_out = _position(partition)
                now.append(position)
                size += partition.log.size
                if index < len(known):
                    messages -= known[index][0]
                    bytes_in -= known[index][1]
                    bytes_out -= known[index][2]
                # A log that had to be made anew begins at zero again.
                _add(counts, messages, bytes_in, bytes_out)
                _add(self.all_topics, messages, bytes_in, bytes_out)
                looked_at += 1
                if looked_at % PARTITIONS_AT_ONCE == 0:
                    yield
        self._seen, self.by_topic, self.size = seen, by_topic, size


def _position(partition: Partition) -> tuple[int, int, int]:
    log = partition.log
    return log.log_end_offset, log.bytes_sealed + log.active.size, partition.bytes_fetched


def _add(counts: Counts, messages_in: int, bytes_in: int, bytes_out: int) -> None:
    counts.messages_in += max(messages_in, 0)
    counts.bytes_in += max(bytes_in, 0)
    counts.bytes_out += max(bytes_out, 0)
