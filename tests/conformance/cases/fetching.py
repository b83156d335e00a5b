"""Fetch: positions, limits, sessions (KIP-227), topic ids (KIP-516), and what is refused."""

import time
from typing import Any

from tests.conformance import raw
from tests.conformance.cases import Conversation, case
from tests.conformance.cases.records import produce
from tests.conformance.raw import FETCH_BY_NAME, batch_of, fetch_request


def filled(c: Conversation, partitions: int = 1) -> bytes:
    """Three batches: offsets 0 to 2, 3 to 4, 5 to 9."""
    topic_id = c.create(partitions)
    now_ms = int(time.time() * 1_000)
    for values, age_ms in (([b"a"] * 3, 3_000), ([b"b"] * 2, 2_000), ([b"c"] * 5, 1_000)):
        batch = batch_of(*values, timestamp_ms=now_ms - age_ms)
        c.quietly(raw.produce_request(c.topic, 0, batch), raw.PRODUCE_BY_NAME)
    return topic_id


def fetch(c: Conversation, offset: int, version: int = FETCH_BY_NAME, **options: Any) -> Any:
    return c.ask(fetch_request(c.topic, 0, offset, **options), version)


def by_id(topic_id: bytes, offset: int = 0, partition: int = 0, **options: Any) -> Any:
    where = raw.struct_of(
        "Fetch", "FetchPartition", partition=partition, fetch_offset=offset, partition_max_bytes=1_048_576
    )
    topics = [raw.struct_of("Fetch", "FetchTopic", topic_id=topic_id, partitions=[where])]
    settings: dict[str, Any] = {
        "max_wait_ms": 0,
        "min_bytes": 1,
        "max_bytes": 52_428_800,
        "session_epoch": -1,
    }
    return raw.request_of("Fetch", **{**settings, "topics": topics, **options})


@case
def fetch_in_every_version(c: Conversation) -> None:
    topic_id = filled(c)
    for version in range(4, 19):
        if version <= FETCH_BY_NAME:
            fetch(c, 0, version)
        else:
            c.ask(by_id(topic_id), version)


@case
def fetch_from_the_middle_of_a_batch_returns_that_batch(c: Conversation) -> None:
    filled(c)
    for offset in (1, 2, 3, 4, 9):
        fetch(c, offset)


@case
def fetch_at_and_beyond_the_end(c: Conversation) -> None:
    filled(c)
    for offset in (10, 11, -1, -2, 9_223_372_036_854_775_807):
        fetch(c, offset)


@case
def the_first_batch_is_whole_even_above_the_limit(c: Conversation) -> None:
    filled(c)
    for limit in (1, 80, 150, 170, 0, -1):
        fetch(c, 0, partition_max_bytes=limit)
    for limit in (1, 80, 150, 170, 0):
        fetch(c, 0, max_bytes=limit)


@case
def only_the_first_partition_of_a_fetch_may_exceed_the_limit(c: Conversation) -> None:
    c.create(2)
    for partition in (0, 1):
        produce(c, batch_of(b"x" * 1_000), partition=partition)
    wheres = [
        raw.struct_of(
            "Fetch", "FetchPartition", partition=index, fetch_offset=0, partition_max_bytes=1_048_576
        )
        for index in (0, 1)
    ]
    topics = [raw.struct_of("Fetch", "FetchTopic", topic=c.topic, partitions=wheres)]
    for limit in (100, 1_500, 5_000):
        c.ask(
            raw.request_of(
                "Fetch", max_wait_ms=0, min_bytes=1, max_bytes=limit, session_epoch=-1, topics=topics
            ),
            FETCH_BY_NAME,
        )


@case
def fetch_what_is_not_there(c: Conversation) -> None:
    filled(c)
    c.ask(fetch_request(c.topic, 1, 0), FETCH_BY_NAME)
    c.ask(fetch_request(c.topic, -1, 0), FETCH_BY_NAME)
    c.ask(fetch_request(c.new_name("nobody"), 0, 0), FETCH_BY_NAME)
    c.ask(by_id(bytes(range(16))), 17)
    c.ask(by_id(bytes(16)), 17)


@case
def fetch_with_leader_epochs(c: Conversation) -> None:
    filled(c)
    for epoch in (0, 1, 100, -1, -2):
        fetch(c, 0, current_leader_epoch=epoch)


@case
def fetch_read_committed(c: Conversation) -> None:
    filled(c)
    fetch(c, 0, isolation_level=1)


@case
def fetch_from_an_empty_partition(c: Conversation) -> None:
    c.create()
    fetch(c, 0)
    fetch(c, 1)


@case
def a_fetch_session(c: Conversation) -> None:
    topic_id = filled(c, 2)
    first = c.quietly(by_id(topic_id, session_epoch=0), 17)
    assert first.session_id > 0
    c.names[first.session_id] = "<session>"
    session = first.session_id

    def follow(epoch: int, **options: Any) -> None:
        answer = c.quietly(
            by_id(topic_id, **{"topics": [], **options, "session_id": session, "session_epoch": epoch}), 17
        )
        partitions = [
            (one.partition_index, one.error_code, one.high_watermark, bool(one.records))
            for topic in answer.responses
            for one in topic.partitions
        ]
        c.notes.append([answer.error_code, answer.session_id == session, partitions])

    follow(1)
    follow(2)
    moved = by_id(topic_id, 10).topics
    follow(3, topics=moved)
    follow(4)
    c.quietly(raw.produce_request(c.topic, 0, batch_of(b"new")), raw.PRODUCE_BY_NAME)
    follow(5)
    follow(6)
    follow(7, topics=by_id(topic_id, 11).topics)
    follow(8, topics=by_id(topic_id, 0, 1).topics)
    forgotten = [raw.struct_of("Fetch", "ForgottenTopic", topic_id=topic_id, partitions=[0])]
    follow(9, forgotten_topics_data=forgotten)
    follow(9)
    follow(42)
    follow(10)
    follow(-1)
    follow(11)


@case
def fetch_sessions_that_are_not_there(c: Conversation) -> None:
    topic_id = filled(c)
    c.ask(by_id(topic_id, session_id=12_345, session_epoch=1), 17)
    c.ask(by_id(topic_id, session_id=12_345, session_epoch=-1), 17)
    c.ask(by_id(topic_id, session_id=0, session_epoch=5), 17)


@case
def a_fetch_that_waits_for_more_bytes_ends_in_time(c: Conversation) -> None:
    filled(c)
    fetch(c, 0, min_bytes=100_000, max_wait_ms=200)
    fetch(c, 10, min_bytes=1, max_wait_ms=200)
    fetch(c, 10, min_bytes=0, max_wait_ms=300_000)


@case
def a_fetch_of_a_replica_that_is_none(c: Conversation) -> None:
    filled(c)
    fetch(c, 0, replica_id=7)


@case
def a_fetch_of_nothing(c: Conversation) -> None:
    c.ask(raw.request_of("Fetch", max_wait_ms=0, min_bytes=1, session_epoch=-1, topics=[]), FETCH_BY_NAME)
