"""The ConsumerGroupHeartbeat of a member to which nothing happens: the same request again, the same answer.

See :mod:`odradek.broker.repeats`. Whether anything happened is the machine's to say
(:mod:`odradek.coordinator.steady`); then, or if it is not the same, it is left to
:mod:`odradek.broker.consumer_group_heartbeat`.
"""

from struct import Struct
from typing import TYPE_CHECKING

from odradek.broker.consumer_group_heartbeat import client_of, runner_of
from odradek.broker.requests import Parts, RequestContext, Wait
from odradek.cluster.image import ClusterImage
from odradek.core.errors import ApiError
from odradek.protocol.generated.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from odradek.protocol.stencil import CORRELATED_BYTES, HEAD_BYTES

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.group_shard import GroupRunner
    from odradek.broker.table import Api
    from odradek.coordinator.steady import SteadyMember


def learn(
    broker: "Broker",
    api: "Api",
    frame: memoryview,
    request: ConsumerGroupHeartbeatRequest,
    context: RequestContext,
) -> "RepeatedHeartbeat | None":
    """What the same request is answered from now on; None when it may be something else each time.

    The machine is asked once more for it, as by a client that sends its heartbeat again.
    """
    runner = runner_of(broker, request.group_id)
    step, member = runner.shard.ask_again(request, client_of(context), Wait(), runner.now())
    runner.perform(step)
    if member is None:
        return None
    _, response = step.replies[0]
    answer = b"".join(broker.encode(api, context.api_version, 0, response))
    return RepeatedHeartbeat(broker, api, runner, request.group_id, member, bytes(frame), answer)


class RepeatedHeartbeat:
    """One heartbeat, to the byte, but for the correlation id."""

    __slots__ = (
        "_answer",
        "_answer_size",
        "_api",
        "_asked",
        "_broker",
        "_frame_size",
        "_group_id",
        "_image",
        "_member",
        "_pack",
        "_runner",
        "_unpack",
    )

    def __init__(
        self,
        broker: "Broker",
        api: "Api",
        runner: "GroupRunner",
        group_id: str,
        member: "SteadyMember",
        frame: bytes,
        answer: bytes,
    ) -> None:
        self._broker = broker
        self._api = api
        self._runner = runner
        self._group_id = group_id
        self._member = member
        self._image = broker.image
        self._frame_size = len(frame)
        self._asked = frame[HEAD_BYTES:]
        self._unpack = Struct(f">4xi{len(self._asked)}s").unpack
        self._answer = answer[CORRELATED_BYTES:]
        self._answer_size = len(answer) - 4
        self._pack = Struct(f">ii{len(self._answer)}s").pack

    def answer(self, frame: memoryview) -> Parts | None:
        """See :class:`odradek.broker.repeats.Repeat`."""
        if len(frame) != self._frame_size:
            return None
        correlation_id, asked = self._unpack(frame)
        if asked != self._asked:
            return None
        broker = self._broker
        image = broker.metadata.image
        if image is not self._image and not self._holds_in(image):
            return None
        if broker.gathered.is_pending:
            broker.gathered.write()  # nothing comes between a step and its records
        if not self._member.beat(broker.clock.monotonic_ms()):
            return None
        self._api.requests += 1
        return [self._pack(self._answer_size, correlation_id, self._answer)]

    def _holds_in(self, image: ClusterImage) -> bool:
        """Whether a new image changes nothing here; what it means to the group, the machine is told."""
        if image.quotas is not self._image.quotas:
            return False
        try:
            is_same = runner_of(self._broker, self._group_id) is self._runner
        except ApiError:
            return False
        if is_same:
            self._image = image
        return is_same
