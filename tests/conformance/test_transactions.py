"""Transactions through every client that knows them, with its default settings."""

import time
from collections.abc import Iterable

import pytest

from odradek.core.errors import ErrorCode
from tests.conformance.drivers.base import Driver, Message, Reader, Received, Refused
from tests.conformance.test_groups import create_topic

pytestmark = pytest.mark.clients

FENCED = {
    ErrorCode.INVALID_PRODUCER_EPOCH,
    ErrorCode.PRODUCER_FENCED,
    ErrorCode.INVALID_PRODUCER_ID_MAPPING,
}
"""What a producer may be told whose transactional id is somebody else's now."""


def messages(*values: str, partition: int = 0) -> list[Message]:
    return [Message(value.encode(), partition=partition) for value in values]


def values(received: Iterable[Received]) -> list[str]:
    return [(one.value or b"").decode() for one in received]


def shown(driver: Driver, topic: str, count: int, committed: bool, partition: int = 0) -> list[str]:
    """What such a reader is shown first: ``count`` records, and what comes in half a second more."""
    reader = driver.reader(topic, partition, "earliest", committed)
    try:
        return values(reader.take(count) + reader.poll(0.5))
    finally:
        reader.close()


def expect_nothing(reader: Reader, seconds: float = 1.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert reader.poll(0.2) == []


def test_committed_records_are_shown_and_aborted_ones_are_not(driver: Driver, name: str) -> None:
    create_topic(driver, name, 2)
    producer = driver.transactional(name)
    for number in range(6):
        producer.begin()
        producer.send(name, messages(f"{number}a", f"{number}b"))
        producer.send(name, messages(f"{number}c", partition=1))
        producer.end(commit=number % 2 == 0)
    producer.close()
    assert shown(driver, name, 6, committed=True) == ["0a", "0b", "2a", "2b", "4a", "4b"]
    assert shown(driver, name, 3, committed=True, partition=1) == ["0c", "2c", "4c"]
    all_values = [f"{number}{letter}" for number in range(6) for letter in "ab"]
    assert shown(driver, name, 12, committed=False) == all_values


def test_an_open_transaction_holds_back_what_is_behind_it(driver: Driver, name: str) -> None:
    create_topic(driver, name)
    slow, quick = driver.transactional(f"{name}-slow"), driver.transactional(f"{name}-quick")
    slow.begin()
    slow.send(name, messages("slow"))
    quick.begin()
    quick.send(name, messages("quick"))
    quick.end(commit=True)
    reader = driver.reader(name, 0, "earliest", committed=True)
    try:
        expect_nothing(reader)
        slow.end(commit=True)
        assert values(reader.take(2)) == ["slow", "quick"]
    finally:
        reader.close()
        slow.close()
        quick.close()


def test_a_second_producer_of_the_same_id_fences_the_first(driver: Driver, name: str) -> None:
    create_topic(driver, name)
    first = driver.transactional(name)
    first.begin()
    first.send(name, messages("of the first"))
    second = driver.transactional(name)
    second.begin()
    second.send(name, messages("of the second"))
    with pytest.raises(Refused) as refusal:
        first.end(commit=True)
    assert refusal.value.code in FENCED
    second.end(commit=True)
    second.close()
    assert shown(driver, name, 1, committed=True) == ["of the second"]


def test_offsets_count_when_their_transaction_is_committed(driver: Driver, name: str) -> None:
    create_topic(driver, name)
    driver.produce(name, messages("a", "b", "c"))
    member = driver.join(name, name)
    received = member.poll(0.5)
    deadline = time.monotonic() + 60
    while len(received) < 3:
        assert time.monotonic() < deadline
        received += member.poll(0.5)
    producer = driver.transactional(name)
    try:
        producer.begin()
        producer.send_offsets(member, name, {(name, 0): 1})
        producer.end(commit=False)
        assert committed(driver, name) is None
        producer.begin()
        producer.send_offsets(member, name, {(name, 0): 2})
        producer.end(commit=True)
        while committed(driver, name) is None:  # the marker comes a moment after the answer
            assert time.monotonic() < deadline + 20
            time.sleep(0.05)
        assert committed(driver, name) == 2
    finally:
        member.close()
        producer.close()


def committed(driver: Driver, name: str) -> int | None:
    offset = driver.group_offsets(name, name).get(0)
    return None if offset is None or offset[0] < 0 else offset[0]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_topic_is_copied_exactly_once(driver: Driver, name: str, protocol: str) -> None:
    if protocol not in driver.protocols:
        pytest.skip(f"{driver.name} knows the classic protocol only")
    source, target = f"{name}-source", f"{name}-target"
    create_topic(driver, source)
    create_topic(driver, target)
    producer = driver.transactional(name)
    kept = []
    for number in range(8):
        producer.begin()
        producer.send(source, messages(f"{number}a", f"{number}b", f"{number}c"))
        producer.end(commit=number != 3)
        kept += [] if number == 3 else [f"{number}a", f"{number}b", f"{number}c"]
    producer.close()
    driver.protocol = protocol
    try:
        driver.copy(f"{name}-group", source, target, len(kept))
    finally:
        driver.protocol = "classic"
    assert shown(driver, target, len(kept), committed=True) == kept
