"""All groups of one partition of ``__consumer_offsets``: takes requests, timers and records of the log.

A shard is rebuilt by :meth:`GroupShard.replay` of its partition from the start, then :meth:`loaded`. From
then on each input gives a :class:`~odradek.coordinator.step.Step`. Groups are classic ones or consumer groups
(KIP-848); those of other kinds, which a Kafka may have left in the log, are counted and left alone.

Source: ``GroupCoordinatorShard``, ``GroupMetadataManager.replay``, ``OffsetMetadataManager``.
"""

from collections.abc import Callable, Iterator

from odradek.coordinator import (
    classic_in_consumer,
    classic_membership,
    classic_rebalance,
    consumer_changes,
    consumer_commits,
    consumer_leave,
    consumer_sessions,
    kept_offset,
    records,
    removal,
)
from odradek.coordinator.classic_group import ClassicGroup, Event
from odradek.coordinator.classic_join import Client, Joining, protocols_of
from odradek.coordinator.consumer_draft import Group
from odradek.coordinator.consumer_group import GROUP_TRANSITIONS, ConsumerGroup, GroupEvent
from odradek.coordinator.consumer_heartbeat import consumer_heartbeat
from odradek.coordinator.consumer_subscriptions import is_concerned
from odradek.coordinator.offset_writes import commit_offsets, delete_offsets, is_too_long
from odradek.coordinator.offsets import Offsets
from odradek.coordinator.prepared_commit import PreparedCommit
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.settings import GroupConfigOf, GroupSettings
from odradek.coordinator.steady import SteadyMember, ask_again
from odradek.coordinator.step import (
    Now,
    Producer,
    ReplyWhenDurable,
    Step,
    TimerKey,
    Token,
    coordinator_error,
)
from odradek.coordinator.topics_view import NO_TOPICS, TopicsView
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicId
from odradek.protocol.generated.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from odradek.protocol.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.protocol.generated.join_group import JoinGroupRequest, JoinGroupResponse
from odradek.protocol.generated.leave_group import LeaveGroupRequest, LeaveGroupResponse
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.protocol.generated.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from odradek.protocol.generated.offset_fetch import OffsetFetchRequestGroup, OffsetFetchResponseGroup
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupResponse


class GroupShard:
    """The groups and offsets of one partition.

    ``config_of`` tells what is in force for a consumer group; ``new_suffix`` makes the random part of member
    ids. Requests carry a token under which their reply comes, in the step that they return or in a later one.
    """

    def __init__(
        self, settings: GroupSettings, config_of: GroupConfigOf, new_suffix: Callable[[], str]
    ) -> None:
        self.settings = settings
        self.config_of = config_of
        self.topics = NO_TOPICS
        self.groups: dict[str, Group] = {}
        self.offsets = Offsets()
        self.foreign_records = 0
        """Replayed records that belong to kinds of groups that are not served here."""
        self.new_suffix = new_suffix

    # Membership

    def join_group(self, request: JoinGroupRequest, client: Client, token: Token, now: Now) -> Step:
        """JoinGroup. An id that is not known here is not let in; without one a missing group is made."""
        settings = self.settings
        if not request.group_id:
            return _refuse_join(token, request, ErrorCode.INVALID_GROUP_ID)
        if (
            not settings.min_session_timeout_ms
            <= request.session_timeout_ms
            <= settings.max_session_timeout_ms
        ):
            return _refuse_join(token, request, ErrorCode.INVALID_SESSION_TIMEOUT)
        found = self.groups.get(request.group_id)
        if isinstance(found, ClassicGroup):
            return Joining(found, request, client, token, settings, self.new_suffix, now).run()
        if found is not None and not found.is_empty:
            protocols = protocols_of(request)
            return classic_in_consumer.join(self, found, request, protocols, client, token, now)
        if request.member_id:
            return _refuse_join(token, request, ErrorCode.UNKNOWN_MEMBER_ID)
        group = ClassicGroup(request.group_id, now.wall_ms)
        record = records.new_group_record(group)
        step = Joining(group, request, client, token, settings, self.new_suffix, now).run()
        if group.pending_members or group.members:
            if found is not None:
                group.rebalances = found.rebalances
                step.records += consumer_changes.group_tombstones(found)
            step.records.append(record)
            step.write = _GroupMade(self, group, found, step.replies)
            step.replies = []
        return step

    def sync_group(self, request: SyncGroupRequest, token: Token, now: Now) -> Step:
        """SyncGroup."""
        step = Step()
        try:
            group = self._group(request.group_id)
            if isinstance(group, ConsumerGroup):
                return classic_in_consumer.sync(self, group, request, token, now)
            classic_membership.sync(step, group, request, token, self.settings, now)
        except ApiError as error:
            step.reply(token, SyncGroupResponse(error_code=error.code))
        return step

    def heartbeat(self, request: HeartbeatRequest, token: Token, now: Now) -> Step:
        """Heartbeat."""
        step = Step()
        try:
            group = self._group(request.group_id)
            if isinstance(group, ConsumerGroup):
                return classic_in_consumer.heartbeat(self, group, request, token, now)
            code = classic_membership.heartbeat(
                step, group, request.member_id, request.group_instance_id, request.generation_id, now
            )
        except ApiError as error:
            code = error.code
        step.reply(token, HeartbeatResponse(error_code=code))
        return step

    def leave_group(self, request: LeaveGroupRequest, token: Token, now: Now) -> Step:
        """LeaveGroup. A missing group is answered member by member, as a group without them would be."""
        step = Step()
        if not request.group_id:
            step.reply(token, LeaveGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID))
            return step
        group = self.groups.get(request.group_id) or ClassicGroup(request.group_id, now.wall_ms)
        if isinstance(group, ConsumerGroup):
            return classic_in_consumer.leave(self, group, request, token, now)
        response = classic_membership.leave(step, group, request, self.settings, now)
        if step.records:
            step.write = ReplyWhenDurable(
                token,
                response,
                lambda _: None,
                lambda code: LeaveGroupResponse(error_code=coordinator_error(code)),
            )
        else:
            step.reply(token, response)
        return step

    def consumer_heartbeat(
        self, request: ConsumerGroupHeartbeatRequest, client: Client, token: Token, now: Now
    ) -> Step:
        """ConsumerGroupHeartbeat."""
        return consumer_heartbeat(self, request, client, token, now)

    def ask_again(
        self, request: ConsumerGroupHeartbeatRequest, client: Client, token: Token, now: Now
    ) -> tuple[Step, SteadyMember | None]:
        """The same ConsumerGroupHeartbeat once more; and its member, if it changes nothing."""
        return ask_again(self, request, client, token, now)

    def _group(self, group_id: str) -> Group:
        if not group_id:
            raise ApiError(ErrorCode.INVALID_GROUP_ID)
        group = self.groups.get(group_id)
        if group is None:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        return group

    # Offsets

    def commit_offsets(
        self,
        request: OffsetCommitRequest,
        topics: list[OffsetCommitRequestTopic],
        response: OffsetCommitResponse,
        api_version: int,
        token: Token,
        now: Now,
    ) -> Step:
        """OffsetCommit of those ``topics`` of ``request`` that exist, with their names; what comes of them
        is added to ``response``. Raises :class:`ApiError` when the member or its generation is refused."""
        step = Step()
        self.admit_commit(step, request, topics, api_version, now)
        commit_offsets(step, self, request, topics, response, token, now)
        return step

    def admit_commit(
        self,
        step: Step,
        request: OffsetCommitRequest,
        topics: list[OffsetCommitRequestTopic],
        api_version: int,
        now: Now,
    ) -> None:
        """Checks who commits, and keeps the member alive. Raises :class:`ApiError`."""
        group = self.groups.get(request.group_id)
        generation = request.generation_id_or_member_epoch
        if isinstance(group, ConsumerGroup):
            consumer_commits.validate_commit(group, request.member_id, generation, topics, api_version)
        elif group is not None:
            classic_membership.validate_commit(
                step, group, request.member_id, request.group_instance_id, generation, now
            )
        elif generation >= 0:
            is_known_code = api_version >= 9
            raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND if is_known_code else ErrorCode.ILLEGAL_GENERATION)

    def prepare_commit(self, request: OffsetCommitRequest, api_version: int) -> PreparedCommit | None:
        """A commit for one existing partition, to be done again and again with other offsets; None when it is
        refused for what it says beside them."""
        (topic,) = request.topics
        metadata = topic.partitions[0].committed_metadata or ""
        is_fit = not is_too_long(metadata, self.settings.metadata_max_bytes)
        return PreparedCommit(self, request, api_version) if is_fit else None

    def commit_transactional_offsets(
        self,
        request: OffsetCommitRequest,
        topics: list[OffsetCommitRequestTopic],
        producer: Producer,
        response: OffsetCommitResponse,
        token: Token,
        now: Now,
    ) -> Step:
        """TxnOffsetCommit, read as an OffsetCommit: as :meth:`commit_offsets`, but the offsets count when the
        transaction of ``producer`` is committed. Raises :class:`ApiError`."""
        step = Step()
        group = self.groups.get(request.group_id)
        generation = request.generation_id_or_member_epoch
        if isinstance(group, ConsumerGroup):
            consumer_commits.validate_transactional_commit(
                group, request.member_id, request.group_instance_id, generation, topics
            )
        elif group is not None:
            classic_membership.validate_transactional_commit(
                step, group, request.member_id, request.group_instance_id, generation, now
            )
        elif generation >= 0:
            raise ApiError(ErrorCode.ILLEGAL_GENERATION)
        commit_offsets(step, self, request, topics, response, token, now, producer)
        return step

    def fetch_offsets(
        self, request: OffsetFetchRequestGroup, require_stable: bool
    ) -> OffsetFetchResponseGroup:
        """OffsetFetch for one group. What is not durable yet is in it, so the answer must wait for that.
        Raises :class:`ApiError` when the member or its epoch is refused."""
        group = self.groups.get(request.group_id)
        if isinstance(group, ConsumerGroup):
            consumer_commits.validate_fetch(group, request.member_id, request.member_epoch)
        return self.offsets.fetch(request, require_stable)

    def delete_offsets(
        self, request: OffsetDeleteRequest, response: OffsetDeleteResponse, token: Token, now: Now
    ) -> Step:
        """OffsetDelete; what comes of each partition is added to ``response``. Raises :class:`ApiError`."""
        step = Step()
        if not request.group_id:
            raise ApiError(ErrorCode.INVALID_GROUP_ID)
        group = self.groups.get(request.group_id)
        if group is None:
            raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND)
        if not group.is_empty and not group.speaks_consumer_protocol:
            raise ApiError(ErrorCode.NON_EMPTY_GROUP)
        delete_offsets(step, self, group, request, response, token)
        return step

    # Topics

    def topics_changed(self, topics: TopicsView, changed: set[str]) -> None:
        """The topics are now these; those of the names ``changed`` came, went or are not what they were.
        Groups that are concerned look at them at their next heartbeat."""
        self.topics = topics
        for group in self.groups.values():
            if isinstance(group, ConsumerGroup) and is_concerned(group, changed):
                group.must_refresh()

    # Removal

    def delete_groups(self, group_ids: list[str], token: Token) -> Step:
        """DeleteGroups: the offsets and the group itself, if it has no members."""
        return removal.delete_groups(self, group_ids, token)

    def expire(self, now: Now) -> Iterator[Step]:
        """What may be forgotten by now, a step per group that has something."""
        return removal.expire(self, self.settings.retention_ms, now)

    def forget_offsets(self, is_stale: Callable[[str, TopicId], bool]) -> Step:
        """Forgets the offsets of topics that are gone, by name and by the id that the commit was for (the
        zero id when it did not say)."""
        return removal.forget_offsets(self, is_stale)

    # Timers, loading and unloading

    def on_timer(self, key: TimerKey, now: Now) -> Step:
        """A timer fired; one whose group is gone means nothing."""
        step = Step()
        if key[0] in consumer_sessions.KINDS:
            return consumer_leave.on_timer(self, key, now)
        group = self.groups.get(key[1])
        if not isinstance(group, ClassicGroup):
            return step
        if key[0] == classic_rebalance.HEARTBEAT:
            classic_rebalance.on_heartbeat_timer(step, group, key[2], self.settings, now)
        elif key[0] == classic_rebalance.JOIN:
            classic_rebalance.on_join_timer(step, group, self.settings, now)
        else:
            classic_rebalance.on_sync_timer(step, group, self.settings, now)
        return step

    def replay(self, record_offset: int, producer_id: int, key: bytes, value: bytes | None) -> None:
        """Takes one record of the log in; ``producer_id`` is -1 outside of transactions.

        Raises ``MalformedError`` for a key or value of a known type that cannot be read.
        """
        kind = records.key_type(key)
        if kind in (records.OFFSET_KEY, records.LEGACY_OFFSET_KEY):
            group_id, topic, partition = records.read_offset_key(key)
            if value is None:
                self.offsets.remove(group_id, topic, partition)
                return
            self.make_simple_group(group_id)
            committed = records.read_offset_value(value, record_offset)
            if producer_id == -1:
                self.offsets.put(group_id, topic, partition, kept_offset.keep(*committed))
            else:
                self.offsets.put_pending(producer_id, group_id, topic, partition, committed)
        elif kind == records.GROUP_KEY:
            group_id = records.read_group_key(key)
            if value is not None:
                self.groups[group_id] = records.read_group(group_id, value)
            elif isinstance(self.groups.get(group_id), ClassicGroup):
                del self.groups[group_id]
        elif kind in consumer_changes.KEYS:
            self._replay_consumer_group(kind, key, value)
        else:
            self.foreign_records += 1

    def _replay_consumer_group(self, kind: int, key: bytes, value: bytes | None) -> None:
        group_id, change = consumer_changes.read_change(kind, key, value)
        group = self.groups.get(group_id)
        if not isinstance(group, ConsumerGroup):
            if value is None or change is None:
                return
            # A classic group without a record of its own is only the holder of offsets.
            group = self.groups[group_id] = ConsumerGroup(group_id)
        if change is not None:
            change.apply(group)
            group.moved()
        elif value is None and kind == consumer_changes.EPOCH_KEY:
            del self.groups[group_id]

    def replay_marker(self, producer_id: int, is_commit: bool) -> None:
        """Takes the end of a transaction in."""
        self.offsets.end_transaction(producer_id, is_commit)

    def make_simple_group(self, group_id: str) -> None:
        """A group that nobody joins, for whoever only stores offsets; nothing when it exists."""
        if group_id not in self.groups:
            self.groups[group_id] = ClassicGroup(group_id, -1)

    def loaded(self, now: Now) -> Step:
        """After the replay: members must show that they still live; groups above the limit rebalance."""
        step = Step()
        for group in self.groups.values():
            if isinstance(group, ConsumerGroup):
                consumer_leave.resume(step, group, self.config_of(group.group_id).session_timeout_ms, now)
                continue
            for member in group.members.values():
                classic_rebalance.keep_alive(step, group, member, member.session_timeout_ms, now)
            if len(group.members) > self.settings.max_size:
                classic_rebalance.note(group, Cause.TOO_LARGE, None, now)
                classic_rebalance.prepare_rebalance(step, group, self.settings, now)
        return step

    def unload(self) -> Step:
        """The partition is not ours any more, or offline: everyone who waits must look for another."""
        step = Step()
        code = ErrorCode.NOT_COORDINATOR
        for group in self.groups.values():
            if isinstance(group, ConsumerGroup):
                group.state = GROUP_TRANSITIONS[group.state][GroupEvent.REMOVED]
                continue
            for member in group.members.values():
                token = group.take_join_token(member)
                if token is not None:
                    step.reply(token, JoinGroupResponse(member_id=member.member_id, error_code=code))
                token, member.sync_token = member.sync_token, None
                if token is not None:
                    step.reply(token, SyncGroupResponse(error_code=code))
            group.transition(Event.REMOVED, group.state_since_ms)
        self.groups = {}
        self.offsets = Offsets()
        return step


class _GroupMade:
    """The record of a group that a JoinGroup made, maybe in the place of an empty consumer group: its replies
    wait for it, and it vanishes without it."""

    __slots__ = ("before", "group", "replies", "shard")

    def __init__(
        self,
        shard: GroupShard,
        group: ClassicGroup,
        before: Group | None,
        replies: list[tuple[Token, object]],
    ) -> None:
        self.shard = shard
        self.group = group
        self.before = before
        self.replies = replies
        shard.groups[group.group_id] = group

    def appended(self, base_offset: int) -> None:
        """The group is in place since the step."""

    def durable(self, now: Now) -> Step:
        step = Step()
        step.replies = self.replies
        return step

    def refused(self, code: ErrorCode, now: Now) -> Step:
        step, group = Step(), self.group
        tokens = [token for token, _ in self.replies]
        tokens.extend(group.take_join_token(member) for member in group.members.values())
        for token in tokens:
            if token is not None:
                step.reply(token, JoinGroupResponse(error_code=coordinator_error(code), member_id=""))
        step.cancel_timer((classic_rebalance.JOIN, group.group_id))
        for member_id in (*group.members, *group.pending_members):
            step.cancel_timer(classic_rebalance.heartbeat_key(group, member_id))
        if self.before is None:
            self.shard.groups.pop(group.group_id, None)
        else:
            self.shard.groups[group.group_id] = self.before
        return step


def _refuse_join(token: Token, request: JoinGroupRequest, code: ErrorCode) -> Step:
    step = Step()
    step.reply(token, JoinGroupResponse(error_code=code, member_id=request.member_id))
    return step
