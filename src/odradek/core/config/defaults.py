"""Where Odradek's defaults differ from Kafka's, each with its reason. Nothing else differs."""

from functools import cache
from typing import NamedTuple

from odradek.core.config.keys import broker_keys


class Difference(NamedTuple):
    """One broker key whose default is ours."""

    name: str
    default: str
    reason: str


DIFFERENCES = (
    Difference(
        "log.flush.interval.messages",
        "1",
        "acks=all means on disk, also on one node; Kafka relies on replicas that a single node does not have",
    ),
    Difference("log.dirs", "./data", "/tmp is emptied by reboots"),
    Difference("log.dir", "./data", "/tmp is emptied by reboots"),
    Difference(
        "listeners",
        "PLAINTEXT://127.0.0.1:9092",
        "there is no authentication yet, so other machines get in only when asked for",
    ),
    Difference("node.id", "1", "one node needs no choice"),
    Difference("broker.id", "1", "the older name of node.id"),
    Difference("process.roles", "broker", "there is one role"),
    Difference(
        "controller.listener.names", "CONTROLLER", "stock server.properties name it so; it is not opened"
    ),
    Difference(
        "queued.max.request.bytes",
        "536870912",
        "thousands of requests that are sent by halves must not take all memory; Kafka sets no bound",
    ),
    Difference("offsets.topic.num.partitions", "16", "enough for one node; fewer files and a quicker start"),
    Difference(
        "offsets.topic.replication.factor", "1", "one node holds one replica; larger values are capped to 1"
    ),
    Difference("transaction.state.log.replication.factor", "1", "one node; larger values are capped to 1"),
    Difference("transaction.state.log.min.isr", "1", "one node; larger values are capped to 1"),
    Difference(
        "share.coordinator.state.topic.replication.factor", "1", "one node; larger values are capped to 1"
    ),
    Difference("share.coordinator.state.topic.min.isr", "1", "one node; larger values are capped to 1"),
)


@cache
def broker_defaults() -> dict[str, str | None]:
    """The default of every broker key, ours where it differs."""
    found = {name: key.default for name, key in broker_keys().items()}
    found.update((difference.name, difference.default) for difference in DIFFERENCES)
    return found
