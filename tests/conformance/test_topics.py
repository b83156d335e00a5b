"""Topics, their configs, partitions and records, administered through every client."""

import time
from collections.abc import Callable

import pytest

from odradek.core.errors import ErrorCode
from tests.conformance.drivers.base import Driver, Lacking, Message, Refused

pytestmark = pytest.mark.clients


def code_of(refusal: "pytest.ExceptionInfo[Refused]") -> ErrorCode:
    return refusal.value.code


def test_a_topic_has_the_partitions_that_were_asked_for(driver: Driver, name: str) -> None:
    driver.create_topic(name, 5)
    assert name in driver.list_topics()
    assert driver.partition_count(name) == 5


def test_a_topic_that_is_there_already(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    with pytest.raises(Refused) as refusal:
        driver.create_topic(name)
    assert code_of(refusal) is ErrorCode.TOPIC_ALREADY_EXISTS


@pytest.mark.parametrize("bad", ["with space", "slash/es", "x" * 250, ".."])
def test_an_invalid_topic_name(driver: Driver, bad: str) -> None:
    with pytest.raises(Refused) as refusal:
        driver.create_topic(bad)
    assert code_of(refusal) is ErrorCode.INVALID_TOPIC_EXCEPTION


def test_no_partitions(driver: Driver, name: str) -> None:
    with pytest.raises(Refused) as refusal:
        driver.create_topic(name, 0)
    assert code_of(refusal) is ErrorCode.INVALID_PARTITIONS


def test_more_replicas_than_brokers(driver: Driver, name: str) -> None:
    with pytest.raises(Refused) as refusal:
        driver.create_topic(name, 1, 3)
    assert code_of(refusal) is ErrorCode.INVALID_REPLICATION_FACTOR


@pytest.mark.parametrize(
    ("key", "value"),
    [("no.such.key", "1"), ("retention.ms", "soon"), ("cleanup.policy", "burn"), ("max.message.bytes", "-1")],
)
def test_an_invalid_config_of_a_new_topic(driver: Driver, name: str, key: str, value: str) -> None:
    with pytest.raises(Refused) as refusal:
        driver.create_topic(name, configs={key: value})
    assert code_of(refusal) is ErrorCode.INVALID_CONFIG
    assert name not in driver.list_topics()


def test_configs_are_described_altered_and_reset(driver: Driver, name: str) -> None:
    driver.create_topic(name, configs={"retention.ms": "123456789"})
    configs = driver.topic_config(name)
    assert configs["retention.ms"] == "123456789"
    assert configs["cleanup.policy"] == "delete"
    assert configs["segment.bytes"] == "1073741824"
    driver.set_topic_config(name, "retention.ms", "3600000")
    assert wait_for(lambda: driver.topic_config(name)["retention.ms"] == "3600000")
    driver.set_topic_config(name, "retention.ms", None)
    assert wait_for(lambda: driver.topic_config(name)["retention.ms"] == "604800000")


def wait_for(condition: Callable[[], bool]) -> bool:
    """A broker may learn of a change a moment after it was answered (Kafka's does)."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_an_invalid_value_changes_nothing(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    with pytest.raises(Refused) as refusal:
        driver.set_topic_config(name, "retention.ms", "soon")
    assert code_of(refusal) is ErrorCode.INVALID_CONFIG
    assert driver.topic_config(name)["retention.ms"] == "604800000"


def test_partitions_are_added_but_never_taken_away(driver: Driver, name: str) -> None:
    driver.create_topic(name, 2)
    driver.add_partitions(name, 4)
    assert wait_for(lambda: driver.partition_count(name) == 4)
    driver.produce(name, [Message(b"in the new one", partition=3)])
    with pytest.raises(Refused) as refusal:
        driver.add_partitions(name, 3)
    assert code_of(refusal) is ErrorCode.INVALID_PARTITIONS


def test_records_are_deleted_up_to_an_offset(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, [Message(b"%d" % number, partition=0) for number in range(10)])
    assert wait_for(lambda: driver.offset(name, 0, "latest") == 10)
    driver.delete_records(name, 0, 4)
    assert driver.offset(name, 0, "earliest") == 4
    assert driver.offset(name, 0, "latest") == 10
    reader = driver.reader(name, 0, "earliest")
    try:
        assert [one.offset for one in reader.take(6)] == list(range(4, 10))
    finally:
        reader.close()
    with pytest.raises(Refused) as refusal:
        driver.delete_records(name, 0, 11)
    assert code_of(refusal) is ErrorCode.OFFSET_OUT_OF_RANGE


def test_all_records_are_deleted_with_minus_one(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, [Message(b"%d" % number, partition=0) for number in range(10)])
    assert wait_for(lambda: driver.offset(name, 0, "latest") == 10)
    driver.delete_records(name, 0, -1)
    assert driver.offset(name, 0, "earliest") == 10


def test_a_deleted_topic_is_gone_and_its_name_is_free(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, [Message(b"old", partition=0)])
    driver.delete_topic(name)
    assert name not in driver.list_topics()
    driver.create_topic(name, 2)
    driver.produce(name, [Message(b"new", partition=0)])
    assert wait_for(lambda: driver.offset(name, 0, "latest") == 1)


def test_what_is_not_there_is_unknown(driver: Driver, name: str) -> None:
    with pytest.raises(Refused) as refusal:
        driver.delete_topic(name)
    assert code_of(refusal) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if driver.name == "aiokafka":
        pytest.skip("aiokafka's describe_topics() asks for topics to be created")
    with pytest.raises(Refused) as refusal:
        driver.partition_count(name)
    assert code_of(refusal) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    try:
        with pytest.raises(Refused) as refusal:
            driver.add_partitions(name, 3)
    except Lacking:
        return
    assert code_of(refusal) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_the_size_on_disk(driver: Driver, name: str) -> None:
    driver.create_topic(name)
    driver.produce(name, [Message(b"x" * 10_000, partition=0)])
    assert 100 < driver.log_size(name) < 20_000


def test_the_cluster_has_a_name_and_a_node(driver: Driver) -> None:
    cluster_id, nodes = driver.cluster()
    assert len(cluster_id) == 22
    assert len(nodes) == 1
