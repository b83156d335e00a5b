"""The consumer group protocol of KIP-848 through a client that has it: confluent-kafka."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupType,
    KafkaError,
    KafkaException,
    Producer,
)
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.clients

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "200",
    "group.consumer.assignment.interval.ms": "0",
}
"""What takes seconds with the defaults takes a moment."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = BrokerProcess(tmp_path_factory.mktemp("consumer") / "data", SETTINGS).start()
    yield process.bootstrap
    process.stop()


@pytest.fixture
def topic(broker: str, request: pytest.FixtureRequest) -> str:
    name = f"{request.node.name.replace('_', '-')}"[:100]
    create(broker, name, 4)
    return name


def create(broker: str, name: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker})
    for future in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        future.result(60)


def publish(broker: str, topic: str, partitions: int, each: int) -> set[bytes]:
    producer = Producer({"bootstrap.servers": broker})
    values = {f"{partition}/{number}".encode() for partition in range(partitions) for number in range(each)}
    for value in values:
        producer.produce(topic, value, partition=int(value.split(b"/")[0]))
    assert producer.flush(60) == 0
    return values


def join(broker: str, group: str, topic: str, protocol: str = "consumer", **options: object) -> Consumer:
    settings: dict[str, object] = {
        "bootstrap.servers": broker,
        "group.id": group,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "topic.metadata.refresh.interval.ms": 500,
    }
    consumer = Consumer({**settings, **options})
    consumer.subscribe([topic])
    return consumer


def poll_until(consumers: list[Consumer], is_there: Callable[[], bool], timeout_s: float = 60) -> None:
    """Polls all in turn until ``is_there``; no records are meant to come meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not is_there():
        assert time.monotonic() < deadline, [consumer.assignment() for consumer in consumers]
        for consumer in consumers:
            consumer.poll(0.05)


def shares(consumers: list[Consumer]) -> list[int]:
    return sorted(len(consumer.assignment()) for consumer in consumers)


def read(consumers: list[Consumer], count: int) -> list[bytes]:
    """The next ``count`` values, or what came of them in a minute."""
    values: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(values) < count and time.monotonic() < deadline:
        for consumer in consumers:
            message = consumer.poll(0.05)
            if message is not None and message.error() is None:
                values.append(message.value())
    return values


def commit(classic: Consumer) -> None:
    """What was read. A classic member that has not heard yet of its group's next generation is refused, and
    asks again when it has."""
    deadline = time.monotonic() + 60
    while True:
        try:
            classic.commit(asynchronous=False)
            return
        except KafkaException as error:
            code = error.args[0].code()
            is_behind = code in (KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)
            if not is_behind or time.monotonic() > deadline:
                raise
        classic.poll(0.05)


def test_members_share_partitions_and_go_on_where_they_committed(broker: str, topic: str) -> None:
    values = publish(broker, topic, 4, 10)
    first = join(broker, topic, topic)
    second = None
    try:
        assert set(read([first], len(values))) == values
        first.commit(asynchronous=False)
        second = join(broker, topic, topic)
        poll_until([first, second], lambda: shares([first, second]) == [2, 2])
        later = publish(broker, topic, 4, 5)
        assert set(read([first, second], len(later))) == later
        second.commit(asynchronous=False)
        second.close()
        second = None
        poll_until([first], lambda: shares([first]) == [4])
        admin = AdminClient({"bootstrap.servers": broker})
        groups = admin.list_consumer_groups().result().valid
        (listed,) = (group for group in groups if group.group_id == topic)
        assert (listed.type, listed.state) == (ConsumerGroupType.CONSUMER, ConsumerGroupState.STABLE)
    finally:
        first.close()
        if second is not None:
            second.close()


def test_a_regular_expression_finds_topics_made_later(broker: str, topic: str) -> None:
    consumer = join(broker, topic, f"^{topic}.*")
    try:
        poll_until([consumer], lambda: shares([consumer]) == [4])
        create(broker, f"{topic}-later", 2)
        poll_until([consumer], lambda: shares([consumer]) == [6])
    finally:
        consumer.close()


def test_a_static_member_comes_back_without_a_rebalance(broker: str, topic: str) -> None:
    other = join(broker, topic, topic)
    static = join(broker, topic, topic, **{"group.instance.id": "i"})
    try:
        poll_until([other, static], lambda: shares([other, static]) == [2, 2])
        before = {one.partition for one in static.assignment()}
        static.close()
        static = join(broker, topic, topic, **{"group.instance.id": "i"})
        poll_until([other, static], lambda: len(static.assignment()) == 2)
        assert {one.partition for one in static.assignment()} == before
        assert len(other.assignment()) == 2
    finally:
        other.close()
        static.close()


def test_members_of_both_protocols_share_a_group(broker: str, topic: str) -> None:
    """A rolling upgrade: a classic group, a member of the new protocol, then only members of it."""
    values = publish(broker, topic, 4, 10)
    cooperative = {"partition.assignment.strategy": "cooperative-sticky", "heartbeat.interval.ms": 200}
    classic = join(broker, topic, topic, "classic", **cooperative)
    new = None
    try:
        assert set(read([classic], len(values))) == values
        commit(classic)
        new = join(broker, topic, topic)
        poll_until([classic, new], lambda: shares([classic, new]) == [2, 2])
        later = publish(broker, topic, 4, 5)
        assert set(read([classic, new], len(later))) == later
        commit(classic)
        new.commit(asynchronous=False)
        classic.close()
        classic = None
        poll_until([new], lambda: shares([new]) == [4])
    finally:
        for consumer in (classic, new):
            if consumer is not None:
                consumer.close()


def test_a_group_outlives_a_killed_broker(tmp_path: Path) -> None:
    """Members keep their epochs and partitions: nobody rejoins, nothing is read twice."""
    process = BrokerProcess(tmp_path / "data", SETTINGS).start()
    create(process.bootstrap, "t", 4)
    members = [join(process.bootstrap, "g", "t") for _ in range(2)]
    try:
        poll_until(members, lambda: shares(members) == [2, 2])  # what moves is read twice
        values = publish(process.bootstrap, "t", 4, 10)
        assert set(read(members, len(values))) == values
        members[0].commit(asynchronous=False)
        before = [member.assignment() for member in members]
        process.kill()
        process.start()
        later = publish(process.bootstrap, "t", 4, 5)
        assert sorted(read(members, len(later))) == sorted(later)
        assert [member.assignment() for member in members] == before
    finally:
        for member in members:
            member.close()
        process.stop()
