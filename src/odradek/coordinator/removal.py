"""What groups and offsets are forgotten: on demand, with their topics, or when their time is over.

Source: ``GroupCoordinatorShard`` (``deleteGroups``, ``cleanupGroupMetadata``, ``onTopicsDeleted``); KIP-211,
KIP-229.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from odradek.coordinator import records
from odradek.coordinator.classic_group import ClassicGroup, Event
from odradek.coordinator.classic_rebalance import heartbeat_key
from odradek.coordinator.consumer_changes import group_tombstones
from odradek.coordinator.consumer_draft import Group
from odradek.coordinator.consumer_group import GROUP_TRANSITIONS, GroupEvent
from odradek.coordinator.offsets import Offsets
from odradek.coordinator.step import Now, ReplyWhenDurable, Step, Token, coordinator_error
from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicId
from odradek.protocol.generated.delete_groups import DeletableGroupResult, DeleteGroupsResponse

OffsetName = tuple[str, str, int]
"""Group, topic and partition."""


class Store(Protocol):
    """What these need of a shard."""

    groups: dict[str, Group]
    offsets: Offsets


def delete_groups(store: Store, group_ids: list[str], token: Token) -> Step:
    """The step of a DeleteGroups request: groups that are there and have no members go."""
    step = Step()
    step.is_atomic = False
    response = DeleteGroupsResponse(results=[])
    doomed: list[Group] = []
    for group_id in dict.fromkeys(group_ids):
        group = store.groups.get(group_id)
        code = ErrorCode.NONE
        if group is None:
            code = ErrorCode.GROUP_ID_NOT_FOUND
        elif not group.is_empty:
            code = ErrorCode.NON_EMPTY_GROUP
        else:
            doomed.append(group)
            _write_tombstones(step, _offsets_of(store, group_id), group)
        response.results.append(DeletableGroupResult(group_id=group_id, error_code=code))
    if not doomed:
        step.reply(token, response)
        return step

    def apply(base_offset: int) -> None:
        for group in doomed:
            _forget(store, _offsets_of(store, group.group_id), group)

    def refuse(code: ErrorCode) -> DeleteGroupsResponse:
        for result in response.results:
            result.error_code = result.error_code or coordinator_error(code)
        return response

    step.write = ReplyWhenDurable(token, response, apply, refuse)
    return step


def expire(store: Store, retention_ms: int, now: Now) -> Iterator[Step]:
    """A step for each group that has offsets to forget, or that is empty and has none left."""
    for group in list(store.groups.values()):
        expired = store.offsets.expired(group, retention_ms, now.wall_ms)
        if expired is None:
            names = _offsets_of(store, group.group_id)
        else:
            names = [(group.group_id, topic, partition) for topic, partition in expired]
        gone = group if expired is None and group.is_empty else None
        if names or gone is not None:
            step = Step()
            _write_tombstones(step, names, gone)
            step.write = _Forgotten(store, names, gone)
            step.is_atomic = False
            yield step


def forget_offsets(store: Store, is_stale: Callable[[str, TopicId], bool]) -> Step:
    """The step that forgets the offsets of all stale topics."""
    step = Step()
    step.is_atomic = False
    names = list(dict.fromkeys(store.offsets.stale(is_stale)))
    if names:
        _write_tombstones(step, names, None)
        step.write = _Forgotten(store, names, None)
    return step


class _Forgotten:
    """Tombstones of offsets, and of a group if it goes with them; nobody waits for them."""

    __slots__ = ("group", "names", "store")

    def __init__(self, store: Store, names: list[OffsetName], group: Group | None) -> None:
        self.store = store
        self.names = names
        self.group = group

    def appended(self, base_offset: int) -> None:
        _forget(self.store, self.names, self.group)

    def durable(self, now: Now) -> None:
        """Nothing follows."""

    def refused(self, code: ErrorCode, now: Now) -> None:
        """They stay, and the next round finds them again."""


def _offsets_of(store: Store, group_id: str) -> list[OffsetName]:
    return [(group_id, topic, partition) for topic, partition in store.offsets.all_of(group_id)]


def _write_tombstones(step: Step, names: Iterable[OffsetName], group: Group | None) -> None:
    step.records.extend((records.offset_key(*name), None) for name in names)
    if isinstance(group, ClassicGroup):
        step.records.append((records.group_key(group.group_id), None))
        for member_id in group.pending_members:
            step.cancel_timer(heartbeat_key(group, member_id))
    elif group is not None:
        step.records += group_tombstones(group)


def _forget(store: Store, names: Iterable[OffsetName], group: Group | None) -> None:
    for name in names:
        store.offsets.remove(*name)
    if group is None or store.groups.pop(group.group_id, None) is None:
        return
    if isinstance(group, ClassicGroup):
        group.transition(Event.REMOVED, group.state_since_ms)
    else:
        group.state = GROUP_TRANSITIONS[group.state][GroupEvent.REMOVED]
