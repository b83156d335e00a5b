"""Fetch: reads record batches below the high watermark, and parks when there is too little yet.

v5 log start offset (KIP-107), v7 sessions (KIP-227), v9 leader epoch fencing (KIP-320), v11 rack of the
reader (KIP-392), v12 flexible versions and diverging epochs (KIP-595), v13 topic ids (KIP-516), v15 replica
state (KIP-903), v16 node endpoints (KIP-951), v17 directory ids (KIP-853), v18 the follower's high watermark
(KIP-1166). Records go out as views of mapped segments: this file never touches them.
"""

import logging
from typing import TYPE_CHECKING

from odradek.broker.cold_reads import ColdFetch, ColdRead
from odradek.broker.fetch_sessions import (
    TOPIC_IDS_FROM_VERSION,
    FetchSession,
    WantedPartition,
    partitions_of,
)
from odradek.broker.partitions import Partition
from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.protocol.generated.fetch import (
    AbortedTransaction,
    EpochEndOffset,
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)
from odradek.storage.cold import ColdRange, ColdReadError

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

log = logging.getLogger("odradek.fetch")

READ_COMMITTED = 1


def handle(broker: "Broker", request: FetchRequest, context: RequestContext) -> FetchResponse | Wait:
    session = broker.fetch_sessions.resolve(request, context.api_version, context.now_ms)
    read = Read(broker, request, context, session)
    read.run(cached_only=True)
    if read.cold:
        return ColdFetch(broker, read, lambda wait: _finish(broker, read, request.max_wait_ms, wait)).wait
    if read.is_satisfied or request.max_wait_ms <= 0:
        return read.response()
    return _ParkedFetch(broker, read, request.max_wait_ms, Wait()).wait


def _finish(broker: "Broker", read: "Read", max_wait_ms: int, wait: Wait) -> None:
    if read.is_satisfied or max_wait_ms <= 0:
        wait.complete(read.response())
    else:
        _ParkedFetch(broker, read, max_wait_ms, wait)


class Read:
    """One fetch: what is wanted and what was found; it may run again when something new arrives."""

    __slots__ = (
        "_broker",
        "_is_incremental",
        "_is_replica",
        "_max_bytes",
        "_min_bytes",
        "_read_committed",
        "_session",
        "_version",
        "cold",
        "found",
        "has_error",
        "size",
        "wanted",
    )

    def __init__(
        self, broker: "Broker", request: FetchRequest, context: RequestContext, session: FetchSession | None
    ) -> None:
        self._broker = broker
        self._session = session
        self._version = context.api_version
        self._is_incremental = request.session_epoch > 0
        self._is_replica = max(request.replica_id, request.replica_state.replica_id) >= 0
        self._max_bytes = min(request.max_bytes, broker.config.fetch_max_bytes)
        self._min_bytes = request.min_bytes
        self._read_committed = request.isolation_level == READ_COMMITTED
        self.wanted = list(session.partitions.values() if session is not None else partitions_of(request))
        self.found: list[PartitionData] = []
        self.cold: list[ColdRead] = []
        """What must be loaded first, if the last run was for cached bytes only: its answer is not whole."""
        self.size = 0
        self.has_error = False

    @property
    def is_satisfied(self) -> bool:
        return self.size >= self._min_bytes or self.has_error or not self.wanted

    def run(self, *, cached_only: bool = False) -> None:
        """Reads everything wanted, as much as the size limits allow; the first batch always fits."""
        if self.size:
            self._discount()
        self.found = found = []
        self.cold = []
        self.size = 0
        self.has_error = False
        room = self._max_bytes
        for wanted in self.wanted:
            try:
                data = self._read_partition(wanted, room, cached_only)
            except ColdReadError as error:
                self._note_cold(wanted, error.missing)
                data = _refuse_partition(wanted.index, ErrorCode.NONE)
                room = max(room - (error.missing.end - error.missing.start), 0)
            except ApiError as error:
                data = _refuse_partition(wanted.index, error.code)
            except (DamageError, OSError):
                data = _refuse_partition(wanted.index, ErrorCode.KAFKA_STORAGE_ERROR)
            if data.error_code or data.diverging_epoch.epoch >= 0:
                self.has_error = True
            found.append(data)
            size = 0 if data.records is None else len(data.records)
            self.size += size
            room = room - size if room > size else 0

    def _note_cold(self, wanted: WantedPartition, missing: ColdRange) -> None:
        partition = self.partition(wanted)
        assert partition is not None
        self.cold.append(ColdRead(partition.log, missing))

    def _discount(self) -> None:
        """What the last run found was too little to be answered, so nobody got it."""
        for wanted, data in zip(self.wanted, self.found, strict=True):
            partition = self.partition(wanted)
            if partition is not None and data.records:
                partition.bytes_fetched -= len(data.records)

    def partition(self, wanted: WantedPartition) -> Partition | None:
        topics = self._broker.topics
        if self._version < TOPIC_IDS_FROM_VERSION:
            return topics.partition(wanted.topic, wanted.index)
        topic = topics.by_id.get(wanted.topic_id)
        return topic.partition(wanted.index) if topic is not None else None

    def _read_partition(self, wanted: WantedPartition, room: int, cached_only: bool) -> PartitionData:
        partition = self.partition(wanted)
        if partition is None:
            raise ApiError(self._unknown(wanted))
        if self._is_replica:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if wanted.current_leader_epoch >= 0 and wanted.current_leader_epoch != partition.leader_epoch:
            is_newer = wanted.current_leader_epoch > partition.leader_epoch
            raise ApiError(ErrorCode.UNKNOWN_LEADER_EPOCH if is_newer else ErrorCode.FENCED_LEADER_EPOCH)
        records_log = partition.log
        data = PartitionData(
            partition_index=wanted.index,
            high_watermark=records_log.high_watermark,
            last_stable_offset=records_log.last_stable_offset,
            log_start_offset=records_log.log_start_offset,
            aborted_transactions=None,
        )
        if wanted.last_fetched_epoch >= 0:
            epoch, end_offset = records_log.end_offset_for_epoch(wanted.last_fetched_epoch)
            if end_offset < 0:
                raise ApiError(ErrorCode.OFFSET_OUT_OF_RANGE)
            if epoch < wanted.last_fetched_epoch or end_offset < wanted.fetch_offset:
                data.diverging_epoch = EpochEndOffset(epoch=epoch, end_offset=end_offset)
                data.records = b""
                return data
        upper_offset = data.last_stable_offset if self._read_committed else data.high_watermark
        max_bytes = wanted.max_bytes if wanted.max_bytes < room else room
        read = records_log.read(
            wanted.fetch_offset,
            max_bytes,
            upper_offset,
            minimum_one=not (self.size or self.cold),
            cached_only=cached_only,
        )
        data.records = read.records
        partition.bytes_fetched += len(read.records)
        if self._read_committed:
            data.aborted_transactions = [
                AbortedTransaction(producer_id=producer_id, first_offset=first_offset)
                for producer_id, first_offset in records_log.aborted_transactions(
                    wanted.fetch_offset, read.next_offset
                )
            ]
        return data

    def _unknown(self, wanted: WantedPartition) -> ErrorCode:
        if self._version < TOPIC_IDS_FROM_VERSION or wanted.topic_id in self._broker.topics.by_id:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return ErrorCode.UNKNOWN_TOPIC_ID

    def response(self) -> FetchResponse:
        """What was found; within a session only what the consumer does not know yet."""
        session = self._session
        topics: dict[str | bytes, FetchableTopicResponse] = {}
        for wanted, data in zip(self.wanted, self.found, strict=True):
            if session is not None:
                is_news = _is_news(wanted, data)
                wanted.told_high_watermark = data.high_watermark
                wanted.told_log_start_offset = data.log_start_offset
                if data.records:
                    session.serve_last(wanted)
                if self._is_incremental and not is_news:
                    continue
            topic = topics.get(wanted.topic or wanted.topic_id)
            if topic is None:
                topic = topics[wanted.topic or wanted.topic_id] = FetchableTopicResponse(
                    topic=wanted.topic, topic_id=wanted.topic_id, partitions=[]
                )
            topic.partitions.append(data)
        return FetchResponse(
            session_id=session.session_id if session is not None else 0, responses=list(topics.values())
        )


def _is_news(wanted: WantedPartition, data: PartitionData) -> bool:
    return bool(
        data.records
        or data.error_code
        or data.diverging_epoch.epoch >= 0
        or data.high_watermark != wanted.told_high_watermark
        or data.log_start_offset != wanted.told_log_start_offset
    )


class _ParkedFetch:
    """A fetch that found too little: it runs again when one of its high watermarks moves, or at its time."""

    __slots__ = ("_partitions", "_read", "_timer", "wait")

    def __init__(self, broker: "Broker", read: Read, max_wait_ms: int, wait: Wait) -> None:
        self.wait = wait
        self.wait.on_abandoned = self._leave
        self._read = read
        self._partitions: list[Partition] = []
        for wanted in read.wanted:
            partition = read.partition(wanted)
            if partition is not None:
                partition.fetch_waiters[self] = None
                self._partitions.append(partition)
                if partition.log.high_watermark < partition.log.log_end_offset:
                    broker.hasten_flush()
        self._timer = broker.timers.schedule(broker.clock.monotonic_ms() + max_wait_ms, self._expire)

    def wake(self) -> None:
        """Reads again; called while another request is being handled, which a fault here must not touch."""
        self._run_again(is_due=False)

    def _expire(self) -> None:
        self._run_again(is_due=True)

    def _run_again(self, *, is_due: bool) -> None:
        try:
            self._read.run()
        except Exception:
            log.exception("a parked fetch failed")
            self._leave()
            self.wait.complete(FetchResponse(error_code=ErrorCode.UNKNOWN_SERVER_ERROR, responses=[]))
            return
        if is_due or self._read.is_satisfied:
            self._finish()

    def _finish(self) -> None:
        self._leave()
        self.wait.complete(self._read.response())

    def _leave(self) -> None:
        self._timer.cancel()
        for partition in self._partitions:
            partition.fetch_waiters.pop(self, None)


def _refuse_partition(index: int, code: ErrorCode) -> PartitionData:
    return PartitionData(
        partition_index=index,
        error_code=code,
        high_watermark=-1,
        last_stable_offset=-1,
        log_start_offset=-1,
        aborted_transactions=None,
        records=b"",
    )


def refuse(request: FetchRequest, code: ErrorCode, message: str | None) -> FetchResponse:
    """``code`` at the top (v7 and later) and, outside of sessions, for every partition named."""
    if request.session_epoch > 0:
        return FetchResponse(error_code=code, responses=[])
    return FetchResponse(
        error_code=code,
        responses=[
            FetchableTopicResponse(
                topic=topic.topic,
                topic_id=topic.topic_id,
                partitions=[_refuse_partition(asked.partition, code) for asked in topic.partitions],
            )
            for topic in request.topics
        ],
    )
