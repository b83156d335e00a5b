"""How much came in and went out, per topic and in all, since the broker started.

Nothing is counted for it when records are appended: messages are told from log end offsets and bytes from the
sizes of segments, by the difference to the last look. Totals do not fall when a topic is deleted.
"""

from odradek.broker.partitions import Partition, Topic
from odradek.broker.topics import Topics


class Counts:
    """Sums since the start. A transaction marker counts as a message, as it does for Kafka."""

    __slots__ = ("bytes_in", "bytes_out", "messages_in")

    def __init__(self) -> None:
        self.messages_in = 0
        self.bytes_in = 0
        self.bytes_out = 0


class Traffic:
    """Counts as of the last :meth:`look`. What a topic took between that and its deletion is not seen."""

    def __init__(self, topics: Topics) -> None:
        self.all_topics = Counts()
        self.by_topic: dict[Topic, Counts] = {}
        self._topics = topics
        self._seen: dict[Topic, list[tuple[int, int, int]]] = {
            topic: [_position(partition) for partition in topic.partitions]
            for topic in topics.by_name.values()
        }

    def look(self) -> None:
        """Takes in what came and went since the last time; costs about a microsecond per partition."""
        before, self._seen = self._seen, {}
        counts_before, self.by_topic = self.by_topic, {}
        for topic in self._topics.by_name.values():
            counts = self.by_topic[topic] = counts_before.get(topic) or Counts()
            now = self._seen[topic] = [_position(partition) for partition in topic.partitions]
            known = before.get(topic, ())
            for index, (messages, bytes_in, bytes_out) in enumerate(now):
                if index < len(known):
                    messages -= known[index][0]
                    bytes_in -= known[index][1]
                    bytes_out -= known[index][2]
                # A log that had to be made anew begins at zero again.
                _add(counts, messages, bytes_in, bytes_out)
                _add(self.all_topics, messages, bytes_in, bytes_out)


def _position(partition: Partition) -> tuple[int, int, int]:
    log = partition.log
    return log.log_end_offset, log.bytes_sealed + log.active.size, partition.bytes_fetched


def _add(counts: Counts, messages_in: int, bytes_in: int, bytes_out: int) -> None:
    counts.messages_in += max(messages_in, 0)
    counts.bytes_in += max(bytes_in, 0)
    counts.bytes_out += max(bytes_out, 0)
