"""The fetch of a consumer in a loop: one partition, the same request but for offset and session epoch.

See :mod:`odradek.broker.repeats`. It is answered here only when there is enough to read at once and nothing
else to say; the rest (parking, errors, aborted transactions, replicas) is left to
:mod:`odradek.broker.fetch`.
"""

from struct import Struct
from typing import TYPE_CHECKING

from odradek.broker.fetch import READ_COMMITTED
from odradek.broker.fetch_sessions import FINAL_EPOCH, TOPIC_IDS_FROM_VERSION
from odradek.broker.requests import Parts, RequestContext
from odradek.core.errors import ApiError
from odradek.protocol.fields import uvarint_bytes
from odradek.protocol.generated.fetch import (
    AbortedTransaction,
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)
from odradek.protocol.stencil import around_records, request_stencil, stencil
from odradek.storage.cold import ColdReadError

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.partitions import Partition
    from odradek.broker.table import Api


def _compact_length(size: int) -> bytes:
    return uvarint_bytes(size + 1)


def _plain_length(size: int) -> bytes:
    return size.to_bytes(4, "big")


def learn(
    broker: "Broker", api: "Api", frame: memoryview, request: FetchRequest, context: RequestContext
) -> "RepeatedFetch | None":
    """What ``request`` has in common with those that may follow it; None when it is not of the kind."""
    if len(request.topics) != 1 or len(request.topics[0].partitions) != 1 or request.forgotten_topics_data:
        return None
    if max(request.replica_id, request.replica_state.replica_id) >= 0:
        return None
    is_in_session = request.session_id > 0 and request.session_epoch > 0
    if not is_in_session and (request.session_id or request.session_epoch != FINAL_EPOCH):
        return None
    asked = request.topics[0].partitions[0]
    partition = _partition(broker, request, context.api_version)
    if partition is None or asked.last_fetched_epoch >= 0:
        return None
    if asked.current_leader_epoch not in (-1, partition.leader_epoch):
        return None
    repeated = RepeatedFetch(broker, api, request, partition)
    return repeated if repeated.learn_bytes(frame, context.api_version) else None


def _partition(broker: "Broker", request: FetchRequest, version: int) -> "Partition | None":
    asked = request.topics[0]
    if version < TOPIC_IDS_FROM_VERSION:
        topic = broker.topics.by_name.get(asked.topic)
    else:
        topic = broker.topics.by_id.get(asked.topic_id)
    return topic.partition(asked.partitions[0].partition) if topic is not None else None


class RepeatedFetch:
    """The fixed bytes of request and answer, and what they mean."""

    __slots__ = (
        "_after_records",
        "_answer_fixed",
        "_api",
        "_asked",
        "_broker",
        "_frame_size",
        "_image",
        "_is_read_committed",
        "_key",
        "_length_bytes",
        "_max_bytes",
        "_min_bytes",
        "_overhead",
        "_pack",
        "_partition",
        "_request",
        "_request_fixed",
        "_session_id",
        "_unpack",
    )

    def __init__(self, broker: "Broker", api: "Api", request: FetchRequest, partition: "Partition") -> None:
        self._broker = broker
        self._api = api
        self._request = request
        self._partition = partition
        topic = request.topics[0]
        self._asked = topic.partitions[0]
        self._key = (topic.topic or topic.topic_id, self._asked.partition)
        self._session_id = request.session_id
        self._image = broker.image
        self._is_read_committed = request.isolation_level == READ_COMMITTED
        self._min_bytes = max(request.min_bytes, 1)
        self._max_bytes = min(
            request.max_bytes, broker.config.fetch_max_bytes, self._asked.partition_max_bytes
        )

    def learn_bytes(self, frame: memoryview, version: int) -> bool:
        """Whether the layouts of request and answer are such that :meth:`answer` can do with them."""
        request, asked = self._request, self._asked
        asks = request_stencil(frame, request, version, (request, "session_epoch"), (asked, "fetch_offset"))
        aborted: list[AbortedTransaction] | None = [] if self._is_read_committed else None
        data = PartitionData(partition_index=asked.partition, aborted_transactions=aborted)
        topic = FetchableTopicResponse(
            topic=request.topics[0].topic, topic_id=request.topics[0].topic_id, partitions=[data]
        )
        response = FetchResponse(session_id=self._session_id, responses=[topic])
        is_flexible = version >= FetchResponse.FIRST_FLEXIBLE_VERSION
        header_end = b"\0" if is_flexible else b""  # no tagged fields
        answers = stencil(
            lambda: header_end + around_records(response, version, data)[0],
            (data, "high_watermark"),
            (data, "last_stable_offset"),
            (data, "log_start_offset"),
        )
        if asks is None or answers is None or len(asks.fixed) != 3 or len(answers.fixed) != 2:
            return False
        asks_struct, answers_struct = Struct(">ii" + asks.layout), Struct(">ii" + answers.layout)
        self._frame_size = asks_struct.size
        self._unpack = asks_struct.unpack
        self._request_fixed = asks.fixed
        self._pack = answers_struct.pack
        self._answer_fixed = answers.fixed
        self._after_records = around_records(response, version, data)[1]
        self._overhead = answers_struct.size - 4 + len(self._after_records)
        self._length_bytes = _compact_length if is_flexible else _plain_length
        return True

    def answer(self, frame: memoryview) -> Parts | None:
        """See :class:`odradek.broker.repeats.Repeat`."""
        broker = self._broker
        if len(frame) != self._frame_size or broker.metadata.image is not self._image:
            return None
        _, correlation_id, first, session_epoch, middle, offset, last = self._unpack(frame)
        if (first, middle, last) != self._request_fixed:
            return None
        if broker.gathered.is_pending:
            broker.gathered.write()  # a client sees its own batches
        session = None
        if self._session_id:
            session = broker.fetch_sessions.of_one_partition(self._session_id, session_epoch, self._key)
            if session is None:
                return None
        elif session_epoch != FINAL_EPOCH:
            return None
        partition = self._partition
        log = partition.log
        high_watermark = log.high_watermark
        if not log.log_start_offset <= offset < high_watermark:
            return None
        try:
            stable_offset = log.last_stable_offset
            is_read_committed = self._is_read_committed
            upper_offset = stable_offset if is_read_committed else high_watermark
            read = log.read(offset, self._max_bytes, upper_offset, cached_only=True)
            if is_read_committed and log.aborted_transactions(offset, read.next_offset):
                return None
        except (ApiError, ColdReadError):
            return None
        records = read.records
        size = len(records)
        if size < self._min_bytes:
            return None
        start_offset = log.log_start_offset
        if session is not None:
            asked = self._asked
            asked.fetch_offset = offset
            session.repeat(asked, high_watermark, start_offset)
            broker.fetch_sessions.used(session, broker.clock.now_ms())
        self._api.requests += 1
        partition.bytes_fetched += size
        length = self._length_bytes(size)
        before, between = self._answer_fixed
        head = self._pack(
            self._overhead + len(length) + size,
            correlation_id,
            before,
            high_watermark,
            stable_offset,
            start_offset,
            between,
        )
        return [head + length, records, self._after_records]
