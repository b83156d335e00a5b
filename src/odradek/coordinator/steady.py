"""Heartbeats with nothing to say: as long as nothing happens, the same one comes to the same.

A member of a consumer group sends the same heartbeat until something changes, and all that it does is to move
the end of the member's session. Who sends it again is known by :class:`SteadyMember`, which is asked whether
that still holds: the group is the one that it was, its revision and its settings are.
"""

from odradek.coordinator.classic_join import Client
from odradek.coordinator.consumer_draft import Store
from odradek.coordinator.consumer_group import ConsumerGroup
from odradek.coordinator.consumer_heartbeat import consumer_heartbeat
from odradek.coordinator.step import Now, Step, Token
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest


class SteadyMember:
    """A member, and how its group was when its heartbeat changed nothing."""

    __slots__ = ("_config", "_group", "_revision", "_session", "_store")

    def __init__(self, store: Store, group: ConsumerGroup, member_id: str) -> None:
        self._store = store
        self._group = group
        self._revision = group.revision
        self._session = group.sessions[member_id]
        self._config = store.config_of(group.group_id)

    def beat(self, now_ms: int) -> bool:
        """Does all that the same heartbeat would do (``now_ms`` is monotonic); if that may be more by now,
        nothing is done and the answer is no."""
        group, store = self._group, self._store
        if group.revision != self._revision or store.groups.get(group.group_id) is not group:
            return False
        config = store.config_of(group.group_id)
        return config is self._config and self._session.prolong(now_ms + config.session_timeout_ms)


def ask_again(
    store: Store, request: ConsumerGroupHeartbeatRequest, client: Client, token: Token, now: Now
) -> tuple[Step, SteadyMember | None]:
    """The step of a heartbeat that comes once more, as from a client that lost the answer.

    With it the steady member, if it changed nothing: then its reply is what the same one gets from now on.
    Who joins or leaves is not asked again.
    """
    if request.member_epoch <= 0:
        return Step(), None
    step = consumer_heartbeat(store, request, client, token, now)
    group = store.groups.get(request.group_id)
    is_plain = len(step.replies) == 1 and step.write is None and not step.timers
    if not is_plain or not isinstance(group, ConsumerGroup):
        return step, None
    if step.replies[0][1].error_code != ErrorCode.NONE or group.epoch > group.target_epoch:
        return step, None  # a target that is due waits for its time
    return step, SteadyMember(store, group, request.member_id)
