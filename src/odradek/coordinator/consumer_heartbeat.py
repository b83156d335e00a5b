"""ConsumerGroupHeartbeat: the one request by which a member of the new protocol joins, lives, changes its
subscription, learns what to read, says what it gave up, and leaves.

A heartbeat first makes the member known or brings it up to date, which may move the group's epoch; then it
makes the target assignment, if that is due; then it takes the member as far towards its target as it gets.
A heartbeat with nothing to say ends after a few comparisons and writes nothing.

Source: KIP-848; ``GroupMetadataManager`` (``consumerGroupHeartbeat``,
``throwIfConsumerGroupHeartbeatRequestIsInvalid``).
"""

from typing import Any

from odradek.coordinator import consumer_sessions as sessions
from odradek.coordinator.classic_group import ClassicGroup
from odradek.coordinator.classic_join import Client
from odradek.coordinator.consumer_changes import PutProgress, PutSubscription, PutTarget
from odradek.coordinator.consumer_draft import Draft, Store
from odradek.coordinator.consumer_group import NO_TARGET, ConsumerGroup
from odradek.coordinator.consumer_leave import fence, find_dynamic, find_static, go_away, remove_member
from odradek.coordinator.consumer_member import (
    AWAY_EPOCH,
    LEFT_EPOCH,
    ConsumerMember,
    MemberState,
    Owned,
    Progress,
    Subscription,
)
from odradek.coordinator.consumer_subscriptions import subscribe
from odradek.coordinator.consumer_target import is_part_of, next_progress, update_target
from odradek.coordinator.migration import become_consumer
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.regex import check_regex
from odradek.coordinator.settings import GroupSettings
from odradek.coordinator.step import Now, Step, Token
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    ResponseTopicPartitions,
)

MEMBER_ID_FROM_CLIENT_FROM = 1


def consumer_heartbeat(
    store: Store, request: ConsumerGroupHeartbeatRequest, client: Client, token: Token, now: Now
) -> Step:
    """The step of one heartbeat; what is wrong with it is in the answer."""
    try:
        check_request(request, client.api_version, store.settings)
        draft = _open(store, request, now)
    except ApiError as error:
        step = Step()
        step.reply(token, _refusal(error.code, error.message))
        return step
    with draft:
        try:
            if request.member_epoch < 0:
                response = _leave(draft, request)
            else:
                response = _beat(draft, request, client)
        except ApiError as error:
            return draft.abandon(token, _refusal(error.code, error.message))
        return draft.finish(token, response, _refusal)


def _refusal(code: ErrorCode, message: str | None = None) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=code, error_message=message)


# What a request must be like


def check_request(request: ConsumerGroupHeartbeatRequest, api_version: int, settings: GroupSettings) -> None:
    """Raises INVALID_REQUEST, UNSUPPORTED_ASSIGNOR or INVALID_REGULAR_EXPRESSION."""
    if not request.group_id:
        raise _invalid("GroupId can't be empty.")
    if request.instance_id == "":
        raise _invalid("InstanceId can't be empty.")
    if request.rack_id == "":
        raise _invalid("RackId can't be empty.")
    epoch = request.member_epoch
    if not request.member_id and (epoch != 0 or api_version >= MEMBER_ID_FROM_CLIENT_FROM):
        raise _invalid("MemberId can't be empty.")
    if epoch == 0:
        _check_join(request)
    elif epoch == AWAY_EPOCH:
        if request.instance_id is None:
            raise _invalid("InstanceId can't be null.")
    elif epoch < LEFT_EPOCH:
        raise _invalid("MemberEpoch is invalid.")
    assignor = request.server_assignor
    if assignor is not None and assignor not in settings.consumer_assignors:
        supported = ", ".join(settings.consumer_assignors)
        raise ApiError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {assignor} is not supported. Supported assignors: {supported}.",
        )


def _check_join(request: ConsumerGroupHeartbeatRequest) -> None:
    if request.rebalance_timeout_ms == -1:
        raise _invalid("RebalanceTimeoutMs must be provided in first request.")
    if request.topic_partitions is None or request.topic_partitions:
        raise _invalid("TopicPartitions must be empty when (re-)joining.")
    if request.subscribed_topic_names is None and request.subscribed_topic_regex is None:
        raise _invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
        )
    if request.subscribed_topic_regex:
        check_regex(request.subscribed_topic_regex)


def _invalid(message: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_REQUEST, message)


# The group


def _open(store: Store, request: ConsumerGroupHeartbeatRequest, now: Now) -> Draft:
    """A draft for the group that the request is about; a member that joins finds one in any case, unless
    there is a classic group that cannot be converted. Raises GROUP_ID_NOT_FOUND."""
    group_id = request.group_id
    group = store.groups.get(group_id)
    if isinstance(group, ConsumerGroup):
        return Draft(store, group, now)
    if request.member_epoch != 0:
        if isinstance(group, ClassicGroup):
            raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} is not a consumer group.")
        kind = "Consumer group" if request.member_epoch > 0 else "Group"
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"{kind} {group_id} not found.")
    if group is not None:
        return become_consumer(store, group, now)
    draft = Draft(store, ConsumerGroup(group_id), now)
    draft.install(draft.group)
    return draft


def check_room(settings: GroupSettings, group: ConsumerGroup, member_id: str) -> None:
    """Raises GROUP_MAX_SIZE_REACHED when the group is full and the member not in it."""
    if len(group.members) >= settings.consumer_max_size and member_id not in group.members:
        raise ApiError(
            ErrorCode.GROUP_MAX_SIZE_REACHED,
            f"The consumer group has reached its maximum capacity of {settings.consumer_max_size} members.",
        )


# Members


def _leave(draft: Draft, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse:
    group, member_id, epoch = draft.group, request.member_id, request.member_epoch
    if request.instance_id is None:
        fence(draft, find_dynamic(group, member_id), Cause.LEFT)
    else:
        member = find_static(group, request.instance_id, member_id)
        if epoch == AWAY_EPOCH:
            go_away(draft, member)
        else:
            fence(draft, member, Cause.LEFT)
    return ConsumerGroupHeartbeatResponse(error_code=0, member_id=member_id, member_epoch=epoch)


def _beat(
    draft: Draft, request: ConsumerGroupHeartbeatRequest, client: Client
) -> ConsumerGroupHeartbeatResponse:
    group, store = draft.group, draft.store
    check_room(store.settings, group, request.member_id)
    member_id = request.member_id or store.new_suffix()
    member, cause = _find_or_replace(draft, request, member_id)
    assigned_before = member.at.assigned
    has_changed = subscribe(draft, member_id, _says(request, member.said, client), cause)
    update_target(draft)
    reconcile(draft, member_id, request.topic_partitions, has_changed)
    config = store.config_of(group.group_id)
    sessions.keep_session(draft.step, group, member_id, config.session_timeout_ms, draft.now)
    at = group.members[member_id].at
    response = ConsumerGroupHeartbeatResponse(
        error_code=0,
        member_id=member_id,
        member_epoch=at.epoch,
        heartbeat_interval_ms=config.heartbeat_interval_ms,
    )
    if _is_full(request) or (at.assigned is not assigned_before and at.assigned != assigned_before):
        response.assignment = _assignment(at.assigned)
    return response


def _find_or_replace(
    draft: Draft, request: ConsumerGroupHeartbeatRequest, member_id: str
) -> tuple[ConsumerMember, Cause | None]:
    """The member that sends this, and why it is here anew, if it is. A static member that comes back takes
    its old place over. Raises :class:`ApiError`."""
    group, epoch, instance_id = draft.group, request.member_epoch, request.instance_id
    if epoch == 0:
        holder = group.static_members.get(instance_id) if instance_id is not None else None
        if holder is not None:
            old = group.members[holder]
            if not old.is_classic and old.at.epoch != AWAY_EPOCH:
                raise ApiError(
                    ErrorCode.UNRELEASED_INSTANCE_ID,
                    f"Static member {member_id} with instance id {instance_id} cannot join the group"
                    f" because the instance id is owned by {holder} member.",
                )
            return replace_static(draft, old, member_id), Cause.RETURNED
        member = group.members.get(member_id)
        return (member, Cause.RETURNED) if member is not None else (ConsumerMember(member_id), Cause.JOINED)
    if instance_id is None:
        member = find_dynamic(group, member_id)
    else:
        member = find_static(group, instance_id, member_id)
    _check_epoch(member, epoch, request.topic_partitions)
    return member, None


def replace_static(draft: Draft, old: ConsumerMember, member_id: str) -> ConsumerMember:
    """Gives the place of ``old``, its target and its partitions, to ``member_id``, in epoch 0."""
    target = draft.group.targets.get(old.member_id, NO_TARGET)
    remove_member(draft, old)
    draft.do(PutSubscription(member_id, old.said))
    draft.do(PutTarget(member_id, target))
    draft.do(PutProgress(member_id, Progress(0, 0, old.at.state, old.at.assigned, old.at.revoking)))
    return draft.group.members[member_id]


def _check_epoch(member: ConsumerMember, epoch: int, owned: Any) -> None:
    """Raises FENCED_MEMBER_EPOCH. The epoch before is good from a member that says that it has nothing else
    than it should: the answer with the new one was lost."""
    at = member.at
    if epoch == at.epoch:
        return
    if epoch > at.epoch or epoch != at.previous_epoch or not is_part_of(owned, at.assigned):
        size = "greater" if epoch > at.epoch else "smaller"
        raise ApiError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"The consumer group member has a {size} member epoch ({epoch}) than the one known by the group"
            f" coordinator ({at.epoch}). The member must abandon all its partitions and rejoin.",
        )


def _says(request: ConsumerGroupHeartbeatRequest, before: Subscription, client: Client) -> Subscription:
    """What the member says of itself by now: a heartbeat only tells what changed."""
    said = before
    changes: dict[str, Any] = {}
    if request.instance_id is not None and request.instance_id != said.instance_id:
        changes["instance_id"] = request.instance_id
    if request.rack_id is not None and request.rack_id != said.rack_id:
        changes["rack_id"] = request.rack_id
    if request.rebalance_timeout_ms not in (-1, said.rebalance_timeout_ms):
        changes["rebalance_timeout_ms"] = request.rebalance_timeout_ms
    if request.server_assignor is not None and request.server_assignor != said.server_assignor:
        changes["server_assignor"] = request.server_assignor
    if request.subscribed_topic_names is not None:
        changes["topics"] = frozenset(request.subscribed_topic_names)
    if request.subscribed_topic_regex is not None:
        changes["regex"] = request.subscribed_topic_regex
    if client.client_id != said.client_id or client.client_host != said.client_host:
        changes["client_id"], changes["client_host"] = client.client_id, client.client_host
    if said.classic is not None:
        changes["classic"] = None
    return said._replace(**changes) if changes else said


def reconcile(draft: Draft, member_id: str, owned: Any, has_subscription_changed: bool) -> None:
    """Takes the member a step towards its target, if there is one to take."""
    group = draft.group
    member = group.members[member_id]
    at = next_progress(group, member, draft.store.topics, owned, has_subscription_changed)
    if at is member.at:
        return
    draft.do(PutProgress(member_id, at))
    if member.is_classic:
        return
    if at.state is MemberState.UNREVOKED:
        timeout_ms = member.said.rebalance_timeout_ms
        sessions.watch_revocation(draft.step, group, member_id, at.epoch, timeout_ms, draft.now)
    else:
        sessions.stop_watching(draft.step, group, member_id)


def _is_full(request: ConsumerGroupHeartbeatRequest) -> bool:
    """Whether the member says everything, as it does when it joins and after an error: then it is told
    everything."""
    return request.member_epoch == 0 or (
        request.rebalance_timeout_ms != -1
        and (request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None)
        and request.topic_partitions is not None
    )


def _assignment(assigned: Owned) -> Assignment:
    return Assignment(
        topic_partitions=[
            ResponseTopicPartitions(topic_id=topic_id, partitions=list(partitions))
            for topic_id, partitions in assigned.items()
        ]
    )
