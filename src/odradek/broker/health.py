"""Whether the broker is well: what of it cannot be used, and how much room is left."""

from typing import TYPE_CHECKING, NamedTuple

from odradek.broker.recovery import RecoveryProgress
from odradek.core.ids import TopicPartition

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


class Health(NamedTuple):
    """One look. ``offline`` says of each partition that cannot be used why; sizes are in bytes."""

    partitions: int
    offline: dict[TopicPartition, str]
    metadata_failure: str | None
    disk_total: int
    disk_usable: int
    is_full: bool = False
    """Producers are refused for want of room."""
    recovery: RecoveryProgress = RecoveryProgress(0, 0, 0)
    """Partitions that come online by themselves."""

    @property
    def online(self) -> int:
        """How many partitions can be used."""
        return self.partitions - len(self.offline) - self.recovery.partitions

    @property
    def problems(self) -> list[str]:
        """What keeps the broker from being ready, one line each; partitions beyond ten are only counted."""
        found = []
        if self.metadata_failure is not None:
            found.append(f"the metadata log failed, nothing can be changed: {self.metadata_failure}")
        if self.is_full:
            found.append("the disk is full: producers are refused until there is room")
        if self.recovery.partitions:
            done, total = self.recovery.done >> 20, self.recovery.total >> 20
            found.append(
                f"{self.recovery.partitions} partitions are being recovered, {done} of {total} MB are checked"
            )
        found += [
            f"{partition} is offline: {reason}" for partition, reason in list(self.offline.items())[:10]
        ]
        if len(self.offline) > 10:
            found.append(f"{len(self.offline) - 10} more partitions are offline")
        return found


def background(broker: "Broker") -> dict[str, dict[str, object]]:
    """How scrub and compaction are doing, for JSON; times are ms of the wall clock, -1 never."""
    scrub, cleaner = broker.scrubber.progress, broker.cleaner
    return {
        "scrub": scrub._asdict(),
        "cleaner": {
            "max_dirty_ratio": round(cleaner.dirtiest_ratio, 4),
            "running": [str(one.topic_partition) for one in cleaner.passes],
            "passes": cleaner.passes_done,
            "last_run_ms": cleaner.last_done_ms,
            "uncleanable": {str(one.topic_partition): str(why) for one, why in cleaner.uncleanable.items()},
        },
    }


def look(broker: "Broker") -> Health:
    """The broker's health as of now; asks the file system for its room once."""
    offline = {}
    count = recovering = 0
    for topic in broker.topics.by_name.values():
        count += len(topic.partitions)
        for partition in topic.partitions:
            recovering += partition.log.is_recovering
            is_coming = partition.log.is_recovering or partition in broker.topics.making
            if partition.log.offline is not None and not is_coming:
                offline[partition.topic_partition] = str(partition.log.offline)
    failure = broker.metadata.failure
    total, usable = broker.store.disk.space(broker.store.folder)
    text = None if failure is None else str(failure)
    recovery = broker.recovery.progress._replace(partitions=recovering)
    return Health(count, offline, text, total, usable, broker.room.is_full, recovery)
