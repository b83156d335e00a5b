"""The produce request of a producer in a loop: one partition, the same request but for the batch.

See :mod:`odradek.broker.repeats`. The batch is gathered (:mod:`odradek.storage.gathering`) and written with
what else came in this wake-up, by :meth:`Gathered.write`, before anybody is answered. A batch that is
not plain, and everything that goes wrong, is left to :mod:`odradek.broker.produce`.
"""

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from odradek.broker.partitions import Partition
from odradek.broker.produce import TOPIC_IDS_FROM_VERSION, refuse_partition
from odradek.broker.requests import Parts, RequestContext, Wait
from odradek.core.errors import ErrorCode
from odradek.protocol.fields import uvarint_rest
from odradek.protocol.generated.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from odradek.protocol.stencil import HEAD_BYTES, around_records, encoded, stencil

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.table import Api

_ACKS_ALL = -1
_FIRST_VERSION = ProduceRequest.FIRST_FLEXIBLE_VERSION
_TARGETS_KEPT = 64


def learn(
    broker: "Broker", api: "Api", frame: memoryview, request: ProduceRequest, context: RequestContext
) -> "RepeatedProduce | None":
    """What ``request`` has in common with those that may follow it; None when it is not of the kind."""
    version = context.api_version
    if len(request.topic_data) != 1 or len(request.topic_data[0].partition_data) != 1:
        return None
    if request.acks not in (1, _ACKS_ALL) or request.transactional_id is not None or version < _FIRST_VERSION:
        return None
    asked = request.topic_data[0]
    if version < TOPIC_IDS_FROM_VERSION:
        topic = broker.topics.by_name.get(asked.name)
    else:
        topic = broker.topics.by_id.get(asked.topic_id)
    data = asked.partition_data[0]
    partition = topic.partition(data.index) if topic is not None else None
    if topic is None or partition is None or topic.is_internal or data.records is None:
        return None
    before, after = around_records(request, version, data)
    size = len(encoded(request, version)) - len(before) - len(after)
    header_end = len(frame) - len(before) - size - len(after)
    if frame[header_end : header_end + len(before)] != before or frame[len(frame) - len(after) :] != after:
        return None  # well-formed, but not as our encoder writes it
    end = header_end + len(before)
    known = context.session.repeats.known.get(api.key << 16 | version)
    if not isinstance(known, RepeatedProduce) or not known.fits(end, after):
        known = RepeatedProduce(broker, api, end, after)
    known.add(bytes(frame[HEAD_BYTES:end]), Target(broker, api, request, version, partition))
    return known


class RepeatedProduce:
    """Requests of one version whose batch begins at one place, to any of some partitions."""

    __slots__ = (
        "_after",
        "_api",
        "_broker",
        "_image",
        "_records_start",
        "_targets",
        "_unpack",
    )

    def __init__(self, broker: "Broker", api: "Api", records_start: int, after: bytes) -> None:
        self._broker = broker
        self._api = api
        self._records_start = records_start
        """Where the length of the records lies."""
        self._after = after
        self._unpack = Struct(f">4xi{records_start - HEAD_BYTES}s").unpack_from
        self._image = broker.image
        self._targets: dict[bytes, Target] = {}

    def fits(self, records_start: int, after: bytes) -> bool:
        """Whether requests with their batch there, and these bytes behind it, are of this kind."""
        is_current = self._broker.image is self._image
        return is_current and records_start == self._records_start and after == self._after

    def add(self, before: bytes, target: "Target") -> None:
        """Know requests that begin with ``before`` (behind the correlation id) as for ``target``."""
        if len(self._targets) >= _TARGETS_KEPT:
            self._targets.clear()
        self._targets[before] = target

    def answer(self, frame: memoryview) -> Parts | Wait | None:
        """See :class:`odradek.broker.repeats.Repeat`."""
        broker = self._broker
        start = self._records_start
        if len(frame) <= start or broker.metadata.image is not self._image:
            return None
        correlation_id, before = self._unpack(frame)
        target = self._targets.get(before)
        if target is None:
            return None
        size = frame[start]
        start += 1
        if size > 127:
            size, start = uvarint_rest(frame, start, size)
        end = start + size - 1
        if frame[end:] != self._after:
            return None
        partition = target.partition
        log = partition.log
        base_offset = log.gather(frame[start:end], broker.clock.now_ms(), partition.leader_epoch)
        if base_offset < 0:
            return None
        broker.gathered.is_pending = True  # at once: whatever fails below, the batch has to be written
        self._api.requests += 1
        before_offset, after_offset = target.fixed
        parts: Parts = [
            target.pack(
                target.size,
                correlation_id,
                before_offset,
                base_offset,
                -1,
                log.log_start_offset,
                after_offset,
            )
        ]
        wait = None
        if target.acks == _ACKS_ALL and log.is_strict:
            deadline_ms = broker.clock.monotonic_ms() + target.timeout_ms
            wait = Acknowledgement(target, correlation_id, parts, deadline_ms)
        broker.gathered.entries.append((target, correlation_id, parts, wait, log.gathered_end_offset))
        return wait or parts


class Target:
    """A partition that such requests go to, and what is answered."""

    __slots__ = (
        "_api",
        "_broker",
        "_index",
        "_topic_id",
        "_topic_name",
        "_version",
        "acks",
        "fixed",
        "pack",
        "partition",
        "size",
        "timeout_ms",
    )

    def __init__(
        self, broker: "Broker", api: "Api", request: ProduceRequest, version: int, partition: Partition
    ) -> None:
        # The request itself is not kept: its records lie in a buffer that is used again.
        topic = request.topic_data[0]
        self._broker = broker
        self._api = api
        self._version = version
        self._topic_name, self._topic_id = topic.name, topic.topic_id
        self._index = topic.partition_data[0].index
        self.partition = partition
        self.acks = request.acks
        self.timeout_ms = max(request.timeout_ms, 0)
        self.pack, self.fixed, self.size = self._learn_answer()

    def _learn_answer(self) -> tuple[Callable[..., bytes], tuple[bytes, ...], int]:
        data = PartitionProduceResponse(index=self._index)
        response = self._response(data)
        header_end = b"\0"  # no tagged fields
        answers = stencil(
            lambda: header_end + encoded(response, self._version),
            (data, "base_offset"),
            (data, "log_append_time_ms"),
            (data, "log_start_offset"),
        )
        assert answers is not None
        layout = Struct(">ii" + answers.layout)
        return layout.pack, answers.fixed, layout.size - 4

    def _response(self, data: PartitionProduceResponse) -> ProduceResponse:
        topic = TopicProduceResponse(
            name=self._topic_name, topic_id=self._topic_id, partition_responses=[data]
        )
        return ProduceResponse(responses=[topic])

    def refusal(self, correlation_id: int, code: ErrorCode, message: str | None) -> Parts:
        """The answer to a batch that was not appended after all, or whose commit nobody knows of."""
        response = self._response(refuse_partition(self._index, code, message))
        return self._broker.encode(self._api, self._version, correlation_id, response)


class Acknowledgement(Wait):
    """An acks=all answer, encoded already, that waits for the high watermark."""

    __slots__ = ("_acknowledged", "_correlation_id", "_target", "deadline_ms")

    def __init__(self, target: Target, correlation_id: int, encoded: Parts, deadline_ms: int) -> None:
        super().__init__()
        self._target = target
        self._correlation_id = correlation_id
        self._acknowledged = encoded
        self.deadline_ms: int | None = deadline_ms

    def committed(self) -> None:
        self._finish(self._acknowledged)

    def failed(self, code: ErrorCode) -> None:
        self._finish(self._target.refusal(self._correlation_id, code, None))

    def _finish(self, parts: Parts) -> None:
        if not self.is_complete:
            self.is_complete = True
            self.parts = parts
            if self._notify is not None:
                self._notify()
