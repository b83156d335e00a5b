"""Random lives of a group whose members speak both protocols, with refused appends, failed disks, restarts
and topics that come and go, and what always holds."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from odradek.coordinator.classic_group import ClassicGroup
from odradek.coordinator.classic_join import Client
from odradek.coordinator.consumer_group import ConsumerGroup, GroupState
from odradek.coordinator.consumer_member import MemberState
from odradek.coordinator.kept_offset import look
from odradek.coordinator.settings import GroupSettings, MigrationPolicy
from odradek.coordinator.shard import GroupShard
from odradek.coordinator.steady import SteadyMember
from odradek.core.config.groups import ConsumerGroupConfig
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    RequestTopicPartitions,
)
from odradek.protocol.generated.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition,
)
from odradek.protocol.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
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
from odradek.protocol.generated.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)

from .harness import Harness, durable_view, topic_id_of

NEW = ["A", "B", "S"]
"""Members of the new protocol; S is static."""
CLASSIC = ["X", "Y"]
INTERVAL_MS = 1_000
SUBSCRIPTIONS = [("t",), ("u",), ("t", "u"), ()]
REGEXES = ["", "", "t|u", "u.*", "v"]

_UNKNOWN = ErrorCode.UNKNOWN_MEMBER_ID

Partitions = frozenset[tuple[bytes, int]]


class NewClient:
    """What a client of the new protocol believes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lives = 0
        self.reset()

    def reset(self) -> None:
        """As after a restart of the process: a new member id, nothing owned."""
        self.lives += 1
        self.member_id = f"{self.name}{self.lives}"
        self.epoch = 0
        self.owned: Partitions = frozenset()
        self.told: Partitions = frozenset()
        """What it was told to have; it takes time to give up what it owns beyond that."""
        self.topics: tuple[str, ...] = ("t",)
        self.regex = ""
        self.last: ConsumerGroupHeartbeatRequest | None = None
        self.steady: SteadyMember | None = None
        """What the machine said when the last heartbeat came again, and what it replied."""
        self.reply: Any = None

    @property
    def instance_id(self) -> str | None:
        return "s" if self.name == "S" else None


class OldClient:
    """What a client of the classic protocol believes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.member_id = ""
        self.generation = -1
        self.leads = False
        self.members: list[str] = []
        self.owned: Partitions = frozenset()


class ConsumerGroups(RuleBasedStateMachine):
    """One group of one shard."""

    @initialize(
        policy=st.sampled_from(list(MigrationPolicy)),
        interval_ms=st.sampled_from([0, INTERVAL_MS]),
        max_size=st.sampled_from([2, 100]),
    )
    def start(self, policy: MigrationPolicy, interval_ms: int, max_size: int) -> None:
        group_settings = GroupSettings(
            initial_rebalance_delay_ms=0,
            retention_ms=600_000,
            consumer_max_size=max_size,
            migration_policy=policy,
        )
        self.harness = Harness(group_settings)
        self.harness.config = ConsumerGroupConfig(45_000, 5_000, interval_ms)
        self.counts = {"t": 2}
        self.harness.set_topics(self.counts)
        self.new = {name: NewClient(name) for name in NEW}
        self.old = {name: OldClient(name) for name in CLASSIC}
        self.offsets: dict[tuple[str, int], int] = {}
        self.commits: list[tuple[Any, int, int]] = []
        """Token, partition and offset of each, in their order."""
        self.tokens: list[Any] = []
        self.token_count = 0

    # What clients do

    def _token(self, kind: str, who: str, extra: Any = None) -> Any:
        self.token_count += 1
        token = (kind, who, self.token_count, extra)
        self.tokens.append(token)
        return token

    @property
    def group(self) -> ConsumerGroup | ClassicGroup | None:
        return self.harness.shard.groups.get("g")

    @rule(
        who=st.sampled_from(NEW),
        topics=st.sampled_from([None, None, *SUBSCRIPTIONS]),
        regex=st.sampled_from([None, None, *REGEXES]),
        revokes=st.booleans(),
        owns=st.sampled_from(["all", "all", "nothing said"]),
        epoch=st.sampled_from(["own", "own", "own", "before", "ahead"]),
    )
    def beat(
        self,
        who: str,
        topics: tuple[str, ...] | None,
        regex: str | None,
        revokes: bool,
        owns: str,
        epoch: str,
    ) -> None:
        client = self.new[who]
        if revokes:
            client.owned = client.told
        if topics is not None:
            client.topics = topics
        if regex is not None:
            client.regex = regex
        number = client.epoch
        if number > 0:
            number += {"own": 0, "before": -1, "ahead": 1}[epoch]
        is_join = number == 0
        if is_join:
            client.owned = client.told = frozenset()
        says = is_join or topics is not None or regex is not None
        request = ConsumerGroupHeartbeatRequest(
            group_id="g",
            member_id=client.member_id,
            instance_id=client.instance_id,
            member_epoch=number,
            rebalance_timeout_ms=20_000 if is_join else -1,
            subscribed_topic_names=list(client.topics) if says else None,
            subscribed_topic_regex=client.regex if says else None,
            topic_partitions=_owned(client.owned) if is_join or owns == "all" else None,
        )
        client.last, client.steady = request, None
        self._perform_heartbeat(request, client)

    @rule(who=st.sampled_from(NEW), is_patient=st.booleans())
    def beat_steadily(self, who: str, is_patient: bool) -> None:
        """What a well-behaved client does, and then its last heartbeat once more."""
        client, harness = self.new[who], self.harness
        for _ in range(3):
            self.beat(who, None, None, True, "all", "own")
            if is_patient:
                self.wait(INTERVAL_MS)
        if client.last is None or client.last.member_epoch <= 0:
            return
        token, sender = self._token("beat", who, client.lives), Client(1, who, "/h")
        step, client.steady = harness.shard.ask_again(client.last, sender, token, harness.now)
        if client.steady is not None:
            ((_, client.reply),) = step.replies
        harness.perform(step)
        self._learn()

    def _perform_heartbeat(self, request: ConsumerGroupHeartbeatRequest, client: NewClient) -> None:
        harness = self.harness
        token = self._token("beat", client.name, client.lives)
        before, log_length = _view(harness.shard), len(harness.log)
        step = harness.shard.consumer_heartbeat(request, Client(1, client.name, "/h"), token, harness.now)
        harness.perform(step)
        response = harness.replies.get(token)
        if harness.refusal is not None and step.records:
            assert _view(harness.shard) == before, "a refused append left something behind"
        if response is not None and response.error_code:
            assert len(harness.log) == log_length, "a fenced member wrote something"
        self._learn()

    @rule(who=st.sampled_from(NEW))
    def depart(self, who: str) -> None:
        client = self.new[who]
        epoch = -2 if client.instance_id is not None and client.lives % 2 else -1
        request = ConsumerGroupHeartbeatRequest(
            group_id="g", member_id=client.member_id, instance_id=client.instance_id, member_epoch=epoch
        )
        self._perform_heartbeat(request, client)
        client.reset()

    @rule(who=st.sampled_from(NEW))
    def crash_client(self, who: str) -> None:
        self.new[who].reset()

    @rule(who=st.sampled_from(CLASSIC), topics=st.sampled_from(SUBSCRIPTIONS))
    def join(self, who: str, topics: tuple[str, ...]) -> None:
        client = self.old[who]
        by_topic: dict[str, list[int]] = {}
        for topic_id, number in client.owned:
            by_topic.setdefault(topic_id.rstrip(b"_").decode(), []).append(number)
        subscription = ConsumerProtocolSubscription(
            topics=list(topics),
            user_data=None,
            owned_partitions=[
                ConsumerProtocolSubscriptionTopicPartition(topic=topic, partitions=numbers)
                for topic, numbers in by_topic.items()
            ],
            rack_id=None,
        )
        parts: list[bytes] = [b"\0\1"]
        subscription.encode(parts, 1)
        request = JoinGroupRequest(
            group_id="g",
            session_timeout_ms=30_000,
            rebalance_timeout_ms=20_000,
            member_id=client.member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"".join(parts))],
        )
        harness = self.harness
        token = self._token("join", who)
        harness.perform(harness.shard.join_group(request, Client(9, who, "/h"), token, harness.now))
        self._learn()

    @rule(who=st.sampled_from(CLASSIC))
    def sync(self, who: str) -> None:
        client = self.old[who]
        assignments = []
        if client.leads:
            assignments = [
                SyncGroupRequestAssignment(member_id=member_id, assignment=b"\0\1\0\0\0\0\xff\xff\xff\xff")
                for member_id in client.members
            ]
        request = SyncGroupRequest(
            group_id="g",
            generation_id=client.generation,
            member_id=client.member_id,
            assignments=assignments,
        )
        harness = self.harness
        harness.perform(harness.shard.sync_group(request, self._token("sync", who), harness.now))
        self._learn()

    @rule(who=st.sampled_from(CLASSIC))
    def classic_beat(self, who: str) -> None:
        client = self.old[who]
        request = HeartbeatRequest(group_id="g", generation_id=client.generation, member_id=client.member_id)
        harness = self.harness
        harness.perform(harness.shard.heartbeat(request, self._token("classic beat", who), harness.now))
        self._learn()

    @rule(who=st.sampled_from(CLASSIC + NEW))
    def leave(self, who: str) -> None:
        """By LeaveGroup, with which an administrator removes members of either protocol."""
        client = self.old.get(who) or self.new[who]
        request = LeaveGroupRequest(group_id="g", members=[MemberIdentity(member_id=client.member_id)])
        harness = self.harness
        harness.perform(harness.shard.leave_group(request, self._token("leave", who), harness.now))
        self._learn()

    @rule(who=st.sampled_from(CLASSIC))
    def settle_classic(self, who: str) -> None:
        """What a well-behaved client does, so that random lives also get beyond the first rebalance."""
        for _ in range(3):
            self.join(who, ("t",))
            self.harness.advance(self.harness.now_ms + 10)
            self._learn()
            self.sync(who)
            self.classic_beat(who)

    @rule(who=st.sampled_from(CLASSIC + NEW), offset=st.integers(0, 100), number=st.integers(0, 1))
    def commit(self, who: str, offset: int, number: int) -> None:
        old = self.old.get(who)
        member_id, epoch = (
            (old.member_id, old.generation) if old else (self.new[who].member_id, self.new[who].epoch)
        )
        entry = OffsetCommitRequestPartition(partition_index=number, committed_offset=offset)
        topic = OffsetCommitRequestTopic(name="t", topic_id=topic_id_of("t"), partitions=[entry])
        request = OffsetCommitRequest(
            group_id="g", member_id=member_id, generation_id_or_member_epoch=epoch, topics=[topic]
        )
        harness, group = self.harness, self.group
        token = self._token("commit", who)
        response = OffsetCommitResponse(topics=[])
        try:
            step = harness.shard.commit_offsets(request, request.topics, response, 9, token, harness.now)
        except ApiError:
            self.tokens.remove(token)
            return
        if isinstance(group, ConsumerGroup) and group.members:
            member = group.members[member_id]
            held = member.at.assigned.get(topic_id_of("t"), {}) | member.at.revoking.get(topic_id_of("t"), {})
            assert epoch == member.at.epoch or (epoch < member.at.epoch and held[number] <= epoch)
        if harness.refusal is None:
            self.offsets["t", number] = offset
            self.commits.append((token, number, offset))
        harness.perform(step)

    # What happens to them

    @rule(t=st.integers(0, 4), u=st.integers(0, 2), v=st.integers(0, 1))
    def topics(self, t: int, u: int, v: int) -> None:
        self.counts = {name: count for name, count in (("t", t), ("u", u), ("v", v)) if count}
        self.harness.set_topics(self.counts)

    @rule(ms=st.sampled_from([1, 500, 1_000, 5_000, 21_000, 46_000]))
    def wait(self, ms: int) -> None:
        self.harness.advance(self.harness.now_ms + ms)
        self._learn()

    @rule(flushes=st.booleans())
    def disk(self, flushes: bool) -> None:
        self.harness.flushes = flushes
        if flushes:
            self.harness.flush()
            self._learn()

    @rule(code=st.sampled_from([None, None, None, ErrorCode.KAFKA_STORAGE_ERROR]))
    def refuse(self, code: ErrorCode | None) -> None:
        self.harness.refusal = code

    @rule()
    def fail_and_restart(self) -> None:
        self.harness.fail()
        self._check_all_answered()
        self.harness.refused_keys.clear()
        self.harness.restart()
        self._learn()

    @rule()
    def cut_power(self) -> None:
        """Nobody hears of what was on its way to the disk, and nothing that somebody was told is lost."""
        self._learn()
        self.tokens = [token for token in self.tokens if token in self.harness.replies]
        self.harness.cut_power()
        for client in self.new.values():
            client.steady = None
        self.harness.refused_keys.clear()
        found = {
            (topic, number): look(kept).offset
            for topic, partitions in self.harness.shard.offsets.groups.get("g", {}).items()
            for number, kept in partitions.items()
        }
        for number in (0, 1):
            mine = [(token, offset) for token, partition, offset in self.commits if partition == number]
            told = [index for index, (token, _) in enumerate(mine) if self._is_committed(token)]
            if told:
                assert found["t", number] in [offset for _, offset in mine[told[-1] :]]
        self.commits = [commit for commit in self.commits if self._is_committed(commit[0])]
        self.offsets = found
        group = self.group
        if isinstance(group, ConsumerGroup):
            for client in self.new.values():
                member = group.members.get(client.member_id)
                assert member is None or member.is_classic or client.epoch <= max(member.at.epoch, 0)

    def _is_committed(self, token: Any) -> bool:
        response = self.harness.replies.get(token)
        return response is not None and response.topics[0].partitions[0].error_code == 0

    @rule()
    def delete_group(self) -> None:
        harness, group = self.harness, self.group
        if harness.refusal is None and group is not None and group.is_empty:
            self.offsets.clear()
            self.commits.clear()
        harness.perform(harness.shard.delete_groups(["g"], self._token("delete", "admin")))

    # What clients learn

    def _learn(self) -> None:
        released, self.harness.released = self.harness.released, []
        for (_, who, _, extra), response in released:
            if isinstance(response, ConsumerGroupHeartbeatResponse):
                self._learn_heartbeat(self.new[who], extra, response)
            elif isinstance(response, JoinGroupResponse):
                self._learn_join(self.old[who], response)
            elif isinstance(response, SyncGroupResponse):
                client = self.old[who]
                if response.error_code == ErrorCode.UNKNOWN_MEMBER_ID:
                    client.member_id, client.owned = "", frozenset()
                elif response.error_code == 0:
                    client.owned = _assigned(response.assignment)
            elif isinstance(response, HeartbeatResponse) and response.error_code == _UNKNOWN:
                self.old[who].member_id, self.old[who].owned = "", frozenset()

    def _learn_heartbeat(
        self, client: NewClient, life: int, response: ConsumerGroupHeartbeatResponse
    ) -> None:
        if life != client.lives:
            return
        if response.error_code in (
            ErrorCode.FENCED_MEMBER_EPOCH,
            ErrorCode.UNKNOWN_MEMBER_ID,
            ErrorCode.GROUP_ID_NOT_FOUND,
        ):
            client.epoch, client.owned, client.told = 0, frozenset(), frozenset()
        elif response.error_code == 0:
            client.epoch = max(response.member_epoch, 0)
            if response.assignment is not None:
                client.told = frozenset(
                    (part.topic_id, number)
                    for part in response.assignment.topic_partitions
                    for number in part.partitions
                )
                if client.owned <= client.told:
                    client.owned = client.told

    def _learn_join(self, client: OldClient, response: JoinGroupResponse) -> None:
        if response.error_code in (ErrorCode.MEMBER_ID_REQUIRED, ErrorCode.NONE):
            client.member_id = response.member_id
        elif response.error_code == ErrorCode.UNKNOWN_MEMBER_ID:
            client.member_id, client.owned = "", frozenset()
        if response.error_code == ErrorCode.NONE:
            client.generation = response.generation_id
            client.leads = response.leader == response.member_id
            client.members = [member.member_id for member in response.members]

    def _check_all_answered(self) -> None:
        unanswered = [token for token in self.tokens if token not in self.harness.replies]
        assert not unanswered, f"nobody answered {unanswered}"

    # What always holds

    @invariant()
    def no_partition_has_two_holders(self) -> None:
        group = self.group
        if not isinstance(group, ConsumerGroup):
            return
        holders: dict[tuple[bytes, int], str] = {}
        for member in group.members.values():
            for part in (member.at.assigned, member.at.revoking):
                for topic_id, numbers in part.items():
                    for number in numbers:
                        other = holders.setdefault((topic_id, number), member.member_id)
                        assert other == member.member_id, f"{topic_id!r}-{number} has two holders"
        assert holders == {
            (topic_id, number): member_id
            for topic_id, numbers in group.owners.items()
            for number, member_id in numbers.items()
        }
        owned: dict[tuple[bytes, int], str] = {}
        for client in self.new.values():
            if client.member_id in group.members:
                for name in client.owned:
                    assert owned.setdefault(name, client.name) == client.name, (
                        f"{name} is read by two members"
                    )
            held = group.members.get(client.member_id)
            if held is not None and held.at.epoch == client.epoch and not held.is_classic:
                mine = {name for name, holder in holders.items() if holder == client.member_id}
                assert client.owned <= mine, "a member reads what is not its own"

    @invariant()
    def counts_are_right(self) -> None:
        group = self.group
        if not isinstance(group, ConsumerGroup):
            return
        fresh = ConsumerGroup("g")
        for member in group.members.values():
            fresh.put_subscription(member.member_id, member.said)
        fresh.put_target_epoch(group.target_epoch, 0)
        for member in group.members.values():
            fresh.put_progress(member.member_id, member.at)
        for name in ("topic_members", "regex_members", "assignors", "classic_protocols", "static_members"):
            assert getattr(fresh, name) == getattr(group, name), name
        assert fresh.unsettled == group.unsettled
        fresh.put_epoch(group.epoch, 0)
        fresh.moved()
        assert fresh.state is group.state
        assert group.targets.keys() <= group.members.keys()
        assert group.regexes.keys() == group.regex_members.keys()
        assert group.target_epoch <= group.epoch
        assert all(member.at.epoch <= group.target_epoch for member in group.members.values())
        assert group.sessions.keys() <= group.members.keys()
        for member in group.members.values():
            is_revoking = bool(member.at.revoking)
            assert not is_revoking or member.at.state is MemberState.UNREVOKED

    @invariant()
    def every_member_is_watched(self) -> None:
        group = self.group
        if isinstance(group, ConsumerGroup):
            for member_id in group.members:
                assert ("consumer-session", "g", member_id) in self.harness.timers

    @invariant()
    def a_steady_heartbeat_changes_nothing(self) -> None:
        """Where the machine says that nothing happened, the same heartbeat comes to the same."""
        shard, group, now = self.harness.shard, self.group, self.harness.now
        for client in self.new.values():
            if client.steady is None or client.last is None or not isinstance(group, ConsumerGroup):
                continue
            session = group.sessions.get(client.member_id)
            deadline_ms = session.deadline_ms if session is not None else 0
            if not client.steady.beat(now.monotonic_ms):
                continue
            assert session is not None
            prolonged_ms, session.deadline_ms = session.deadline_ms, deadline_ms
            step = shard.consumer_heartbeat(client.last, Client(1, client.name, "/h"), "again", now)
            assert (step.records, step.write, step.timers) == ([], None, [])
            assert step.replies == [("again", client.reply)]
            assert session.deadline_ms == prolonged_ms
            session.deadline_ms = deadline_ms

    @invariant()
    def offsets_are_what_was_committed_last(self) -> None:
        request = OffsetFetchRequestGroup(group_id="g", member_id=None, member_epoch=-1, topics=None)
        response = self.harness.shard.fetch_offsets(request, require_stable=True)
        found = {
            (topic.name, partition.partition_index): partition.committed_offset
            for topic in response.topics
            for partition in topic.partitions
        }
        assert found == self.offsets

    @invariant()
    def replay_gives_the_same(self) -> None:
        harness, group = self.harness, self.group
        replayed = harness.replayed()
        assert replayed.offsets.groups == harness.shard.offsets.groups
        if isinstance(group, ClassicGroup) and (_view(harness.shard) is None or harness.refused_keys):
            return  # What of a classic group is in memory only is another test's matter.
        assert _view(replayed) == _view(harness.shard)

    def teardown(self) -> None:
        if not hasattr(self, "harness"):
            return
        harness = self.harness
        harness.refusal, harness.flushes = None, True
        harness.flush()
        if isinstance(self.group, ClassicGroup):
            harness.advance(harness.now_ms + 3_600_000)
        self._learn()
        self._check_all_answered()
        if not isinstance(self.group, ConsumerGroup):
            return
        # Classic members go silent, the others go on: soon everyone has its target.
        for who in NEW:
            self.new[who].regex = ""
            self.beat(who, ("t", "u"), "", True, "all", "own")
        for _ in range(60):
            harness.advance(harness.now_ms + 3_000)
            self._learn()
            for who in NEW:
                topics = None if self.new[who].epoch else ("t", "u")
                self.beat(who, topics, None, True, "all", "own")
        group = self.group
        assert isinstance(group, ConsumerGroup)
        assert group.state is GroupState.STABLE
        held: set[tuple[bytes, int]] = set()
        for member in group.members.values():
            target = group.targets.get(member.member_id, {})
            assert {topic: set(numbers) for topic, numbers in member.at.assigned.items()} == target
            held |= {(topic, number) for topic, numbers in target.items() for number in numbers}
        wanted = {(topic_id_of(name), n) for name in ("t", "u") for n in range(self.counts.get(name, 0))}
        assert held == wanted


def _owned(owned: Partitions) -> list[RequestTopicPartitions]:
    by_topic: dict[bytes, list[int]] = {}
    for topic_id, number in sorted(owned):
        by_topic.setdefault(topic_id, []).append(number)
    return [RequestTopicPartitions(topic_id=topic_id, partitions=ns) for topic_id, ns in by_topic.items()]


def _assigned(assignment: bytes) -> Partitions:
    decoded, _ = ConsumerProtocolAssignment.decode(memoryview(assignment), 2, 0)
    return frozenset(
        (topic_id_of(part.topic), number)
        for part in decoded.assigned_partitions
        for number in part.partitions
    )


def _view(shard: GroupShard) -> Any:
    """What of the group survives a restart; of a classic one only while it is settled."""
    group = shard.groups.get("g")
    if isinstance(group, ConsumerGroup):
        return {
            "epochs": (group.epoch, group.metadata_hash, group.target_epoch, group.target_timestamp_ms),
            "members": group.members,
            "targets": {member_id: target for member_id, target in group.targets.items() if target},
            "regexes": group.regexes,
            "state": group.state,
            "owners": group.owners,
        }
    if isinstance(group, ClassicGroup) and group.state.value in ("Empty", "Stable"):
        return durable_view(group)
    return None


TestConsumerGroups = ConsumerGroups.TestCase
TestConsumerGroups.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
