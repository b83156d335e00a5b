"""An image as change records, and back: folding a snapshot's records over nothing gives the image again."""

from collections.abc import Iterator

from odradek.cluster.entry import encode_entry, read_entry
from odradek.cluster.fold import Folder
from odradek.cluster.image import EMPTY, TOPIC_RESOURCE, ClusterImage
from odradek.cluster.records import (
    BrokerRegistered,
    ClientQuotaChanged,
    ClusterCreated,
    ConfigChanged,
    FeatureChanged,
    PartitionCreated,
    ProducerIdsAllocated,
    Record,
    TopicCreated,
)


def image_records(image: ClusterImage) -> Iterator[Record]:
    """Records that make ``image`` out of nothing, except for its index and its brokers' epochs."""
    yield ClusterCreated(image.cluster_id)
    for name, level in image.features.items():
        yield FeatureChanged(name, level)
    for topic in image.topics.values():
        yield TopicCreated(topic.name, topic.topic_id)
        for number, partition in enumerate(topic.partitions):
            yield PartitionCreated(
                topic.topic_id,
                number,
                partition.leader,
                partition.replicas,
                partition.isr,
                partition.leader_epoch,
                partition.partition_epoch,
            )
        for key, value in topic.configs.items():
            yield ConfigChanged(TOPIC_RESOURCE, topic.name, key, value)
    for (resource_type, resource_name), configs in image.configs.items():
        for key, value in configs.items():
            yield ConfigChanged(resource_type, resource_name, key, value)
    for entity, limits in image.quotas.items():
        for key, limit in limits.items():
            yield ClientQuotaChanged(entity, key, limit)
    yield ProducerIdsAllocated(0, image.next_producer_id)


def encode_snapshot(image: ClusterImage, last_hash: bytes) -> bytes:
    """``image`` as a file. ``last_hash`` is that of entry ``image.index``, so that the chain goes on.

    One entry for each broker, under the index of its registration, then one for all the rest.
    """
    pieces = []
    for broker in sorted(image.brokers.values(), key=lambda broker: broker.epoch):
        registration = BrokerRegistered(broker.broker_id, broker.rack, takes_over=False)
        pieces.append(encode_entry(broker.epoch, image.index, 0, last_hash, [registration])[0])
    pieces.append(encode_entry(image.index, image.index, 0, last_hash, list(image_records(image)))[0])
    return b"".join(pieces)


def decode_snapshot(data: bytes) -> tuple[ClusterImage, bytes]:
    """The image and the hash of its last entry. Raises what reading an entry or folding it raises."""
    folder = Folder(EMPTY)
    position = 0
    while True:
        entry = read_entry(data, position)
        position += entry.size
        for record in entry.records():
            folder.apply(record, entry.number)
        if position == len(data):
            return folder.image(entry.number), entry.previous_hash
