import random

import pytest

from odradek.broker.fetch_sessions import MIN_EVICTION_MS, FetchSessions
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic


def request(
    session_id: int = 0, epoch: int = 0, offsets: dict[int, int] | None = None, forget: tuple[int, ...] = ()
) -> FetchRequest:
    partitions = [FetchPartition(partition=index, fetch_offset=at) for index, at in (offsets or {}).items()]
    return FetchRequest(
        session_id=session_id,
        session_epoch=epoch,
        topics=[FetchTopic(topic="t", partitions=partitions)] if partitions else [],
        forgotten_topics_data=[ForgottenTopic(topic="t", partitions=list(forget))] if forget else [],
    )


def sessions(slots: int = 10) -> FetchSessions:
    return FetchSessions(slots, random.Random(1))


def test_a_full_fetch_outside_of_sessions_makes_none() -> None:
    cache = sessions()
    assert cache.resolve(request(epoch=-1, offsets={0: 5}), 12, 0) is None
    assert len(cache) == 0


def test_an_incremental_fetch_adds_changes_and_forgets() -> None:
    cache = sessions()
    session = cache.resolve(request(offsets={0: 5, 1: 7}), 12, 0)
    assert session is not None
    again = cache.resolve(
        request(session.session_id, 1, offsets={1: 8, 2: 0}, forget=(0,)),
        12,
        1,
    )
    assert again is session
    assert {key: wanted.fetch_offset for key, wanted in session.partitions.items()} == {
        ("t", 1): 8,
        ("t", 2): 0,
    }
    assert session.epoch == 2


@pytest.mark.parametrize(
    ("session_id_offset", "epoch", "version", "code"),
    [
        (1, 1, 12, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
        (0, 2, 12, ErrorCode.INVALID_FETCH_SESSION_EPOCH),
        (0, 1, 13, ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR),
    ],
)
def test_a_request_that_does_not_fit_its_session_is_refused(
    session_id_offset: int, epoch: int, version: int, code: ErrorCode
) -> None:
    cache = sessions()
    session = cache.resolve(request(offsets={0: 5}), 12, 0)
    assert session is not None
    with pytest.raises(ApiError) as refused:
        cache.resolve(request(session.session_id + session_id_offset, epoch), version, 1)
    assert refused.value.code == code


def test_epoch_minus_one_ends_the_session() -> None:
    cache = sessions()
    session = cache.resolve(request(offsets={0: 5}), 12, 0)
    assert session is not None
    assert cache.resolve(request(session.session_id, -1, offsets={0: 5}), 12, 0) is None
    assert len(cache) == 0


def test_the_epoch_wraps_to_one() -> None:
    cache = sessions()
    session = cache.resolve(request(offsets={0: 5}), 12, 0)
    assert session is not None
    session.epoch = 0x7FFFFFFF
    cache.resolve(request(session.session_id, 0x7FFFFFFF), 12, 0)
    assert session.epoch == 1


def test_a_full_cache_gives_a_slot_only_when_one_was_idle_for_long() -> None:
    cache = sessions(slots=1)
    first = cache.resolve(request(offsets={0: 5}), 12, 0)
    assert first is not None
    assert cache.resolve(request(offsets={0: 5}), 12, MIN_EVICTION_MS - 1) is None
    second = cache.resolve(request(offsets={0: 5}), 12, MIN_EVICTION_MS)
    assert second is not None
    with pytest.raises(ApiError):
        cache.resolve(request(first.session_id, 1), 12, MIN_EVICTION_MS)


def test_a_partition_that_gave_data_is_served_last() -> None:
    cache = sessions()
    session = cache.resolve(request(offsets={0: 5, 1: 7, 2: 9}), 12, 0)
    assert session is not None
    session.serve_last(session.partitions["t", 0])
    assert [key[1] for key in session.partitions] == [1, 2, 0]
