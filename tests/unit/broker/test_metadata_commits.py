import random
from collections.abc import Sequence
from typing import Any

import pytest

from odradek.broker.metadata_commits import MetadataCommits
from odradek.cluster.change import Change
from odradek.cluster.controller import auto_create_topics, create_cluster, register_broker
from odradek.cluster.fold import FoldError, fold_all
from odradek.cluster.image import EMPTY, ClusterImage
from odradek.cluster.records import TopicDeleted
from odradek.core.config.broker import broker_config
from odradek.core.errors import ApiError, ErrorCode


class FakeStore:
    """A metadata log whose disk fails when told to."""

    def __init__(self) -> None:
        self.image = fold_all(EMPTY, [*create_cluster("c"), *register_broker(1, None, was_clean=True)], 1)
        self.index = 1
        self.flushes = 0
        self.fails = False

    def append(self, records: Sequence[Any]) -> int:
        self.index += 1
        return self.index

    def flush(self) -> None:
        if self.fails:
            raise OSError(5, "Input/output error")
        self.flushes += 1

    def applied(self, image: ClusterImage) -> None:
        self.image = image

    def close(self) -> None:
        pass


CONFIG = broker_config({})
RANDOMNESS = random.Random(1)


def create(commits: MetadataCommits, *names: str) -> list[ClusterImage | ApiError]:
    told: list[ClusterImage | ApiError] = []
    commits.commit(auto_create_topics(commits.proposed, names, CONFIG, RANDOMNESS), told.append)
    return told


def flush(commits: MetadataCommits) -> None:
    assert commits.begin_flush()
    commits.run_flush()
    commits.finish_flush()


def test_a_change_is_proposed_at_once_and_visible_when_durable() -> None:
    applied: list[ClusterImage] = []
    commits = MetadataCommits(FakeStore(), lambda image, touched: applied.append(image))
    told = create(commits, "a")
    assert "a" in commits.proposed.topics
    assert "a" not in commits.image.topics
    assert told == []
    flush(commits)
    assert told == applied == [commits.image]
    assert "a" in commits.image.topics


def test_what_comes_during_a_flush_rides_on_the_next() -> None:
    store = FakeStore()
    commits = MetadataCommits(store, lambda image, touched: None)
    create(commits, "a")
    assert commits.begin_flush()
    second = create(commits, "b")
    commits.run_flush()
    commits.finish_flush()
    assert "b" not in commits.image.topics
    assert second == []
    flush(commits)
    assert "b" in commits.image.topics
    assert store.flushes == 2


def test_two_requests_in_flight_cannot_make_one_topic_twice() -> None:
    commits = MetadataCommits(FakeStore(), lambda image, touched: None)
    create(commits, "a")
    again = create(commits, "a")
    assert again == [], "that it exists may be said once nothing can take it back"
    flush(commits)
    assert again == [commits.image]
    assert len(create(commits, "a")) == 1, "nothing to wait for"


def test_what_cannot_be_folded_is_not_written() -> None:
    store = FakeStore()
    commits = MetadataCommits(store, lambda image, touched: None)
    with pytest.raises(FoldError):
        commits.commit(Change([TopicDeleted(bytes(16))], None), lambda image, touched: None)
    assert store.index == 1
    create(commits, "a")
    assert "a" in commits.proposed.topics


def test_one_who_fails_does_not_keep_the_others_waiting() -> None:
    def fail(image: ClusterImage | ApiError) -> None:
        raise ValueError

    commits = MetadataCommits(FakeStore(), fail)
    commits.commit(auto_create_topics(commits.proposed, ["a"], CONFIG, RANDOMNESS), fail)
    told = create(commits, "b")
    flush(commits)
    assert told == [commits.image]


def test_any_fault_in_a_flush_refuses_what_waits() -> None:
    store = FakeStore()
    store.flush = lambda: {}["a bug"]  # type: ignore[method-assign]
    commits = MetadataCommits(store, lambda image, touched: None)
    told = create(commits, "a")
    flush(commits)
    assert isinstance(told[0], ApiError)


def test_a_failed_flush_refuses_what_waits_and_all_that_follows() -> None:
    store = FakeStore()
    commits = MetadataCommits(store, lambda image, touched: None)
    told = create(commits, "a")
    store.fails = True
    flush(commits)
    (refusal,) = told
    assert isinstance(refusal, ApiError)
    assert refusal.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert "a" not in commits.image.topics
    store.fails = False
    for name in ("b", "a"):
        with pytest.raises(ApiError):
            create(commits, name)
