"""What each record does to the image, and that images are never changed in place."""

import time

import pytest

from odradek.cluster.fold import FoldError, fold, fold_all
from odradek.cluster.image import BROKER_RESOURCE, EMPTY, TOPIC_RESOURCE, BrokerImage
from odradek.cluster.records import (
    BrokerRegistered,
    ClusterCreated,
    ConfigChanged,
    FeatureChanged,
    PartitionCreated,
    ProducerIdsAllocated,
    Record,
    TopicDeleted,
)
from tests.unit.cluster.support import image_with, topic_id, topic_records


def test_create_topic() -> None:
    image = image_with("a", partitions=3)
    topic = image.topics["a"]
    assert image.cluster_id == "cluster"
    assert image.topics_by_id[topic_id(1)] is topic
    assert [partition.leader for partition in topic.partitions] == [1, 1, 1]
    assert topic.configs == {}


def test_old_images_stay_as_they_are() -> None:
    before = image_with("a", "b")
    after = fold_all(before, [TopicDeleted(topic_id(1)), *topic_records("c", 3)], 2)
    assert sorted(before.topics) == ["a", "b"]
    assert sorted(after.topics) == ["b", "c"]
    assert after.topics["b"] is before.topics["b"]
    assert after.configs is before.configs
    assert (before.index, after.index) == (1, 2)


def test_topic_configs() -> None:
    image = fold(image_with("a"), ConfigChanged(TOPIC_RESOURCE, "a", "retention.ms", "5"), 2)
    assert image.topics["a"].configs == {"retention.ms": "5"}
    assert image.topics_by_id[topic_id(1)] is image.topics["a"]
    image = fold(image, ConfigChanged(TOPIC_RESOURCE, "a", "retention.ms", None), 3)
    assert image.topics["a"].configs == {}


def test_configs_and_partitions_in_one_entry() -> None:
    records = topic_records("b", 2, 2)
    records.insert(2, ConfigChanged(TOPIC_RESOURCE, "b", "retention.ms", "5"))
    topic = fold_all(image_with("a"), records, 2).topics["b"]
    assert len(topic.partitions) == 2
    assert topic.configs == {"retention.ms": "5"}


def test_broker_configs() -> None:
    image = fold(image_with(), ConfigChanged(BROKER_RESOURCE, "1", "message.max.bytes", "5"), 2)
    assert image.resource_configs((BROKER_RESOURCE, "1")) == {"message.max.bytes": "5"}
    image = fold(image, ConfigChanged(BROKER_RESOURCE, "1", "message.max.bytes", None), 3)
    assert image.configs == {}


def test_a_broker_that_takes_over_raises_leader_epochs() -> None:
    image = fold(image_with("a", partitions=2), BrokerRegistered(1, "rack", True), 7)
    assert image.brokers[1] == BrokerImage(1, 7, "rack")
    assert [(p.leader_epoch, p.partition_epoch) for p in image.topics["a"].partitions] == [(1, 1), (1, 1)]
    clean = fold(image, BrokerRegistered(1, "rack", False), 8)
    assert clean.topics is image.topics


def test_features_and_producer_ids() -> None:
    image = fold_all(EMPTY, [FeatureChanged("x", 2), ProducerIdsAllocated(1, 1000)], 1)
    assert image.features == {"x": 2}
    assert image.next_producer_id == 1000
    assert fold(image, FeatureChanged("x", 0), 2).features == {}


@pytest.mark.parametrize(
    "record",
    [
        ClusterCreated("other"),
        topic_records("a", 9)[0],
        topic_records("z", 1)[0],
        TopicDeleted(topic_id(9)),
        PartitionCreated(topic_id(9), 0, 1, (1,), (1,)),
        PartitionCreated(topic_id(1), 5, 1, (1,), (1,)),
        ConfigChanged(TOPIC_RESOURCE, "z", "a", "b"),
    ],
)
def test_records_that_do_not_fit(record: Record) -> None:
    with pytest.raises(FoldError):
        fold(image_with("a"), record, 2)


def test_producer_ids_never_go_back() -> None:
    with pytest.raises(FoldError, match="twice"):
        fold_all(EMPTY, [ProducerIdsAllocated(1, 2000), ProducerIdsAllocated(1, 1000)], 1)


def test_a_change_is_cheap_beside_ten_thousand_partitions() -> None:
    image = image_with(*(f"topic-{number}" for number in range(10_000)))
    change = topic_records("another", 20_000)
    started_s = time.thread_time()
    for _ in range(20):
        fold_all(image, change, 2)
    assert (time.thread_time() - started_s) / 20 < 0.02
