"""JoinGroup: how a member enters a classic group, comes back to it, or takes a static member's place.

Source: ``GroupMetadataManager.classicGroupJoinToClassicGroup``; KIP-394 (an id first, then the join),
KIP-345 (static members), KIP-814 (a replaced static leader skips the assignment).
"""

from collections.abc import Callable
from typing import NamedTuple

from odradek.coordinator import records
from odradek.coordinator.classic_group import ClassicGroup, Member, Protocols, State
from odradek.coordinator.classic_rebalance import (
    complete_join_if_all_joined,
    current_generation,
    heartbeat_key,
    keep_alive,
    note,
    prepare_rebalance,
    rebalance_or_complete,
)
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.step import Now, Step, Token, coordinator_error
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.join_group import JoinGroupRequest, JoinGroupResponse
from odradek.protocol.generated.sync_group import SyncGroupResponse

MEMBER_ID_REQUIRED_FROM = 4
SKIP_ASSIGNMENT_FROM = 9


class Client(NamedTuple):
    """Who sends a request, as records and DescribeGroups show it, and the request's version."""

    api_version: int
    client_id: str
    client_host: str


class Joining:
    """One JoinGroup request on its way through the machine.

    Invariant: its token is answered once, by the step or later by the member that holds it.
    """

    __slots__ = ("client", "group", "new_suffix", "now", "protocols", "request", "settings", "step", "token")

    def __init__(
        self,
        group: ClassicGroup,
        request: JoinGroupRequest,
        client: Client,
        token: Token,
        settings: GroupSettings,
        new_suffix: Callable[[], str],
        now: Now,
    ) -> None:
        self.group = group
        self.request = request
        self.client = client
        self.token = token
        self.settings = settings
        self.new_suffix = new_suffix
        self.now = now
        self.step = Step()
        self.protocols = protocols_of(request)

    def run(self) -> Step:
        """Lets the member in, or refuses it, and says what follows."""
        try:
            self._join()
        except ApiError as error:
            self._refuse(error.code, self.request.member_id)
        return self.step

    def _join(self) -> None:
        group, request = self.group, self.request
        if not self._has_room():
            group.remove(request.member_id)
            self.step.cancel_timer(heartbeat_key(group, request.member_id))
            self._refuse(ErrorCode.GROUP_MAX_SIZE_REACHED, "")
        elif not group.accepts(request.protocol_type, (name for name, _ in self.protocols)):
            self._refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, request.member_id)
        elif request.member_id:
            self._join_known()
        elif request.group_instance_id is not None:
            self._join_static()
        else:
            self._join_unknown()

    def _refuse(self, code: ErrorCode, member_id: str) -> None:
        self.step.reply(self.token, JoinGroupResponse(error_code=code, member_id=member_id))

    def _has_room(self) -> bool:
        """While members rejoin, those who came first count; afterwards those who are in."""
        group, member_id = self.group, self.request.member_id
        if group.state is State.PREPARING_REBALANCE:
            member = group.members.get(member_id)
            is_waiting = member is not None and member.join_token is not None
            return is_waiting or group.awaiting_join < self.settings.max_size
        if group.state in (State.COMPLETING_REBALANCE, State.STABLE):
            return member_id in group.members or len(group.members) < self.settings.max_size
        return True

    def _join_unknown(self) -> None:
        """A dynamic member without an id: it gets one and must come again with it, unless it is too old
        for that."""
        member_id = f"{self.client.client_id}-{self.new_suffix()}"
        if not requires_member_id(self.request, self.client):
            self._add(member_id)
            return
        self.group.pending_members.add(member_id)
        deadline_ms = self.now.monotonic_ms + self.request.session_timeout_ms
        self.step.set_timer(heartbeat_key(self.group, member_id), deadline_ms)
        self._refuse(ErrorCode.MEMBER_ID_REQUIRED, member_id)

    def _join_static(self) -> None:
        """A static member without an id: new to the group, or restarted and back for its place."""
        instance_id = self.request.group_instance_id or ""
        member_id = f"{instance_id}-{self.new_suffix()}"
        old_member_id = self.group.static_members.get(instance_id)
        if old_member_id is None:
            self._add(member_id)
        else:
            self._replace(old_member_id, member_id)

    def _join_known(self) -> None:
        """A member with an id: the one it was just given, or that of its place in the group."""
        group, request = self.group, self.request
        if request.member_id in group.pending_members and request.group_instance_id is None:
            self._add(request.member_id)
            return
        member = group.validate_member(request.member_id, request.group_instance_id)
        has_changed = member.protocols != self.protocols
        if group.state is State.PREPARING_REBALANCE:
            self._rejoin(member)
        elif group.state is State.COMPLETING_REBALANCE:
            # With unchanged metadata its first JoinGroup response was probably lost.
            if has_changed:
                self._rejoin(member)
            else:
                self.step.reply(self.token, current_generation(group, member))
        elif group.state is State.STABLE:
            # A leader may rejoin for reasons that its metadata does not show, such as new partitions.
            if has_changed or group.leader_id == member.member_id:
                self._rejoin(member)
            else:
                self.step.reply(self.token, current_generation(group, member))
        else:
            self._refuse(ErrorCode.UNKNOWN_MEMBER_ID, request.member_id)

    def _add(self, member_id: str) -> None:
        group = self.group
        if group.state is State.PREPARING_REBALANCE and group.previous_state is State.EMPTY:
            group.new_member_added = True
        if not group.members:
            group.protocol_type = self.request.protocol_type
        member = self._new_member(member_id)
        member.is_new = True
        member.join_token = self.token
        group.add(member)
        keep_alive(self.step, group, member, self.settings.new_member_join_timeout_ms, self.now)
        note(group, Cause.JOINED, member, self.now)
        rebalance_or_complete(self.step, group, self.settings, self.now)

    def _new_member(self, member_id: str) -> Member:
        return Member(
            member_id,
            self.request.group_instance_id,
            self.client.client_id,
            self.client.client_host,
            self._rebalance_timeout_ms(),
            self.request.session_timeout_ms,
            self.protocols,
        )

    def _rebalance_timeout_ms(self) -> int:
        """Version 0 knows only one timeout."""
        request = self.request
        return request.session_timeout_ms if self.client.api_version == 0 else request.rebalance_timeout_ms

    def _rejoin(self, member: Member) -> None:
        group, request = self.group, self.request
        if group.state is not State.PREPARING_REBALANCE:
            has_changed = member.protocols != self.protocols
            note(group, Cause.CHANGED if has_changed else Cause.ASKED, member, self.now, request.reason or "")
        group.set_protocols(member, self.protocols)
        member.rebalance_timeout_ms = self._rebalance_timeout_ms()
        member.session_timeout_ms = request.session_timeout_ms
        displaced = group.await_join(member, self.token)
        if displaced is not None:
            self.step.reply(
                displaced,
                JoinGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS, member_id=member.member_id),
            )
        rebalance_or_complete(self.step, group, self.settings, self.now)

    def _replace(self, old_member_id: str, member_id: str) -> None:
        """Gives a static member's place to its restarted self and fences the old one, without a rebalance
        when the group is stable and would choose the same protocol."""
        group, step = self.group, self.step
        old = group.members[old_member_id]
        leader_before = group.leader_id
        self._fence(old)
        member = self._new_member(member_id)
        member.client_id, member.client_host = old.client_id, old.client_host
        member.assignment = old.assignment
        group.replace_static(old_member_id, member)
        step.cancel_timer(heartbeat_key(group, old_member_id))
        old.timer_deadline_ms = None
        keep_alive(step, group, member, old.session_timeout_ms, self.now)
        group.await_join(member, self.token)
        if group.state is State.COMPLETING_REBALANCE:
            # The leader may be assigning partitions to the old id already.
            note(group, Cause.RETURNED, member, self.now)
            prepare_rebalance(step, group, self.settings, self.now)
        elif group.state is State.STABLE and group.select_protocol() == group.protocol_name:
            assignments = {other.member_id: other.assignment for other in group.members.values()}
            step.records.append(records.group_record(group, assignments))
            step.write = _StaticMemberReplaced(group, old, member, leader_before, self.client.api_version)
        elif group.state is State.STABLE:
            note(group, Cause.RETURNED, member, self.now)
            prepare_rebalance(step, group, self.settings, self.now)
        else:
            complete_join_if_all_joined(step, group, self.now)

    def _fence(self, old: Member) -> None:
        token = self.group.take_join_token(old)
        if token is not None:
            response = JoinGroupResponse(error_code=ErrorCode.FENCED_INSTANCE_ID, member_id=old.member_id)
            self.step.reply(token, response)
        token, old.sync_token = old.sync_token, None
        if token is not None:
            self.step.reply(token, SyncGroupResponse(error_code=ErrorCode.FENCED_INSTANCE_ID))


class _StaticMemberReplaced:
    """The record that makes a replaced static member's new id known; until it is durable the member waits."""

    __slots__ = ("api_version", "generation", "group", "leader_before", "member", "old")

    def __init__(
        self, group: ClassicGroup, old: Member, member: Member, leader_before: str | None, api_version: int
    ) -> None:
        self.group = group
        self.old = old
        self.member = member
        self.leader_before = leader_before
        self.api_version = api_version
        self.generation = group.generation

    def appended(self, base_offset: int) -> None:
        """Its state is in place since the step."""

    def durable(self, now: Now) -> Step | None:
        group, member = self.group, self.member
        if group.state is not State.STABLE or group.generation != self.generation:
            return None  # A rebalance began: the member waits for its next generation instead.
        token = group.take_join_token(member)
        if token is None:
            return None
        step = Step()
        is_leader = group.leader_id == member.member_id
        response = current_generation(group, member, skip_assignment=is_leader)
        if self.api_version < SKIP_ASSIGNMENT_FROM:
            # It must not believe that it leads, or it would assign although nobody rejoined.
            response.leader = self.leader_before or ""
            response.skip_assignment = False
            response.members = []
        step.reply(token, response)
        return step

    def refused(self, code: ErrorCode, now: Now) -> Step:
        group, member = self.group, self.member
        step = Step()
        if group.members.get(member.member_id) is not member:
            # Appended, and then the disk failed: meanwhile the member went, and was answered as it did.
            return step
        token = group.take_join_token(member)
        group.replace_static(member.member_id, self.old)
        step.cancel_timer(heartbeat_key(group, member.member_id))
        keep_alive(step, group, self.old, self.old.session_timeout_ms, now)
        response = current_generation(group, self.old)
        response.error_code = coordinator_error(code)
        response.member_id = ""
        response.members = []
        if token is not None:
            step.reply(token, response)
        return step


def requires_member_id(request: JoinGroupRequest, client: Client) -> bool:
    """Whether the member must come again with an id that it is given first (KIP-394)."""
    is_dynamic = not request.member_id and request.group_instance_id is None
    return is_dynamic and client.api_version >= MEMBER_ID_REQUIRED_FROM


def protocols_of(request: JoinGroupRequest) -> Protocols:
    """What the member speaks; of two entries with one name the first counts."""
    protocols: dict[str, bytes] = {}
    for protocol in request.protocols:
        protocols.setdefault(protocol.name, bytes(protocol.metadata))
    return tuple(protocols.items())
