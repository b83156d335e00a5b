"""A member of a classic consumer group that subscribes to topics and assigns by range when it leads.

Sources: the Kafka protocol guide (group membership), KIP-394 (member id required), KIP-345 (static members).
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Self

from odradek.client.assignor import assign_ranges
from odradek.client.client import Client
from odradek.client.errors import ConnectError
from odradek.client.group_offsets import commit_offsets
from odradek.client.groups import decode_assignment, encode_assignment
from odradek.core.errors import RETRIABLE, ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.protocol.generated.consumer_protocol import ConsumerProtocolSubscription
from odradek.protocol.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.protocol.generated.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from odradek.protocol.generated.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
)
from odradek.protocol.generated.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)

_PROTOCOL_TYPE = "consumer"
_ASSIGNOR = "range"
_REJOIN = {
    ErrorCode.REBALANCE_IN_PROGRESS,
    ErrorCode.ILLEGAL_GENERATION,
    ErrorCode.UNKNOWN_MEMBER_ID,
}


class GroupMember:
    """Membership of one group. :meth:`join`, read while not :attr:`must_rejoin`, :meth:`commit`,
    :meth:`leave`.
    """

    def __init__(
        self,
        client: Client,
        group: str,
        topics: Iterable[str],
        *,
        session_timeout_ms: int = 45_000,
        rebalance_timeout_ms: int = 60_000,
        heartbeat_interval_ms: int = 1_000,
        instance_id: str | None = None,
    ) -> None:
        self.must_rejoin = True
        """Whether the assignment is no longer valid (or there is none yet)."""
        self._client = client
        self._group = group
        self._topics = sorted(topics)
        self._session_timeout_ms = session_timeout_ms
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._heartbeat_interval_ms = heartbeat_interval_ms
        self._instance_id = instance_id
        self._member_id = ""
        self._generation = -1
        self._heartbeats: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def join(self) -> list[TopicPartition]:
        """Join, or join again, and return the partitions to read; waits for the other members.

        Raises ``ApiError`` when the group refuses this member for good.
        """
        await self._stop_heartbeats()
        while True:
            joined = await self._client.retrying(self._join_once)
            if joined is None:
                continue
            assignment = await self._client.retrying(lambda answer=joined: self._sync_once(answer))  # type: ignore[misc]
            if assignment is not None:
                break
        self.must_rejoin = False
        self._heartbeats = asyncio.create_task(self._beat())
        return assignment

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit the offsets to read next; False when the group has moved on and they were not taken."""
        if not offsets:
            return True
        try:
            await commit_offsets(
                self._client,
                self._group,
                offsets,
                member_id=self._member_id,
                generation=self._generation,
                instance_id=self._instance_id,
            )
        except ApiError as error:
            if error.code not in _REJOIN:
                raise
            self._heed(error.code)
            return False
        return True

    async def leave(self) -> None:
        """Leave the group at once, so that the others need not wait for the session timeout.

        A static member stays, as KIP-345 wants it.
        """
        await self._stop_heartbeats()
        self.must_rejoin = True
        if not self._member_id or self._instance_id is not None:
            return
        request = LeaveGroupRequest(
            group_id=self._group,
            members=[MemberIdentity(member_id=self._member_id, reason="the consumer is closed")],
        )
        self._member_id = ""
        try:
            connection = await self._client.coordinator(self._group)
            await connection.call(request, LeaveGroupResponse, cap=5, timeout_ms=5_000)
        except ConnectError:
            return  # The session timeout does it.

    def check(self) -> None:
        """Raise what stopped the heartbeats for good, if anything did."""
        if self._failure is not None:
            raise self._failure

    async def _join_once(self) -> JoinGroupResponse | None:
        parts: list[bytes] = [bytes(2)]
        ConsumerProtocolSubscription(topics=self._topics).encode(parts, 0)
        request = JoinGroupRequest(
            group_id=self._group,
            session_timeout_ms=self._session_timeout_ms,
            rebalance_timeout_ms=self._rebalance_timeout_ms,
            member_id=self._member_id,
            group_instance_id=self._instance_id,
            protocol_type=_PROTOCOL_TYPE,
            protocols=[JoinGroupRequestProtocol(name=_ASSIGNOR, metadata=b"".join(parts))],
        )
        connection = await self._client.coordinator(self._group)
        timeout_ms = self._rebalance_timeout_ms + self._client.timeout_ms
        response = await connection.call(request, JoinGroupResponse, timeout_ms=timeout_ms)
        code = ErrorCode(response.error_code)
        if code is ErrorCode.MEMBER_ID_REQUIRED:
            self._member_id = response.member_id
            return None
        if code is not ErrorCode.NONE:
            self._heed_or_raise(code)
            return None
        self._member_id = response.member_id
        self._generation = response.generation_id
        return response

    async def _sync_once(self, joined: JoinGroupResponse) -> list[TopicPartition] | None:
        assignments = []
        if joined.leader == self._member_id and not joined.skip_assignment:
            assignments = await self._assign(joined)
        request = SyncGroupRequest(
            group_id=self._group,
            generation_id=self._generation,
            member_id=self._member_id,
            group_instance_id=self._instance_id,
            protocol_type=_PROTOCOL_TYPE,
            protocol_name=joined.protocol_name,
            assignments=assignments,
        )
        connection = await self._client.coordinator(self._group)
        timeout_ms = self._rebalance_timeout_ms + self._client.timeout_ms
        response = await connection.call(request, SyncGroupResponse, timeout_ms=timeout_ms)
        if response.error_code:
            self._heed_or_raise(ErrorCode(response.error_code))
            return None
        return decode_assignment(response.assignment or b"")

    async def _assign(self, joined: JoinGroupResponse) -> list[SyncGroupRequestAssignment]:
        subscriptions = {
            member.member_id: ConsumerProtocolSubscription.decode(
                memoryview(member.metadata or b"\0\0"), 2, 0
            )[0].topics
            for member in joined.members
        }
        topics = {topic for wanted in subscriptions.values() for topic in wanted}
        found = (await self._client.cluster(sorted(topics))).topics
        counts = {name: len(topic.partitions) for name, topic in found.items()}
        return [
            SyncGroupRequestAssignment(member_id=member_id, assignment=encode_assignment(partitions))
            for member_id, partitions in assign_ranges(subscriptions, counts).items()
        ]

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_interval_ms / 1000)
            request = HeartbeatRequest(
                group_id=self._group,
                generation_id=self._generation,
                member_id=self._member_id,
                group_instance_id=self._instance_id,
            )
            try:
                connection = await self._client.coordinator(self._group)
                response = await connection.call(
                    request, HeartbeatResponse, timeout_ms=self._session_timeout_ms
                )
                if response.error_code:
                    self._heed_or_raise(ErrorCode(response.error_code))
            except ConnectError:
                self._client.forget_coordinator(self._group)
            except ApiError as error:
                if error.code not in RETRIABLE:
                    self._failure = error
                    return
            if self.must_rejoin:
                return

    def _heed_or_raise(self, code: ErrorCode) -> None:
        if code in _REJOIN:
            self._heed(code)
            return
        if code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE):
            self._client.forget_coordinator(self._group)
        raise ApiError(code, f"group {self._group}")

    def _heed(self, code: ErrorCode) -> None:
        self.must_rejoin = True
        if code is ErrorCode.UNKNOWN_MEMBER_ID:
            self._member_id, self._generation = "", -1

    async def _stop_heartbeats(self) -> None:
        task, self._heartbeats = self._heartbeats, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
