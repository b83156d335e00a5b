"""Members of a consumer group in a simulation (classic protocol): they share partitions, read and commit."""

from typing import TYPE_CHECKING

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.heartbeat import HeartbeatRequest
from odradek.protocol.generated.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from odradek.protocol.generated.leave_group import LeaveGroupRequest, MemberIdentity
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from odradek.protocol.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from odradek.testing.simulation.client import TopicInfo
from odradek.testing.simulation.consumer import Consumer
from odradek.testing.simulation.network import Disconnected

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation


class GroupMember(Consumer):
    """Reads its share of one topic, which is never deleted, and commits."""

    session_ms = 4_000
    rebalance_ms = 2_000
    is_stable_required = False
    """Whether offsets that a transaction may still change are not to be told."""

    def __init__(self, world: "Simulation", name: str, group: str, topic: TopicInfo) -> None:
        super().__init__(world, name)
        self._group = group
        self._topic = topic
        self._member_id = ""
        self._generation = -1

    async def run(self) -> None:
        while not self.world.is_ending:
            try:
                assigned = await self._join()
                if assigned is not None:
                    await self._work(assigned)
                else:
                    await self.back_off()
            except Disconnected:
                await self.back_off()

    async def _join(self) -> list[int] | None:
        """The partitions that are ours in the new generation; None when it did not come about."""
        coordinator = await self.call(FindCoordinatorRequest(coordinator_keys=[self._group]), 4)
        if coordinator.coordinators[0].error_code:
            return None
        request = JoinGroupRequest(
            group_id=self._group,
            session_timeout_ms=self.session_ms,
            rebalance_timeout_ms=self.rebalance_ms,
            member_id=self._member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"")],
        )
        joined: JoinGroupResponse = await self.call(request, 9)
        if joined.error_code:
            known = joined.error_code == ErrorCode.MEMBER_ID_REQUIRED
            self._member_id = joined.member_id if known else ""
            return None
        self._member_id, self._generation = joined.member_id, joined.generation_id
        assignments = []
        if joined.leader == joined.member_id:
            members = sorted(member.member_id for member in joined.members)
            for number, member_id in enumerate(members):
                share = range(number, self._topic.partitions, len(members))
                assignments.append(SyncGroupRequestAssignment(member_id=member_id, assignment=bytes(share)))
        synced = await self.call(
            SyncGroupRequest(
                group_id=self._group,
                generation_id=self._generation,
                member_id=self._member_id,
                protocol_type="consumer",
                protocol_name="range",
                assignments=assignments,
            ),
            5,
        )
        if synced.error_code:
            return None
        self.note(f"generation {self._generation} has {list(synced.assignment)}")
        return list(synced.assignment)

    async def _work(self, assigned: list[int]) -> None:
        positions = await self._committed(assigned)
        if positions is None:
            await self.back_off()
            return
        leaves_at = self.loop.elapsed_ms + self.rng.randint(500, 8_000)
        while not self.world.is_ending:
            for partition in assigned:
                if not await self._consume(partition, positions):
                    return
            request = HeartbeatRequest(
                group_id=self._group, generation_id=self._generation, member_id=self._member_id
            )
            if (await self.call(request, 4)).error_code:
                return
            if self.loop.elapsed_ms > leaves_at:
                leaving = [MemberIdentity(member_id=self._member_id)]
                self._member_id = ""
                await self.call(LeaveGroupRequest(group_id=self._group, members=leaving), 5)
                return
            await self.loop.sleep(self.rng.random() * 300)

    async def _consume(self, partition: int, positions: dict[int, int]) -> bool:
        """Takes what comes next, moves the position; whether we are still a member."""
        before = positions[partition]
        positions[partition], _ = await self.poll(self._topic, partition, before, 50)
        return positions[partition] <= before or await self._commit(partition, positions[partition])

    async def _commit(self, partition: int, offset: int) -> bool:
        """Whether we are still a member."""
        topic = self._topic.name
        entry = OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
        self.history.commit_asked(self._group, topic, partition, offset)
        request = OffsetCommitRequest(
            group_id=self._group,
            generation_id_or_member_epoch=self._generation,
            member_id=self._member_id,
            topics=[OffsetCommitRequestTopic(name=topic, partitions=[entry])],
        )
        code = (await self.call(request, 8)).topics[0].partitions[0].error_code
        self.note(f"commits {topic}-{partition} {offset}: {ErrorCode(code).name}")
        if code == 0:
            self.history.commit_acknowledged(self._group, topic, partition, offset)
        return code == 0 or self.is_retriable(code)

    async def _committed(self, partitions: list[int]) -> dict[int, int] | None:
        """Where to go on, partition by partition; None when the coordinator does not say."""
        topic = self._topic.name
        least = {each: self.history.least_commit(self._group, topic, each) for each in partitions}
        wanted = OffsetFetchRequestTopics(name=topic, partition_indexes=partitions)
        group = OffsetFetchRequestGroup(group_id=self._group, topics=[wanted])
        request = OffsetFetchRequest(groups=[group], require_stable=self.is_stable_required)
        (answer,) = (await self.call(request, 8)).groups
        if answer.error_code:
            return None
        positions = {}
        for found in answer.topics[0].partitions if answer.topics else ():
            if found.error_code:
                return None
            partition = found.partition_index
            self.history.commit_read(self._group, topic, partition, found.committed_offset, least[partition])
            positions[partition] = max(found.committed_offset, 0)
        return positions

    async def check_commits(self) -> bool:
        """In the end: everything committed is there; whether the coordinator could be asked."""
        try:
            await self.call(FindCoordinatorRequest(coordinator_keys=[self._group]), 4)
            return await self._committed(list(range(self._topic.partitions))) is not None
        except Disconnected:
            return False
