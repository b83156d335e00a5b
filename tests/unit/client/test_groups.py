"""Group administration and membership against a broker of answers."""

import asyncio
from typing import Any

import pytest

from odradek.client.client import Client
from odradek.client.group_consumer import GroupConsumer
from odradek.client.group_offsets import commit_offsets, fetch_offsets
from odradek.client.groups import decode_assignment, describe_group, encode_assignment, list_groups
from odradek.client.member import GroupMember
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated import consumer_group_describe
from odradek.protocol.generated.describe_groups import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)
from odradek.protocol.generated.fetch import FetchResponse
from odradek.protocol.generated.heartbeat import HeartbeatResponse
from odradek.protocol.generated.join_group import JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember
from odradek.protocol.generated.leave_group import LeaveGroupRequest, LeaveGroupResponse
from odradek.protocol.generated.list_groups import ListedGroup, ListGroupsResponse
from odradek.protocol.generated.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from odradek.protocol.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupResponse
from tests.unit.client.fake import FakeBroker

FETCH, LIST_OFFSETS, OFFSET_COMMIT, OFFSET_FETCH = 1, 2, 8, 9
JOIN, HEARTBEAT, LEAVE, SYNC, DESCRIBE, LIST = 11, 12, 13, 14, 15, 16
CONSUMER_GROUP_DESCRIBE = 69


class Coordinator:
    """A classic coordinator for one member at a time; ``codes`` are errors to answer first, by API key."""

    def __init__(self, codes: dict[int, list[ErrorCode]] | None = None) -> None:
        self.codes = codes or {}
        self.committed: dict[int, int] = {}
        self.generation = 0
        self.answers = {
            JOIN: self.join,
            SYNC: self.sync,
            HEARTBEAT: lambda request: HeartbeatResponse(error_code=self.code(HEARTBEAT)),
            LEAVE: lambda request: LeaveGroupResponse(),
            OFFSET_COMMIT: self.commit,
            OFFSET_FETCH: self.fetch,
            LIST_OFFSETS: self.offsets,
            FETCH: self.nothing,
        }

    def code(self, api_key: int) -> ErrorCode:
        codes = self.codes.get(api_key, [])
        return codes.pop(0) if codes else ErrorCode.NONE

    def join(self, request: JoinGroupRequest) -> JoinGroupResponse:
        if not request.member_id:
            return JoinGroupResponse(
                error_code=ErrorCode.MEMBER_ID_REQUIRED, member_id="m1", protocol_name="", members=[]
            )
        if code := self.code(JOIN):
            return JoinGroupResponse(error_code=code, protocol_name="", members=[])
        self.generation += 1
        member = JoinGroupResponseMember(member_id=request.member_id, metadata=request.protocols[0].metadata)
        return JoinGroupResponse(
            generation_id=self.generation,
            protocol_name="range",
            leader=request.member_id,
            member_id=request.member_id,
            members=[member],
        )

    def sync(self, request: SyncGroupRequest) -> SyncGroupResponse:
        if code := self.code(SYNC):
            return SyncGroupResponse(error_code=code)
        return SyncGroupResponse(assignment=bytes(request.assignments[0].assignment or b""))

    def commit(self, request: OffsetCommitRequest) -> OffsetCommitResponse:
        code = self.code(OFFSET_COMMIT)
        partitions = []
        for partition in request.topics[0].partitions:
            if not code:
                self.committed[partition.partition_index] = partition.committed_offset
            partitions.append(
                OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
            )
        return OffsetCommitResponse(topics=[OffsetCommitResponseTopic(name="t", partitions=partitions)])

    def fetch(self, request: OffsetFetchRequest) -> OffsetFetchResponse:
        partitions = [
            OffsetFetchResponsePartitions(
                partition_index=number, committed_offset=self.committed.get(number, -1), metadata="note"
            )
            for number in range(2)
        ]
        topic = OffsetFetchResponseTopics(name="t", partitions=partitions)
        group = OffsetFetchResponseGroup(group_id="g", topics=[topic], error_code=self.code(OFFSET_FETCH))
        return OffsetFetchResponse(groups=[group])

    def offsets(self, request: ListOffsetsRequest) -> ListOffsetsResponse:
        partitions = [
            ListOffsetsPartitionResponse(partition_index=asked.partition_index, offset=100)
            for asked in request.topics[0].partitions
        ]
        return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=partitions)])

    async def nothing(self, request: Any) -> FetchResponse:
        await asyncio.sleep(request.max_wait_ms / 1000)
        return FetchResponse(responses=[])


def keys(*partitions: int) -> list[TopicPartition]:
    return [TopicPartition("t", partition) for partition in partitions]


def test_assignments_survive_their_encoding() -> None:
    partitions = [TopicPartition("a", 0), TopicPartition("a", 2), TopicPartition("b", 1)]
    assert decode_assignment(encode_assignment(partitions)) == partitions
    assert decode_assignment(b"") == []


def test_groups_are_listed_by_name() -> None:
    def answer(request: object) -> ListGroupsResponse:
        groups = [
            ListedGroup(group_id="b", protocol_type="consumer", group_state="Empty", group_type="classic"),
            ListedGroup(group_id="a", protocol_type="consumer", group_state="Stable", group_type="consumer"),
        ]
        return ListGroupsResponse(groups=groups)

    async def scenario() -> None:
        async with FakeBroker(answers={LIST: answer}) as broker, Client(broker.address) as client:
            found = await list_groups(client)
            assert [(listing.group, listing.type) for listing in found] == [
                ("a", "consumer"),
                ("b", "classic"),
            ]

    asyncio.run(scenario())


def test_a_described_group_has_its_members_partitions() -> None:
    def answer(request: DescribeGroupsRequest) -> DescribeGroupsResponse:
        member = DescribedGroupMember(
            member_id="m", client_id="c", client_host="/h", member_assignment=encode_assignment(keys(0, 1))
        )
        group = DescribedGroup(
            group_id="g",
            group_state="Stable",
            protocol_type="consumer",
            protocol_data="range",
            members=[member],
        )
        return DescribeGroupsResponse(groups=[group])

    async def scenario() -> None:
        async with FakeBroker(answers={DESCRIBE: answer}) as broker, Client(broker.address) as client:
            found = await describe_group(client, "g")
            assert (found.assignor, found.coordinator) == ("range", 1)
            assert found.members[0].assignment == keys(0, 1)

    asyncio.run(scenario())


def assignment(*partitions: int) -> consumer_group_describe.Assignment:
    topic = consumer_group_describe.TopicPartitions(topic_name="t", partitions=list(partitions))
    return consumer_group_describe.Assignment(topic_partitions=[topic])


def test_a_consumer_group_has_epochs_and_targets() -> None:
    def answer(
        request: consumer_group_describe.ConsumerGroupDescribeRequest,
    ) -> consumer_group_describe.ConsumerGroupDescribeResponse:
        member = consumer_group_describe.Member(
            member_id="m",
            member_epoch=6,
            rack_id="r",
            subscribed_topic_names=["t"],
            subscribed_topic_regex="",
            assignment=assignment(0),
            target_assignment=assignment(0, 1),
            member_type=1,
        )
        group = consumer_group_describe.DescribedGroup(
            group_id="g",
            group_state="Reconciling",
            group_epoch=8,
            assignment_epoch=7,
            assignor_name="uniform",
            members=[member],
        )
        return consumer_group_describe.ConsumerGroupDescribeResponse(groups=[group])

    async def scenario() -> None:
        answers = {CONSUMER_GROUP_DESCRIBE: answer}
        async with FakeBroker(answers=answers) as broker, Client(broker.address) as client:
            found = await describe_group(client, "g")
            assert (found.type, found.epoch, found.assignment_epoch) == ("consumer", 8, 7)
            (member,) = found.members
            assert (member.protocol, member.epoch, member.rack) == ("consumer", 6, "r")
            assert (member.assignment, member.target) == (keys(0), keys(0, 1))
            assert (member.topics, member.topic_regex) == (["t"], None)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.GROUP_ID_NOT_FOUND),
        (ErrorCode.GROUP_AUTHORIZATION_FAILED, ErrorCode.GROUP_AUTHORIZATION_FAILED),
    ],
)
def test_a_group_of_neither_protocol(code: ErrorCode, raised: ErrorCode) -> None:
    def consumer(request: object) -> consumer_group_describe.ConsumerGroupDescribeResponse:
        group = consumer_group_describe.DescribedGroup(group_id="g", error_code=code)
        return consumer_group_describe.ConsumerGroupDescribeResponse(groups=[group])

    def classic(request: object) -> DescribeGroupsResponse:
        return DescribeGroupsResponse(
            groups=[DescribedGroup(group_id="g", error_code=ErrorCode.GROUP_ID_NOT_FOUND)]
        )

    async def scenario() -> None:
        answers = {CONSUMER_GROUP_DESCRIBE: consumer, DESCRIBE: classic}
        async with FakeBroker(answers=answers) as broker, Client(broker.address) as client:
            with pytest.raises(ApiError) as caught:
                await describe_group(client, "g")
            assert caught.value.code is raised

    asyncio.run(scenario())


def test_offsets_come_back_as_they_were_committed() -> None:
    async def scenario() -> None:
        coordinator = Coordinator({OFFSET_COMMIT: [ErrorCode.NOT_COORDINATOR]})
        async with FakeBroker({"t": 2}, coordinator.answers) as broker, Client(broker.address) as client:
            await commit_offsets(client, "g", {TopicPartition("t", 1): 42})
            found = await fetch_offsets(client, "g")
            assert {key: committed.offset for key, committed in found.items()} == {TopicPartition("t", 1): 42}
            assert found[TopicPartition("t", 1)].metadata == "note"

    asyncio.run(scenario())


def test_a_refused_commit_is_raised() -> None:
    async def scenario() -> None:
        coordinator = Coordinator({OFFSET_COMMIT: [ErrorCode.UNKNOWN_MEMBER_ID]})
        async with FakeBroker({"t": 2}, coordinator.answers) as broker, Client(broker.address) as client:
            with pytest.raises(ApiError) as caught:
                await commit_offsets(client, "g", {TopicPartition("t", 1): 42})
            assert caught.value.code is ErrorCode.UNKNOWN_MEMBER_ID

    asyncio.run(scenario())


def test_a_lone_member_leads_and_gets_everything() -> None:
    async def scenario() -> None:
        coordinator = Coordinator()
        async with FakeBroker({"t": 2}, coordinator.answers) as broker, Client(broker.address) as client:
            async with GroupMember(client, "g", ["t"]) as member:
                assert await member.join() == keys(0, 1)
                assert not member.must_rejoin
                assert await member.commit({TopicPartition("t", 0): 5})
                assert coordinator.committed == {0: 5}
            left = broker.asked[-1]
            assert isinstance(left, LeaveGroupRequest)
            assert left.members[0].member_id == "m1"

    asyncio.run(scenario())


def test_joining_goes_on_through_rebalances_and_lost_ids() -> None:
    async def scenario() -> None:
        coordinator = Coordinator(
            {
                JOIN: [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS],
                SYNC: [ErrorCode.REBALANCE_IN_PROGRESS],
            }
        )
        async with (
            FakeBroker({"t": 2}, coordinator.answers) as broker,
            Client(broker.address) as client,
            GroupMember(client, "g", ["t"]) as member,
        ):
            assert await member.join() == keys(0, 1)

    asyncio.run(scenario())


def test_a_refusal_for_good_is_raised() -> None:
    async def scenario() -> None:
        coordinator = Coordinator({JOIN: [ErrorCode.INCONSISTENT_GROUP_PROTOCOL]})
        async with (
            FakeBroker({"t": 2}, coordinator.answers) as broker,
            Client(broker.address) as client,
            GroupMember(client, "g", ["t"]) as member,
        ):
            with pytest.raises(ApiError, match="group g"):
                await member.join()

    asyncio.run(scenario())


def test_a_heartbeat_tells_of_a_rebalance() -> None:
    async def scenario() -> None:
        coordinator = Coordinator({HEARTBEAT: [ErrorCode.REBALANCE_IN_PROGRESS]})
        async with (
            FakeBroker({"t": 2}, coordinator.answers) as broker,
            Client(broker.address) as client,
            GroupMember(client, "g", ["t"], heartbeat_interval_ms=1) as member,
        ):
            await member.join()
            async with asyncio.timeout(60):
                while not member.must_rejoin:
                    await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_heartbeat_that_is_fenced_ends_the_membership() -> None:
    async def scenario() -> None:
        coordinator = Coordinator({HEARTBEAT: [ErrorCode.FENCED_INSTANCE_ID]})
        async with FakeBroker({"t": 2}, coordinator.answers) as broker, Client(broker.address) as client:
            member = GroupMember(client, "g", ["t"], heartbeat_interval_ms=1, instance_id="i")
            await member.join()
            async with asyncio.timeout(60):
                while member._failure is None:
                    await asyncio.sleep(0)
            with pytest.raises(ApiError):
                member.check()
            await member.leave()
            assert not isinstance(broker.asked[-1], LeaveGroupRequest)

    asyncio.run(scenario())


def test_a_commit_that_comes_too_late_asks_for_a_rejoin() -> None:
    async def scenario() -> None:
        coordinator = Coordinator({OFFSET_COMMIT: [ErrorCode.ILLEGAL_GENERATION]})
        async with (
            FakeBroker({"t": 2}, coordinator.answers) as broker,
            Client(broker.address) as client,
            GroupMember(client, "g", ["t"]) as member,
        ):
            await member.join()
            assert not await member.commit({TopicPartition("t", 0): 5})
            assert member.must_rejoin

    asyncio.run(scenario())


def test_a_group_consumer_starts_where_the_group_was_and_commits_when_it_leaves() -> None:
    async def scenario() -> None:
        coordinator = Coordinator()
        coordinator.committed[1] = 42
        async with FakeBroker({"t": 2}, coordinator.answers) as broker, Client(broker.address) as client:
            async with GroupConsumer(client, "g", ["t"]) as consumer:
                assert await consumer.poll(1) == []
                assert consumer.positions == {TopicPartition("t", 0): 100, TopicPartition("t", 1): 42}
                consumer.mark(TopicPartition("t", 0), 101)
            assert coordinator.committed == {0: 101, 1: 42}

    asyncio.run(scenario())
