"""Commands that are the controller's own."""

import random

from odradek.cluster.controller import (
    PRODUCER_ID_BLOCK,
    allocate_producer_ids,
    auto_create_topics,
    create_internal_topic,
)
from odradek.cluster.fold import fold_all
from odradek.core.config.broker import broker_config
from odradek.core.errors import ErrorCode
from tests.unit.cluster.support import image_with

CONFIG = broker_config()


def test_producer_id_blocks_follow_each_other() -> None:
    image = image_with()
    first = allocate_producer_ids(image, 1)
    image = fold_all(image, first.records, 2)
    second = allocate_producer_ids(image, 1)
    assert first.result == range(PRODUCER_ID_BLOCK)
    assert second.result == range(PRODUCER_ID_BLOCK, 2 * PRODUCER_ID_BLOCK)


def test_auto_creation_tells_what_is_refused() -> None:
    change = auto_create_topics(image_with("there"), ["a", "b c", "there"], CONFIG, random.Random(1))
    assert change.result == {"b c": ErrorCode.INVALID_TOPIC_EXCEPTION}
    assert "a" in fold_all(image_with("there"), change.records, 2).topics


def test_internal_topics() -> None:
    change = create_internal_topic(
        image_with(), "__consumer_offsets", 16, [("cleanup.policy", "compact")], CONFIG, random.Random(1)
    )
    topic = fold_all(image_with(), change.records, 2).topics["__consumer_offsets"]
    assert len(topic.partitions) == 16
    assert topic.configs == {"cleanup.policy": "compact"}
