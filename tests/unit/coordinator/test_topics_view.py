"""Hashes of topics, held against those that a Kafka 4.3 wrote into its groups' records."""

import base64
from collections.abc import Sequence

from odradek.coordinator.topics_view import NO_TOPICS, TopicsView

from .harness import FakePartition, FakeTopic


def view(
    *topics: tuple[str, str, Sequence[tuple[int, ...]]], racks: dict[int, str] | None = None
) -> TopicsView:
    made = [
        FakeTopic(name, base64.urlsafe_b64decode(topic_id + "=="), tuple(map(FakePartition, replicas)))
        for name, topic_id, replicas in topics
    ]
    by_name = {topic.name: topic for topic in made}
    return TopicsView(by_name, {topic.topic_id: topic for topic in made}, racks or {}, 1)


T = ("t747147", "4wMOT-NeRUaNc7Rrjdz9aA", [(1,)] * 4)
U = ("u747147", "qJGtrue-SPSaj_Rj-j8xFA", [(1,)] * 2)


def test_hashes_are_kafkas() -> None:
    assert view(T, U).group_hash(["t747147"]) == -2218751655002764554
    assert view(T, U).group_hash(["u747147", "t747147"]) == -2860023781335033829


def test_racks_count_as_in_kafka() -> None:
    topic = ("racktopic", "651sVVfISBqlvfqicPJh6A", [(1,)] * 3)
    assert view(topic, racks={1: "rack-a"}).group_hash(["racktopic"]) == -3441050500155959102


def test_topics_that_are_not_there_do_not_count() -> None:
    assert view(T).group_hash(["t747147", "nothing"]) == view(T).group_hash(["t747147"])
    assert view(T).group_hash(["nothing"]) == NO_TOPICS.group_hash(["t747147"]) == 0


def test_partitions_ids_and_racks_count() -> None:
    names = ["t747147"]
    one = view(T).group_hash(names)
    assert one != view((T[0], T[1], [(1,)] * 5)).group_hash(names)
    assert one != view((T[0], U[1], T[2])).group_hash(names)
    assert one != view(T, racks={1: "a"}).group_hash(names)
    assert one == view(T, racks={2: "a"}).group_hash(names)
