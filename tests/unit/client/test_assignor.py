from odradek.client.assignor import assign_ranges
from odradek.core.ids import TopicPartition


def parts(topic: str, *partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in partitions]


def test_the_first_members_get_one_more() -> None:
    assignment = assign_ranges({"b": ["t"], "a": ["t"], "c": ["t"]}, {"t": 7})
    assert assignment == {"a": parts("t", 0, 1, 2), "b": parts("t", 3, 4), "c": parts("t", 5, 6)}


def test_members_only_get_what_they_subscribe_to() -> None:
    assignment = assign_ranges({"a": ["t", "u"], "b": ["u"]}, {"t": 2, "u": 2})
    assert assignment == {"a": parts("t", 0, 1) + parts("u", 0), "b": parts("u", 1)}


def test_more_members_than_partitions_leaves_some_idle() -> None:
    assert assign_ranges({"a": ["t"], "b": ["t"]}, {"t": 1}) == {"a": parts("t", 0), "b": []}


def test_a_topic_that_is_not_there_gives_nothing() -> None:
    assert assign_ranges({"a": ["gone"]}, {}) == {"a": []}
