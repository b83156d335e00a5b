"""One step of a consumer group as it is being made: changes done at once, recorded, and taken back if the
append of their records is refused.

Doing them at once lets each part of a step see what the parts before it did. Taking them back is exact,
because nothing comes between a step and the answer of the log (``coordinator/step.py``).
"""

from collections.abc import Callable
from typing import Any, Protocol

from odradek.coordinator.classic_group import ClassicGroup
from odradek.coordinator.consumer_changes import Change
from odradek.coordinator.consumer_group import ConsumerGroup
from odradek.coordinator.consumer_sessions import drop_orphans
from odradek.coordinator.offsets import Offsets
from odradek.coordinator.rebalances import Cause, Rebalance
from odradek.coordinator.settings import GroupConfigOf, GroupSettings
from odradek.coordinator.step import Now, Step, Token, coordinator_error
from odradek.coordinator.topics_view import TopicsView
from odradek.core.errors import ErrorCode

Group = ClassicGroup | ConsumerGroup
Refusal = Callable[[ErrorCode], Any]
"""Makes the response that carries an error."""


class Store(Protocol):
    """What the machines of consumer groups need of a shard."""

    groups: dict[str, Group]
    offsets: Offsets
    settings: GroupSettings
    topics: TopicsView
    config_of: GroupConfigOf
    new_suffix: Callable[[], str]


class Draft:
    """The changes of one step to one group."""

    __slots__ = ("_if_refused", "_undo", "causes", "group", "now", "step", "store")

    def __init__(self, store: Store, group: ConsumerGroup, now: Now, step: Step | None = None) -> None:
        self.store = store
        self.group = group
        self.now = now
        self.step = Step() if step is None else step
        self._undo: list[Callable[[], object]] = []
        self.causes: list[Rebalance] = []
        self._if_refused: list[Callable[[Step, Now], None]] = []

    def do(self, change: Change) -> None:
        """Makes a change and writes it down."""
        group = self.group
        reverse = change.apply(group)
        self._undo.append(lambda: reverse.apply(group))
        self.step.records.append(change.record(group.group_id))

    def install(self, group: Group) -> None:
        """Puts ``group`` in the place of whatever has its id; its records are the caller's matter."""
        groups, group_id = self.store.groups, group.group_id
        before = groups.get(group_id)
        groups[group_id] = group
        self._undo.append(
            lambda: groups.pop(group_id, None) if before is None else groups.update({group_id: before})
        )

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Whatever ends the step early leaves nothing behind."""
        if kind is not None:
            self.roll_back()

    def note(self, cause: Cause, member_id: str = "", detail: str = "") -> None:
        """Says why the group rebalances, for those who ask later; counts once the records are written."""
        member = self.group.members.get(member_id)
        client_id = member.said.client_id if member is not None else ""
        self.causes.append(Rebalance(self.now.wall_ms, self.group.epoch, cause, member_id, client_id, detail))

    def if_refused(self, then: Callable[[Step, Now], None]) -> None:
        """Names what must be done when the changes are taken back: timers that were cancelled run again."""
        self._if_refused.append(then)

    def abandon(self, token: Token, response: Any) -> Step:
        """Takes everything back and refuses the request. Whoever was told to come again on the way is."""
        step = self.step
        step.records = []
        self.take_back(step, self.now)
        step.reply(token, response)
        return step

    def take_back(self, step: Step, now: Now) -> None:
        """Takes everything back, and sets the timers again that belong to what was there before."""
        self.roll_back()
        group = self.group
        is_there = self.store.groups.get(group.group_id) is group
        drop_orphans(step, group, group.members if is_there else ())
        for then in self._if_refused:
            then(step, now)

    def roll_back(self) -> None:
        """Takes all changes back."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        group = self.group
        group.moved()
        # What the step learned of the topics must be learned again.
        group.must_refresh()
        group.regexes_seen = None

    def finish(self, token: Token, response: Any, refuse: Refusal) -> Step:
        """The step, with ``response`` for ``token`` as soon as nothing that it tells can be taken back."""
        step, group = self.step, self.group
        if step.records:
            group.moved()
            step.write = _Written(self, [(token, response, refuse)])
        elif group.in_flight is not None:
            group.in_flight.replies.append((token, response, refuse))
        else:
            step.reply(token, response)
        return step

    def finish_silently(self) -> Step:
        """The step of something that nobody asked for."""
        step, group = self.step, self.group
        if step.records:
            group.moved()
            step.write = _Written(self, [])
        return step


class _Written:
    """The records of a step, and who waits for them: whoever caused it, and whoever was answered from
    memory while they were on their way to the disk."""

    __slots__ = ("draft", "is_accepted", "replies")

    def __init__(self, draft: Draft, replies: list[tuple[Token, Any, Refusal]]) -> None:
        self.draft = draft
        self.replies = replies
        self.is_accepted = False

    def appended(self, base_offset: int) -> None:
        self.is_accepted = True
        group = self.draft.group
        group.in_flight = self
        for entry in self.draft.causes:
            group.rebalances.note(entry)

    def durable(self, now: Now) -> Step:
        group = self.draft.group
        if group.in_flight is self:
            group.in_flight = None
        step = Step()
        for token, response, _ in self.replies:
            step.reply(token, response)
        return step

    def refused(self, code: ErrorCode, now: Now) -> Step:
        step = Step()
        if not self.is_accepted:
            self.draft.take_back(step, now)
        for token, _, refuse in self.replies:
            step.reply(token, refuse(coordinator_error(code)))
        return step
