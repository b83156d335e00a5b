"""Consumer groups of both protocols through every client with its default settings."""

import time
from collections.abc import Iterator

import pytest

from odradek.core.errors import ErrorCode
from tests.conformance.cases import Conversation
from tests.conformance.cases.configs import GROUP, SET, alter
from tests.conformance.drivers.base import Driver, Member, Message, Received, Refused, settle

pytestmark = pytest.mark.clients


@pytest.fixture(autouse=True, params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest, driver: Driver) -> Iterator[str]:
    """The group protocol of all members."""
    wanted: str = request.param
    if wanted not in driver.protocols:
        pytest.skip(f"{driver.name} knows the classic protocol only")
    driver.protocol = wanted
    yield wanted
    driver.protocol = "classic"


def take(members: list[Member], count: int, timeout_s: float = 60.0) -> list[Received]:
    """Polls all members in turn until ``count`` records have come."""
    received: list[Received] = []
    deadline = time.monotonic() + timeout_s
    while len(received) < count:
        assert time.monotonic() < deadline, f"only {len(received)} of {count} records came"
        for member in members:
            received += member.poll(0.1)
    return received


def create_topic(driver: Driver, topic: str, partitions: int = 1) -> None:
    """Also waits until the broker that is asked next knows of it, which with Kafka takes a moment."""
    driver.create_topic(topic, partitions)
    deadline = time.monotonic() + 60
    while True:
        try:
            if driver.partition_count(topic) == partitions:
                return
        except Refused:
            assert time.monotonic() < deadline, "the new topic does not appear"
        time.sleep(0.05)


def publish(driver: Driver, topic: str, partitions: int, each: int, mark: str = "") -> set[bytes]:
    messages = [
        Message(f"{mark}{partition}/{number}".encode(), partition=partition)
        for partition in range(partitions)
        for number in range(each)
    ]
    driver.produce(topic, messages)
    return {message.value for message in messages if message.value is not None}


def wait_until_empty(driver: Driver, group: str) -> None:
    deadline = time.monotonic() + 60
    while driver.describe_group(group).state != "empty":
        assert time.monotonic() < deadline, "the group did not become empty"
        time.sleep(0.1)


def test_one_member_reads_all_partitions_and_resumes_where_it_committed(driver: Driver, name: str) -> None:
    create_topic(driver, name, 3)
    first = publish(driver, name, 3, 10)
    member = driver.join(name, name)
    try:
        received = take([member], 30)
        assert {one.value for one in received} == first
        member.commit()
    finally:
        member.close()
    second = publish(driver, name, 3, 5, "later ")
    member = driver.join(name, name)
    try:
        assert {one.value for one in take([member], 15)} == second
    finally:
        member.close()
    assert {partition: offset for partition, (offset, _) in driver.group_offsets(name, name).items()} == {
        0: 10,
        1: 10,
        2: 10,
    }


def test_what_was_not_committed_comes_again(driver: Driver, name: str) -> None:
    create_topic(driver, name)
    all_values = publish(driver, name, 1, 10)
    for _ in range(2):
        member = driver.join(name, name)
        try:
            assert {one.value for one in take([member], 10)} == all_values
        finally:
            member.close()


def test_members_share_the_partitions_and_take_over_from_one_that_leaves(driver: Driver, name: str) -> None:
    create_topic(driver, name, 6)
    members: list[Member] = []
    try:
        members.append(driver.join(name, name))
        settle(members, 6)
        members.append(driver.join(name, name))
        members.append(driver.join(name, name))
        assignments, _ = settle(members, 6)
        assert sorted(len(owned) for owned in assignments.values()) == [2, 2, 2]
        values = publish(driver, name, 6, 10)
        assert sorted(str(one.value) for one in take(members, 60)) == sorted(str(value) for value in values)
        for member in members:
            member.commit()
        members.pop().close()
        assignments, again = settle(members, 6)
        assert sorted(len(owned) for owned in assignments.values()) == [3, 3]
        more = publish(driver, name, 6, 10, "more ")
        received = again + take(members, 60 - len(again))
        assert {one.value for one in received} == more
    finally:
        for member in members:
            member.close()


def test_a_static_member_comes_back_to_its_partitions(driver: Driver, name: str, bootstrap: str) -> None:
    create_topic(driver, name, 4)
    # Who is away for a moment is waited for, however slow this machine is: as long as by default.
    conversation = Conversation(bootstrap)
    alter(conversation, GROUP, name, (SET, "consumer.session.timeout.ms", "45000"))
    conversation.close()
    members = {instance: driver.join(name, name, instance) for instance in ("one", "two")}
    try:
        before, _ = settle(members.values(), 4)
        owned = before[members["two"]]
        described = dict(driver.describe_group(name).members)
        if driver.name != "aiokafka":  # asks in a version that has no instance ids
            assert described == {instance: before[member] for instance, member in members.items()}
        members["two"].close()
        deadline = time.monotonic() + 4  # longer than a heartbeat: nobody may be told of a rebalance
        while time.monotonic() < deadline:
            members["one"].poll(0.1)
        assert members["one"].assignment() == before[members["one"]]
        members["two"] = driver.join(name, name, "two")
        after, _ = settle(members.values(), 4)
        assert after[members["two"]] == owned
    finally:
        for member in members.values():
            member.close()


def test_seeking_inside_a_group(driver: Driver, name: str) -> None:
    create_topic(driver, name)
    publish(driver, name, 1, 10)
    member = driver.join(name, name)
    try:
        take([member], 10)
        member.seek(name, 0, 4)
        assert [one.offset for one in take([member], 6)] == [4, 5, 6, 7, 8, 9]
    finally:
        member.close()


def test_the_metadata_of_a_commit_survives(driver: Driver, name: str) -> None:
    create_topic(driver, name)
    publish(driver, name, 1, 3)
    member = driver.join(name, name)
    try:
        take([member], 3)
        member.commit("read by hand, 주석")
    finally:
        member.close()
    assert driver.group_offsets(name, name) == {0: (3, "read by hand, 주석")}


def test_a_group_is_listed_described_and_deleted(driver: Driver, name: str) -> None:
    create_topic(driver, name, 2)
    publish(driver, name, 2, 2)
    member = driver.join(name, name)
    try:
        settle([member], 2)
        assert name in driver.list_groups()
        description = driver.describe_group(name)
        assert description.state == "stable"
        assert description.members == ((None, frozenset({(name, 0), (name, 1)})),)
        with pytest.raises(Refused) as refusal:
            driver.delete_group(name)
        assert refusal.value.code is ErrorCode.NON_EMPTY_GROUP
        take([member], 0)
        member.poll(0.5)
        member.commit()
    finally:
        member.close()
    wait_until_empty(driver, name)
    driver.delete_group(name)
    assert name not in driver.list_groups()
    with pytest.raises(Refused) as refusal:
        driver.delete_group(name)
    assert refusal.value.code is ErrorCode.GROUP_ID_NOT_FOUND


def test_offsets_of_an_empty_group_are_reset(driver: Driver, name: str) -> None:
    create_topic(driver, name)
    publish(driver, name, 1, 10)
    member = driver.join(name, name)
    try:
        take([member], 10)
        member.commit()
    finally:
        member.close()
    wait_until_empty(driver, name)
    driver.set_group_offset(name, name, 0, 6)
    assert driver.group_offsets(name, name)[0][0] == 6
    member = driver.join(name, name)
    try:
        assert [one.offset for one in take([member], 4)] == [6, 7, 8, 9]
    finally:
        member.close()


def test_a_committed_offset_is_deleted(driver: Driver, name: str) -> None:
    create_topic(driver, name, 2)
    driver.set_group_offset(name, name, 0, 1)
    driver.set_group_offset(name, name, 1, 2)
    driver.delete_group_offset(name, name, 0)
    assert {number: offset for number, (offset, _) in driver.group_offsets(name, name).items()} == {1: 2}


def test_a_group_learns_of_new_partitions(driver: Driver, name: str) -> None:
    """Read by a member that joins after they were added; clients refresh their metadata every few minutes."""
    create_topic(driver, name, 1)
    member = driver.join(name, name)
    try:
        settle([member], 1)
    finally:
        member.close()
    driver.add_partitions(name, 3)
    while driver.partition_count(name) < 3:
        time.sleep(0.05)
    values = publish(driver, name, 3, 5)
    member = driver.join(name, name)
    try:
        settled, received = settle([member], 3)
        assert settled
        assert {one.value for one in received + take([member], 15 - len(received))} == values
    finally:
        member.close()
