"""Random lives of groups, with refused appends, failed disks and restarts, and what always holds."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from odradek.coordinator import records
from odradek.coordinator.classic_group import State
from odradek.coordinator.classic_join import Client
from odradek.coordinator.settings import GroupSettings
from odradek.core.errors import ApiError, ErrorCode
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
    OffsetCommitResponse,
)
from odradek.protocol.generated.offset_fetch import OffsetFetchRequestGroup
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

from .harness import Harness, durable_view

GROUPS = st.sampled_from(["g", "g", "h"])
PEOPLE = st.sampled_from(["A", "B", "C", "D"])
SUBSCRIPTION = b"\0\0\0\0\0\1\0\1t\xff\xff\xff\xff"
PROTOCOLS = st.sampled_from([["range"], ["range", "roundrobin"], ["roundrobin", "range"], ["roundrobin"]])
TOPICS = st.sampled_from(["t", "u"])
MAX_SESSION_MS = 60_000


class Groups(RuleBasedStateMachine):
    """Four clients, of which C and D are static members, in two groups of one shard."""

    @initialize(delay_ms=st.sampled_from([0, 3_000]), max_size=st.sampled_from([2, 100]))
    def start(self, delay_ms: int, max_size: int) -> None:
        self.harness = Harness(
            GroupSettings(initial_rebalance_delay_ms=delay_ms, max_size=max_size, retention_ms=30_000)
        )
        self.known: dict[tuple[str, str], tuple[str, int]] = {}
        """What each client believes of each group: its member id and generation."""
        self.offsets: dict[tuple[str, str, int], int] = {}
        self.leaders: dict[tuple[str, int], str] = {}
        self.tokens: list[tuple[str, str, int]] = []

    def _token(self, group_id: str, who: str) -> tuple[str, str, int]:
        self.tokens.append((group_id, who, len(self.tokens)))
        return self.tokens[-1]

    def _belief(self, group_id: str, who: str) -> tuple[str, int]:
        return self.known.get((group_id, who), ("", -1))

    def _instance(self, who: str) -> str | None:
        return who.lower() if who in "CD" else None

    def _learn(self) -> None:
        """Clients take in what they were answered; one generation has one leader."""
        for (group_id, who, _), response in self.harness.released:
            if not isinstance(response, JoinGroupResponse):
                continue
            if response.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                self.known[group_id, who] = (response.member_id, -1)
            elif response.error_code == ErrorCode.UNKNOWN_MEMBER_ID:
                self.known.pop((group_id, who), None)
            elif response.error_code == ErrorCode.NONE:
                self.known[group_id, who] = (response.member_id, response.generation_id)
                if response.members and not response.skip_assignment:
                    life = (group_id, response.generation_id)
                    assert response.leader == response.member_id
                    assert self.leaders.setdefault(life, who) == who, "a generation has two leaders"
        self.harness.released.clear()

    @rule(
        who=PEOPLE,
        group_id=GROUPS,
        protocols=PROTOCOLS,
        forgets=st.sampled_from([False, False, True]),
        version=st.sampled_from([2, 5, 9]),
        session_ms=st.sampled_from([6_000, MAX_SESSION_MS]),
        rebalance_ms=st.sampled_from([5_000, 20_000]),
    )
    def join(
        self,
        who: str,
        group_id: str,
        protocols: list[str],
        forgets: bool,
        version: int,
        session_ms: int,
        rebalance_ms: int,
    ) -> None:
        member_id = "" if forgets else self._belief(group_id, who)[0]
        request = JoinGroupRequest(
            group_id=group_id,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            member_id=member_id,
            group_instance_id=self._instance(who) if version >= 5 else None,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name=name, metadata=SUBSCRIPTION) for name in protocols],
        )
        harness = self.harness
        token = self._token(group_id, who)
        harness.perform(harness.shard.join_group(request, Client(version, who, "/h"), token, harness.now))
        self._learn()

    @rule(people=st.sets(PEOPLE, min_size=1), group_id=GROUPS, syncs=st.booleans())
    def settle(self, people: set[str], group_id: str, syncs: bool) -> None:
        """What well-behaved clients do, so that random lives also get beyond the first rebalance."""
        for _ in range(2):
            for who in sorted(people):
                self.join(who, group_id, ["range"], False, 9, MAX_SESSION_MS, 5_000)
        self.wait(6_000)
        for who in sorted(people) if syncs else []:
            self.sync(who, group_id, b"")

    @rule(who=PEOPLE, group_id=GROUPS, work=st.binary(max_size=2))
    def sync(self, who: str, group_id: str, work: bytes) -> None:
        member_id, generation = self._belief(group_id, who)
        everyone = [member for (group, _), (member, _) in self.known.items() if group == group_id]
        request = SyncGroupRequest(
            group_id=group_id,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=self._instance(who),
            assignments=[
                SyncGroupRequestAssignment(member_id=member, assignment=work + member.encode())
                for member in everyone
            ],
        )
        harness = self.harness
        harness.perform(harness.shard.sync_group(request, self._token(group_id, who), harness.now))
        self._learn()

    @rule(who=PEOPLE, group_id=GROUPS)
    def heartbeat(self, who: str, group_id: str) -> None:
        member_id, generation = self._belief(group_id, who)
        request = HeartbeatRequest(group_id=group_id, generation_id=generation, member_id=member_id)
        harness = self.harness
        harness.perform(harness.shard.heartbeat(request, self._token(group_id, who), harness.now))

    @rule(who=PEOPLE, group_id=GROUPS)
    def leave(self, who: str, group_id: str) -> None:
        member_id, _ = self._belief(group_id, who)
        member = MemberIdentity(member_id=member_id, group_instance_id=self._instance(who))
        request = LeaveGroupRequest(group_id=group_id, members=[member])
        harness = self.harness
        harness.perform(harness.shard.leave_group(request, self._token(group_id, who), harness.now))
        self._learn()

    @rule(who=PEOPLE, group_id=GROUPS, topic=TOPICS, offset=st.integers(0, 100), is_simple=st.booleans())
    def commit(self, who: str, group_id: str, topic: str, offset: int, is_simple: bool) -> None:
        member_id, generation = ("", -1) if is_simple else self._belief(group_id, who)
        partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        request = OffsetCommitRequest(
            group_id=group_id,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            topics=[OffsetCommitRequestTopic(name=topic, partitions=[partition])],
        )
        harness = self.harness
        group = harness.shard.groups.get(group_id)
        token = self._token(group_id, who)
        response = OffsetCommitResponse(topics=[])
        try:
            step = harness.shard.commit_offsets(request, request.topics, response, 9, token, harness.now)
        except ApiError:
            self.tokens.remove(token)
            return
        is_member = group is not None and member_id in group.members and generation == group.generation
        assert is_member or (generation < 0 and (group is None or not group.members))
        if harness.refusal is None:
            self.offsets[group_id, topic, 0] = offset
        harness.perform(step)

    @rule(group_id=GROUPS)
    def delete_group(self, group_id: str) -> None:
        harness = self.harness
        group = harness.shard.groups.get(group_id)
        if harness.refusal is None and group is not None and not group.members and group.state is State.EMPTY:
            self.offsets = {name: offset for name, offset in self.offsets.items() if name[0] != group_id}
            self.leaders = {life: who for life, who in self.leaders.items() if life[0] != group_id}
        harness.perform(harness.shard.delete_groups([group_id], self._token(group_id, "admin")))

    @rule(topic=TOPICS)
    def delete_topic(self, topic: str) -> None:
        harness = self.harness
        if harness.refusal is None:
            self.offsets = {name: offset for name, offset in self.offsets.items() if name[1] != topic}
        harness.perform(harness.shard.forget_offsets(lambda name, _: name == topic))

    @rule()
    def expire(self) -> None:
        harness = self.harness
        for step in harness.shard.expire(harness.now):
            for key, _ in step.records:
                if harness.refusal is not None:
                    continue
                if records.key_type(key) == records.OFFSET_KEY:
                    name = records.read_offset_key(key)
                    group = harness.shard.groups[name[0]]
                    assert not group.members or not group.is_subscribed_to(name[1])
                    del self.offsets[name]
                else:
                    group_id = records.read_group_key(key)
                    self.leaders = {life: who for life, who in self.leaders.items() if life[0] != group_id}
            harness.perform(step)

    @rule(ms=st.sampled_from([1, 1_000, 3_000, 5_000, 10_000, 40_000]))
    def wait(self, ms: int) -> None:
        self.harness.advance(self.harness.now_ms + ms)
        self._learn()

    @rule(flushes=st.booleans())
    def disk(self, flushes: bool) -> None:
        self.harness.flushes = flushes
        if flushes:
            self.harness.flush()
            self._learn()

    @rule(code=st.sampled_from([None, None, ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.MESSAGE_TOO_LARGE]))
    def refuse(self, code: ErrorCode | None) -> None:
        self.harness.refusal = code

    @rule()
    def fail_and_restart(self) -> None:
        self.harness.fail()
        self._check_all_answered()
        self.leaders.clear()
        self.harness.refused_keys.clear()
        self.harness.restart()
        self._learn()

    def _check_all_answered(self) -> None:
        unanswered = [token for token in self.tokens if token not in self.harness.replies]
        assert not unanswered, f"nobody answered {unanswered}"

    @invariant()
    def counts_are_right(self) -> None:
        for group in self.harness.shard.groups.values():
            members = group.members
            assert (group.leader_id in members) if members else (group.leader_id is None)
            assert group.awaiting_join == sum(member.join_token is not None for member in members.values())
            assert all(
                members[member_id].group_instance_id == name
                for name, member_id in group.static_members.items()
            )
            assert set(group.supported) == {
                name for member in members.values() for name, _ in member.protocols
            }
            assert group.pending_sync <= set(members)
            assert not group.pending_members & set(members)
            if group.state is State.EMPTY:
                assert not members
            elif group.state in (State.STABLE, State.COMPLETING_REBALANCE):
                assert members
            if group.state is not State.PREPARING_REBALANCE:
                waiting = [member.member_id for member in members.values() if member.join_token is not None]
                assert not waiting or self.harness.in_flight

    @invariant()
    def offsets_are_what_was_committed_last(self) -> None:
        for group_id in ("g", "h"):
            request = OffsetFetchRequestGroup(group_id=group_id, topics=None)
            response = self.harness.shard.fetch_offsets(request, require_stable=True)
            found = {
                (group_id, topic.name, partition.partition_index): partition.committed_offset
                for topic in response.topics
                for partition in topic.partitions
            }
            assert found == {name: offset for name, offset in self.offsets.items() if name[0] == group_id}

    @invariant()
    def replay_gives_the_same(self) -> None:
        harness = self.harness
        if harness.in_flight:
            return
        replayed = harness.replayed()
        assert replayed.offsets.groups == harness.shard.offsets.groups
        for group_id, group in harness.shard.groups.items():
            is_settled = group.state in (State.EMPTY, State.STABLE)
            if is_settled and records.group_key(group_id) not in harness.refused_keys:
                assert durable_view(replayed.groups[group_id]) == durable_view(group)

    def teardown(self) -> None:
        if not hasattr(self, "harness"):
            return
        harness = self.harness
        harness.refusal, harness.flushes = None, True
        harness.flush()
        harness.advance(harness.now_ms + 3_600_000)
        self._check_all_answered()
        waiting: list[Any] = [key for key in harness.timers if harness.timers[key] <= harness.now_ms]
        assert not waiting


TestGroups = Groups.TestCase
TestGroups.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
