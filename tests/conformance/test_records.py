"""Publishing and reading, through every client with its default settings."""

import random
import time

import pytest

from odradek.core.errors import ErrorCode
from tests.conformance.drivers.base import Driver, Message, Received, Refused, Start

pytestmark = pytest.mark.clients


def read(driver: Driver, topic: str, count: int, start: Start = "earliest") -> list[Received]:
    reader = driver.reader(topic, 0, start)
    try:
        return reader.take(count)
    finally:
        reader.close()


def values(received: list[Received]) -> list[bytes | None]:
    return [one.value for one in received]


def wait_for_end(driver: Driver, topic: str, end: int) -> None:
    """aiokafka publishes with acks=1 by default: answered at once, shown to readers when it is durable."""
    deadline = time.monotonic() + 60
    while driver.offset(topic, 0, "latest") != end:
        assert time.monotonic() < deadline, f"the end of the log does not reach {end}"


def numbered(count: int, **same: int) -> list[Message]:
    return [Message(b"value %d" % number, **same) for number in range(count)]


def test_keys_headers_and_nulls_come_back_as_they_were(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    messages = [
        Message(b"value", b"key", (("empty", b""), ("trace", b"1")), partition=0),
        Message(None, b"deleted", partition=0),
        Message(b"", b"", partition=0),
        Message(b"no key", partition=0),
        Message("여우 🦊".encode(), "키".encode(), (("이름", "값".encode()),), partition=0),
        Message(bytes(range(256)), bytes(range(256)), partition=0),
    ]
    assert driver.produce(name, messages) == [(0, offset) for offset in range(6)]
    received = read(driver, name, 6)
    assert [(one.offset, one.key, one.value, one.headers) for one in received] == [
        (offset, message.key, message.value, message.headers) for offset, message in enumerate(messages)
    ]


def test_repeated_and_null_headers(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    headers = (("a", b"1"), ("a", b"2"), ("b", None))
    driver.produce(name, [Message(b"value", headers=headers, partition=0)])
    assert read(driver, name, 1)[0].headers == headers


def test_the_time_of_a_record_is_its_producers(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    long_ago_ms = int(time.time() * 1_000) - 3_600_000
    driver.produce(
        name, [Message(b"then", partition=0, timestamp_ms=long_ago_ms), Message(b"now", partition=0)]
    )
    then, now = read(driver, name, 2)
    assert then.timestamp_ms == long_ago_ms
    assert abs(now.timestamp_ms - time.time() * 1_000) < 60_000


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_every_compression_comes_back(driver: Driver, name: str, compression: str) -> None:
    driver.create_topic(name)
    messages = [
        Message(b"the same again and again " * 40 + b"%d" % number, b"key %d" % number, partition=0)
        for number in range(200)
    ]
    driver.produce(name, messages, compression)
    received = read(driver, name, 200)
    assert [(one.key, one.value) for one in received] == [(one.key, one.value) for one in messages]


def test_many_records_keep_their_order(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    messages = [Message(b"%d " % number + b"x" * 500, partition=0) for number in range(4_000)]
    for first in range(0, 4_000, 1_000):
        where = driver.produce(name, messages[first : first + 1_000])
        assert where == [(0, offset) for offset in range(first, first + 1_000)]
    received = read(driver, name, 4_000)
    assert [one.offset for one in received] == list(range(4_000))
    assert values(received) == [message.value for message in messages]


def test_a_record_of_nearly_a_megabyte(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    large = random.Random(7).randbytes(990_000)
    driver.produce(name, [Message(large, partition=0), Message(b"behind it", partition=0)])
    assert values(read(driver, name, 2)) == [large, b"behind it"]


def test_too_large_a_record_is_refused_and_the_next_one_is_not(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    large = random.Random(7).randbytes(2_000_000)
    with pytest.raises(Refused) as refused:
        driver.produce(name, [Message(large, partition=0)], max_request_bytes=4_000_000)
    assert refused.value.code is ErrorCode.MESSAGE_TOO_LARGE
    assert driver.produce(name, [Message(b"small", partition=0)]) == [(0, 0)]


def test_max_message_bytes_of_the_topic_counts(driver: Driver, name: str) -> None:
    driver.create_topic(name, configs={"max.message.bytes": "1000"})
    with pytest.raises(Refused) as refused:
        driver.produce(name, [Message(random.Random(7).randbytes(3_000), partition=0)])
    assert refused.value.code is ErrorCode.MESSAGE_TOO_LARGE
    assert driver.produce(name, [Message(b"small", partition=0)]) == [(0, 0)]


def test_an_idempotent_producer(driver: Driver, name: str) -> None:
    driver.create_topic(name, 3)
    where = driver.produce(
        name, [Message(b"%d" % number, partition=number % 3) for number in range(3_000)], idempotent=True
    )
    assert where == [(number % 3, number // 3) for number in range(3_000)]
    assert values(read(driver, name, 1_000)) == [b"%d" % number for number in range(0, 3_000, 3)]


def test_records_of_one_key_share_a_partition(driver: Driver, name: str) -> None:
    driver.create_topic(name, 4)
    where = driver.produce(
        name, [Message(b"%d" % number, b"key %d" % (number % 20)) for number in range(200)]
    )
    partition_of = {number % 20: where[number][0] for number in range(200)}
    assert [partition for partition, _ in where] == [partition_of[number % 20] for number in range(200)]
    if driver.name != "rskafka":  # has no partitioner
        assert set(partition_of.values()) == {0, 1, 2, 3}


def test_reading_from_an_offset(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, numbered(10, partition=0))
    assert [one.offset for one in read(driver, name, 3, start=7)] == [7, 8, 9]


def test_reading_from_the_middle_of_a_compressed_batch(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, numbered(50, partition=0), "gzip")
    received = read(driver, name, 20, start=30)
    assert (received[0].offset, received[0].value) == (30, b"value 30")


def test_reading_from_the_end_sees_only_what_comes(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, numbered(5, partition=0))
    wait_for_end(driver, name, 5)
    reader = driver.reader(name, 0, "latest")
    try:
        assert reader.poll(0.3) == []
        driver.produce(name, [Message(b"new", partition=0)])
        received = reader.take(1)
    finally:
        reader.close()
    assert [(one.offset, one.value) for one in received] == [(5, b"new")]


def test_seeking_back_and_forth(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, numbered(20, partition=0))
    reader = driver.reader(name, 0, "earliest")
    try:
        assert reader.take(20)[0].offset == 0
        reader.seek(15)
        assert reader.take(5)[0].offset == 15
        reader.seek(3)
        assert reader.take(17)[0].offset == 3
    finally:
        reader.close()


def test_an_offset_beyond_the_end_starts_over_as_the_client_is_told(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, numbered(3, partition=0))
    if driver.name == "kafkajs":
        pytest.skip("the driver's seek waits for the very record it named")
    reader = driver.reader(name, 0, 1_000)
    try:
        if driver.name == "rskafka":  # has no reset policy
            with pytest.raises(Refused) as refused:
                reader.poll(1)
            assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
            return
        deadline = time.monotonic() + 60
        received: list[Received] = []
        while not received and time.monotonic() < deadline:
            driver.produce(name, [Message(b"later", partition=0)])
            received = reader.poll(0.5)
        assert {one.value for one in received} <= {b"later", b"value 0", b"value 1", b"value 2"}
        assert received
    finally:
        reader.close()


def test_offsets_by_name_and_by_time(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    base_ms = int(time.time() * 1_000) - 600_000
    driver.produce(
        name,
        [
            Message(b"first", partition=0, timestamp_ms=base_ms),
            Message(b"highest", partition=0, timestamp_ms=base_ms + 5_000),
            Message(b"back again", partition=0, timestamp_ms=base_ms + 2_000),
        ],
    )
    wait_for_end(driver, name, 3)
    assert driver.offset(name, 0, "earliest") == 0
    assert driver.offset(name, 0, base_ms - 1) == 0
    assert driver.offset(name, 0, base_ms + 1) == 1
    assert driver.offset(name, 0, base_ms + 5_001) is None
    assert driver.offset(name, 0, "max_timestamp") == 1


def test_offsets_of_an_empty_partition(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    assert driver.offset(name, 0, "earliest") == 0
    assert driver.offset(name, 0, "latest") == 0
    assert driver.offset(name, 0, 0) is None
    assert driver.offset(name, 0, "max_timestamp") is None


def test_publishing_creates_the_topic(driver: Driver, name: str) -> None:
    if driver.name in {"franz-go", "rskafka"}:
        pytest.skip(f"{driver.name} does not ask for topics to be created by default")
    assert driver.produce(name, [Message(b"first of a new topic")])[0] == (0, 0)
    assert name in driver.list_topics()
    assert values(read(driver, name, 1)) == [b"first of a new topic"]


def test_log_append_time(driver: Driver, name: str) -> None:
    driver.create_topic(name, configs={"message.timestamp.type": "LogAppendTime"})
    long_ago_ms = int(time.time() * 1_000) - 3_600_000
    driver.produce(name, [Message(b"x", partition=0, timestamp_ms=long_ago_ms)])
    assert abs(read(driver, name, 1)[0].timestamp_ms - time.time() * 1_000) < 60_000
