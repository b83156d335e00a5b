"""Image → snapshot → image."""

import pytest

from odradek.cluster.entry import EntryError
from odradek.cluster.fold import fold_all
from odradek.cluster.image import BROKER_RESOURCE, TOPIC_RESOURCE
from odradek.cluster.records import BrokerRegistered, ConfigChanged, FeatureChanged, ProducerIdsAllocated
from odradek.cluster.snapshot import decode_snapshot, encode_snapshot
from tests.unit.cluster.support import image_with

HASH = bytes(range(16))


def test_round_trip() -> None:
    image = fold_all(
        image_with("a", "b", partitions=3),
        [
            ConfigChanged(TOPIC_RESOURCE, "a", "retention.ms", "5"),
            ConfigChanged(BROKER_RESOURCE, "", "message.max.bytes", "6"),
            ProducerIdsAllocated(1, 3000),
            FeatureChanged("f", 1),
            BrokerRegistered(1, "r", True),
            BrokerRegistered(2, None, False),
        ],
        9,
    )
    again, last_hash = decode_snapshot(encode_snapshot(image, HASH))
    assert last_hash == HASH
    for part in image.__slots__:
        assert getattr(again, part) == getattr(image, part), part


def test_cut_short() -> None:
    data = encode_snapshot(image_with("a"), HASH)
    with pytest.raises(EntryError):
        decode_snapshot(data[:-1])
    with pytest.raises(EntryError):
        decode_snapshot(b"")
