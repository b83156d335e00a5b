"""The OffsetCommit of a consumer in a loop: one partition, the same request but for offset and leader epoch.

See :mod:`odradek.broker.repeats`. The machine checks it as any other
(:mod:`odradek.coordinator.prepared_commit`); what it refuses, and what is not the same, is left to
:mod:`odradek.broker.offset_commit`.
"""

from struct import Struct
from typing import TYPE_CHECKING, Any

from odradek.broker.requests import RequestContext, Wait
from odradek.broker.shard_runner import Independent
from odradek.cluster.image import ClusterImage
from odradek.core.errors import ApiError
from odradek.protocol.generated.offset_commit import OffsetCommitRequest
from odradek.protocol.stencil import CORRELATED_BYTES, Stencil, request_stencil

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.group_shard import GroupRunner
    from odradek.broker.table import Api
    from odradek.coordinator.prepared_commit import PreparedCommit

FIRST_VERSION = 6
"""From here on there is a leader epoch."""


def learn(
    broker: "Broker", api: "Api", frame: memoryview, request: OffsetCommitRequest, context: RequestContext
) -> "RepeatedCommit | None":
    """What ``request`` has in common with those that may follow it; None when it is not of the kind.

    Its topic has name and id by now, as it was handled before.
    """
    version = context.api_version
    if len(request.topics) != 1 or len(request.topics[0].partitions) != 1 or version < FIRST_VERSION:
        return None
    topic = broker.topics.by_name.get(request.topics[0].name)
    asked = request.topics[0].partitions[0]
    if topic is None or topic.topic_id != request.topics[0].topic_id:
        return None
    if not 0 <= asked.partition_index < len(topic.partitions):
        return None
    asks = request_stencil(
        frame, request, version, (asked, "committed_offset"), (asked, "committed_leader_epoch")
    )
    runner = broker.groups.runner(request.group_id)
    commit = runner.shard.prepare_commit(request, version)
    if asks is None or len(asks.fixed) != 2 or commit is None:
        return None
    return RepeatedCommit(broker, api, request, context, asks, runner, commit)


class RepeatedCommit:
    """The fixed bytes of request and answer, and the commit that they stand for."""

    __slots__ = (
        "_answer",
        "_answer_size",
        "_api",
        "_broker",
        "_commit",
        "_context",
        "_fixed",
        "_frame_size",
        "_image",
        "_pack",
        "_request",
        "_runner",
        "_topic",
        "_unpack",
        "response",
    )

    def __init__(
        self,
        broker: "Broker",
        api: "Api",
        request: OffsetCommitRequest,
        context: RequestContext,
        asks: Stencil,
        runner: "GroupRunner",
        commit: "PreparedCommit",
    ) -> None:
        self._broker = broker
        self._api = api
        self._request = request
        self._context = context
        self._image = broker.image
        self._topic = broker.topics.by_name[request.topics[0].name]
        self._runner = runner
        self._commit = commit
        asks_struct = Struct(">4xi" + asks.layout)
        self._frame_size = asks_struct.size
        self._unpack = asks_struct.unpack
        self._fixed = asks.fixed
        self.response = self._commit.response
        """What the machine replies when all goes well."""
        answer = b"".join(broker.encode(api, context.api_version, 0, self.response))
        self._answer = answer[CORRELATED_BYTES:]
        self._answer_size = len(answer) - 4
        self._pack = Struct(f">ii{len(self._answer)}s").pack

    def answer(self, frame: memoryview) -> Wait | None:
        """See :class:`odradek.broker.repeats.Repeat`."""
        if len(frame) != self._frame_size:
            return None
        correlation_id, before, offset, leader_epoch, after = self._unpack(frame)
        if (before, after) != self._fixed:
            return None
        broker, runner = self._broker, self._runner
        image = broker.metadata.image
        if not runner.is_ready or (image is not self._image and not self._holds_in(image)):
            return None
        wait = Committed(self, correlation_id)
        try:
            step = self._commit.commit(offset, leader_epoch, wait, runner.now())
        except ApiError:
            return None
        assert step.write is not None
        self._api.requests += 1
        broker.gathered.add_step(runner, Independent(step, step.write, wait))
        return wait

    def _holds_in(self, image: ClusterImage) -> bool:
        """Whether a new image changes nothing here."""
        broker, topic = self._broker, self._topic
        is_same = image.quotas is self._image.quotas and broker.topics.by_name.get(topic.name) is topic
        try:
            is_same = is_same and broker.groups.runner(self._request.group_id) is self._runner
        except ApiError:
            return False
        if is_same:
            self._image = image
        return is_same

    def success(self, correlation_id: int) -> bytes:
        """The answer that all went well."""
        return self._pack(self._answer_size, correlation_id, self._answer)

    def encode(self, correlation_id: int, response: Any) -> list[Any]:
        """Any other answer."""
        return self._broker.encode_late(self._api, self._request, self._context, correlation_id, response)


class Committed(Wait):
    """An answer whose bytes are there, but for the correlation id, before it is known if they are true."""

    __slots__ = ("_correlation_id", "_repeated")

    def __init__(self, repeated: RepeatedCommit, correlation_id: int) -> None:
        super().__init__()
        self._repeated = repeated
        self._correlation_id = correlation_id

    def complete(self, response: Any) -> None:
        if self.is_complete:
            return
        self.is_complete = True
        repeated = self._repeated
        if response is repeated.response:
            self.parts = [repeated.success(self._correlation_id)]
        else:
            self.parts = repeated.encode(self._correlation_id, response)
        if self._notify is not None:
            self._notify()
