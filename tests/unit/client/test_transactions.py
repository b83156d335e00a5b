"""Transactions against a broker of answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from odradek.client.client import Client
from odradek.client.transactions import (
    HangingTransaction,
    ProducerInfo,
    abort_at_partition,
    describe_producers,
    describe_transaction,
    find_hanging,
    init_producer,
    list_transactions,
)
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from tests.unit.client.fake import FakeBroker
from tests.unit.client.fake_transactions import FakeTransactions

T = TypeVar("T")

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


def asked(work: Callable[[Client], Awaitable[T]], fake: FakeTransactions) -> T:
    async def scenario() -> T:
        async with FakeBroker({"t": 2}, fake.answers) as broker, Client(broker.address) as client:
            return await work(client)

    return asyncio.run(scenario())


def test_listing_narrows_down() -> None:
    fake = FakeTransactions()
    fake.add("b", 2, "Ongoing", T0)
    fake.add("a", 1, "Empty")
    assert [one.transactional_id for one in asked(list_transactions, fake)] == ["a", "b"]
    found = asked(lambda client: list_transactions(client, states=["Ongoing"], producer_ids=[2]), fake)
    assert [(one.transactional_id, one.state, one.producer_id) for one in found] == [("b", "Ongoing", 2)]
    request: Any = fake.requests[-1]
    assert (request.duration_filter, request.transactional_id_pattern) == (-1, None)


def test_a_bad_pattern_is_named() -> None:
    with pytest.raises(ApiError, match=r"'\(' is no RE2 expression"):
        asked(lambda client: list_transactions(client, pattern="("), FakeTransactions())


def test_describing() -> None:
    fake = FakeTransactions()
    fake.add("a", 1, "Ongoing", T0, T1)
    found = asked(lambda client: describe_transaction(client, "a"), fake)
    assert (found.producer_id, found.state, found.partitions, found.coordinator) == (
        1,
        "Ongoing",
        [T0, T1],
        1,
    )
    with pytest.raises(ApiError, match="there is no transactional id b"):
        asked(lambda client: describe_transaction(client, "b"), fake)


def test_fencing_waits_for_the_abort() -> None:
    fake = FakeTransactions()
    fake.add("a", 1, "Ongoing", T0)
    fake.busy = 2
    assert asked(lambda client: init_producer(client, "a", 60_000), fake) == (7, 1)
    request: Any = fake.requests[-1]
    assert (request.transaction_timeout_ms, request.producer_id) == (60_000, -1)


def test_producers_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.client.transactions._PARTITIONS_AT_ONCE", 1)
    fake = FakeTransactions()
    fake.write(T1, 7, start_offset=5)
    found = asked(lambda client: describe_producers(client, [T0, T1]), fake)
    assert found == {T0: [], T1: [ProducerInfo(7, 0, 0, 1_000, -1, 5)]}
    assert len(fake.requests) == 2


def test_aborting_in_a_partition() -> None:
    fake = FakeTransactions()
    fake.write(T1, 7, start_offset=5)
    asked(lambda client: abort_at_partition(client, T1, fake.producers[T1][0]), fake)
    request: Any = fake.requests[-1]
    (marker,) = request.markers
    assert (marker.producer_id, marker.producer_epoch, marker.transaction_result) == (7, 0, False)
    assert marker.coordinator_epoch == 0, "no marker was ever seen: epoch -1 would be refused"
    with pytest.raises(ApiError) as caught:
        asked(lambda client: abort_at_partition(client, T0, ProducerInfo(8, 0, 0, 0, 3, 0)), fake)
    assert caught.value.code is ErrorCode.INVALID_PRODUCER_EPOCH


class TestHanging:
    """One transaction of producer 7 is open at offset 5 of t-1 since second 1."""

    def find(self, fake: FakeTransactions, before_ms: int = 2_000) -> list[HangingTransaction]:
        fake.write(T1, 7, start_offset=5)
        return asked(lambda client: find_hanging(client, [T0, T1], before_ms), fake)

    def test_nobody_knows_the_producer(self) -> None:
        (found,) = self.find(FakeTransactions())
        assert (found.partition, found.producer.start_offset, found.transactional_id) == (T1, 5, None)

    def test_its_coordinator_ended_it_elsewhere(self) -> None:
        fake = FakeTransactions()
        fake.add("a", 7, "CompleteAbort")
        (found,) = self.find(fake)
        assert found.transactional_id == "a"

    def test_its_coordinator_will_end_it(self) -> None:
        fake = FakeTransactions()
        fake.add("a", 7, "Ongoing", T0, T1)
        assert self.find(fake) == []

    def test_it_was_written_to_a_moment_ago(self) -> None:
        assert self.find(FakeTransactions(), before_ms=1_000) == []

    def test_its_id_expired_meanwhile(self) -> None:
        fake = FakeTransactions()
        fake.add("a", 7, "CompleteAbort")
        fake.forgotten.add("a")
        assert len(self.find(fake)) == 1

    def test_it_was_ended_while_we_looked(self) -> None:
        fake = FakeTransactions()
        fake.ends_after_describe_producers = True
        assert self.find(fake) == []
