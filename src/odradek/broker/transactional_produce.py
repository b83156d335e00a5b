"""Produce with a transactional id: batches that become visible only when their transaction is committed.

The first batch for a partition in a transaction is answered when the coordinator has the partition in it, on
disk: else a crash could leave records that no marker ever ends. From Produce v12 on the partition is added by
the way (KIP-890), and the batch is appended right behind that, if the coordinator lets it: "Written ahead of
the disk" in docs/transactions.md. What comes from older clients must have been added by AddPartitionsToTxn,
which is verified. All further batches are appended at once, but never before an earlier request of the same
producer.

Source: ``ReplicaManager.handleProduceAppend``, ``AddPartitionsToTxnManager``.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from odradek.broker import produce
from odradek.broker.partitions import Partition
from odradek.broker.requests import Close, RequestContext, Wait
from odradek.broker.transactions import Outcomes
from odradek.coordinator.step import Producer
from odradek.coordinator.transactions.transaction import TopicPartitionKey
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from odradek.records.batch import HEADER, HEADER_SIZE, MAGIC, NO_PRODUCER_ID, BatchHeader
from odradek.storage.producers import Vouched

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

log = logging.getLogger("odradek.transactions")

ADDS_PARTITIONS_FROM = 12
ABORTABLE_FROM = 11
_UNVERIFIABLE = frozenset(
    {
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)
"""Errors of the coordinator's that a producer does not know; it tries again on NOT_ENOUGH_REPLICAS."""


def handle(
    broker: "Broker", request: ProduceRequest, context: RequestContext
) -> ProduceResponse | Wait | Close | None:
    batches = _Batches(broker, request, context.api_version)
    if batches.producer is None:
        return produce.answer(broker, request, *produce.append(broker, request, context))
    queues = broker.transactions.produce_queues
    producer_id = batches.producer.producer_id
    queue = queues.get(producer_id)
    if queue is None:
        if not batches.not_open():
            appended = produce.append(broker, request, context, Vouched.ONGOING)
            return produce.answer(broker, request, *appended)
        queue = queues[producer_id] = ProduceQueue(lambda: queues.pop(producer_id))
    waiting = _WaitingProduce(broker, request, context, batches, queue.go_on)
    queue.requests.append(waiting)
    queue.go_on()
    if not waiting.is_appended:
        # The receive buffer is used again before it is.
        for data in batches.data:
            if data.records is not None:
                data.records = memoryview(bytearray(data.records))
    return waiting.wait


class ProduceQueue:
    """Requests of one producer of which the first waits for the coordinator, in the order in which they
    came; ``is_empty`` is called when there are no more."""

    def __init__(self, is_empty: Callable[[], object]) -> None:
        self.requests: deque[_WaitingProduce] = deque()
        self._is_empty = is_empty
        self._is_running = False

    def go_on(self) -> None:
        """Appends the requests that have their answer from the coordinator, and asks for the next."""
        if self._is_running:
            return
        self._is_running = True
        requests = self.requests
        while requests and requests[0].is_decided():
            requests.popleft().finish()
        self._is_running = False
        if not requests:
            self._is_empty()


class _Batches:
    """What a request wants to write where.

    ``producer`` is whose transaction its batches belong to, ``None`` when none of them is transactional.
    Raises :class:`ApiError`: INVALID_PRODUCER_ID_MAPPING when they are of several producers.
    """

    def __init__(self, broker: "Broker", request: ProduceRequest, version: int) -> None:
        self._transactions = broker.transactions
        self.data: list[PartitionProduceData] = []
        self.partitions: dict[TopicPartitionKey, Partition] = {}
        producers: set[Producer] = set()
        topics = broker.topics
        for topic_data in request.topic_data:
            if version < produce.TOPIC_IDS_FROM_VERSION:
                topic = topics.by_name.get(topic_data.name)
            else:
                topic = topics.by_id.get(topic_data.topic_id)
            for data in topic_data.partition_data:
                self.data.append(data)
                header = _header(data.records)
                if header is None or not header.is_transactional or header.producer_id == NO_PRODUCER_ID:
                    continue
                producers.add(Producer(header.producer_id, header.producer_epoch))
                if topic is None or topic.is_internal:
                    continue
                partition = topic.partition(data.index)
                if partition is not None:
                    self.partitions[partition.topic.name, data.index] = partition
        if len(producers) > 1:
            raise ApiError(
                ErrorCode.INVALID_PRODUCER_ID_MAPPING, "one request has batches of several transactions"
            )
        self.producer = producers.pop() if producers else None

    def not_open(self) -> list[TopicPartitionKey]:
        """The partitions that do not know of the transaction yet, or do not tell."""
        return [name for name, partition in self.partitions.items() if not self._is_open(partition)]

    def _is_open(self, partition: Partition) -> bool:
        assert self.producer is not None
        try:
            return self._transactions.is_open(partition, self.producer)
        except ApiError:
            return False


class _WaitingProduce:
    """One request that waits for the coordinator; ``decided`` is called when that has answered.

    It is appended when the coordinator has the partitions on disk; or before, if the coordinator lets it, and
    then it is answered when both the records and what the coordinator wrote are durable.
    """

    def __init__(
        self,
        broker: "Broker",
        request: ProduceRequest,
        context: RequestContext,
        batches: _Batches,
        decided: Callable[[], None],
    ) -> None:
        self.wait = Wait()
        self._broker = broker
        self._request = request
        self._context = context
        self._batches = batches
        self._decided = decided
        self._is_asked = False
        self._refused: Outcomes = {}
        """What is not to be appended, and why."""
        self._outcomes: Outcomes | None = None
        self._answer: ProduceResponse | None = None
        """Once it is appended."""
        self._is_durable = False
        """As far as acks wants it."""

    @property
    def is_appended(self) -> bool:
        """Whether its batches are in their logs, as far as they are let in."""
        return self._answer is not None

    def is_decided(self) -> bool:
        """Whether it is known what may be appended; asks the coordinator the first time."""
        if not self._is_asked:
            self._is_asked = True
            self._ask()
        return self._outcomes is not None

    def _ask(self) -> None:
        broker, batches, version = self._broker, self._batches, self._context.api_version
        producer = batches.producer
        assert producer is not None
        asked = []
        for name in batches.not_open():
            try:
                known = batches.partitions[name].log.producers.by_id.get(producer.producer_id)
            except ApiError as error:
                self._refused[name] = error.code
                continue
            if known is not None and producer.epoch < known.epoch:
                self._refused[name] = ErrorCode.INVALID_PRODUCER_EPOCH
            else:
                asked.append(name)
        is_added = version >= ADDS_PARTITIONS_FROM
        if not asked or not (is_added or broker.config.transaction_partition_verification_enable):
            self._outcomes = {}
            return

        def told(outcomes: Outcomes) -> None:
            self._outcomes = outcomes
            self._decided()

        transactional_id = self._request.transactional_id
        assert transactional_id is not None
        broker.transactions.add_or_verify(
            transactional_id, producer, asked, is_added=is_added, then=told, in_force=self._append
        )

    def finish(self) -> None:
        """Appends what may be appended if that is not done yet, and answers as soon as it may."""
        assert self._outcomes is not None
        refused = {name: code for name, code in self._outcomes.items() if code}
        if self._answer is None:
            self._refused |= refused
            self._append()
        elif refused and not self.wait.is_complete:
            self._take_back(self._answer, refused)
        self._go_on()

    def _append(self) -> None:
        try:
            self._append_all()
        except Exception:
            log.exception("a transactional Produce failed: %.2000r", self._request)
            self._answer = ProduceResponse(responses=[])
            self.wait.complete(ApiError(ErrorCode.UNKNOWN_SERVER_ERROR))

    def _append_all(self) -> None:
        version = self._context.api_version
        responses = self._take_out(self._refused)
        vouched = Vouched.ADDED if version >= ADDS_PARTITIONS_FROM else Vouched.VERIFIED
        appended, uncommitted = produce.append(self._broker, self._request, self._context, vouched)
        self._answer = answer = ProduceResponse(responses=_merged(appended + responses))
        if uncommitted:
            timeout_ms = self._request.timeout_ms
            produce.Acknowledgement(self._broker, answer, uncommitted, timeout_ms, self._durable)
        else:
            self._is_durable = True

    def _durable(self, answer: ProduceResponse) -> None:
        self._is_durable = True
        self._go_on()

    def _go_on(self) -> None:
        if self._is_durable and self._outcomes is not None:
            self.wait.complete(None if self._request.acks == 0 else self._answer)

    def _take_back(self, answer: ProduceResponse, refused: Outcomes) -> None:
        """The coordinator could not make durable what it had let us write to: nobody may rely on that."""
        version = self._context.api_version
        by_id = self._broker.topics.by_id
        for topic in answer.responses:
            known = by_id.get(topic.topic_id) if version >= produce.TOPIC_IDS_FROM_VERSION else None
            name = known.name if known is not None else topic.name
            topic.partition_responses = [
                one
                if (code := refused.get((name, one.index))) is None or one.error_code
                else produce.refuse_partition(one.index, *_told_to_producer(code, version))
                for one in topic.partition_responses
            ]

    def _take_out(self, refused: Outcomes) -> list[TopicProduceResponse]:
        """Takes the refused partitions out of the request; their answers."""
        version = self._context.api_version
        by_id = self._broker.topics.by_id
        responses = []
        for topic_data in self._request.topic_data:
            topic = by_id.get(topic_data.topic_id) if version >= produce.TOPIC_IDS_FROM_VERSION else None
            name = topic.name if topic is not None else topic_data.name
            kept, answers = [], []
            for data in topic_data.partition_data:
                code = refused.get((name, data.index))
                if code is None:
                    kept.append(data)
                else:
                    answers.append(produce.refuse_partition(data.index, *_told_to_producer(code, version)))
            topic_data.partition_data = kept
            if answers:
                responses.append(
                    TopicProduceResponse(
                        name=topic_data.name, topic_id=topic_data.topic_id, partition_responses=answers
                    )
                )
        self._request.topic_data = [topic for topic in self._request.topic_data if topic.partition_data]
        return responses


def _header(records: memoryview | bytes | None) -> BatchHeader | None:
    if records is None or len(records) < HEADER_SIZE:
        return None
    header = BatchHeader._make(HEADER.unpack_from(records))
    return header if header.magic == MAGIC else None


def _told_to_producer(code: ErrorCode, version: int) -> tuple[ErrorCode, str | None]:
    """What a producer of this version understands of a refusal by the coordinator, and its message."""
    if code is ErrorCode.PRODUCER_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH, None
    if code is ErrorCode.TRANSACTION_ABORTABLE and version < ABORTABLE_FROM:
        code = ErrorCode.INVALID_TXN_STATE
    if code is ErrorCode.INVALID_TXN_STATE:
        return code, "Partition was not added to the transaction"
    is_busy = code is ErrorCode.CONCURRENT_TRANSACTIONS and version < ADDS_PARTITIONS_FROM
    if is_busy or code in _UNVERIFIABLE:
        reason = f"Unable to verify the partition has been added to the transaction: {code.name}"
        return ErrorCode.NOT_ENOUGH_REPLICAS, reason
    return code, None


def _merged(responses: list[TopicProduceResponse]) -> list[TopicProduceResponse]:
    """Each topic once."""
    merged: dict[tuple[str, bytes], TopicProduceResponse] = {}
    for response in responses:
        first = merged.setdefault((response.name, response.topic_id), response)
        if first is not response:
            first.partition_responses.extend(response.partition_responses)
    return list(merged.values())
