"""TxnOffsetCommit: offsets of a group that count only when a transaction is committed (KIP-98).

v1 throttling, v2 leader epochs (KIP-320), v3 flexible, member and generation are checked (KIP-447), v4
TRANSACTION_ABORTABLE, v5 the group's partition is added to the transaction by the way (KIP-890); older
clients must have added it by AddOffsetsToTxn, which is verified.
"""

import logging
from typing import TYPE_CHECKING

from odradek.broker.offset_commit import existing_topics
from odradek.broker.partitions import OFFSETS_TOPIC
from odradek.broker.requests import RequestContext, Wait
from odradek.broker.transactions import Outcomes, Told
from odradek.coordinator.hashing import partition_for
from odradek.coordinator.step import Producer, coordinator_error
from odradek.coordinator.transactions.transaction import TopicPartitionKey
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.protocol.generated.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

log = logging.getLogger("odradek.transactions")

_LOADING_FROM = 2
_ABORTABLE_FROM = 4
_ADDS_PARTITIONS_FROM = 5
_BY_NAME = 9
"""A version of OffsetCommit that names topics, as this request does."""


def handle(
    broker: "Broker", request: TxnOffsetCommitRequest, context: RequestContext
) -> TxnOffsetCommitResponse | Wait:
    commit = _as_commit(request)
    response = OffsetCommitResponse(topics=[])
    topics = existing_topics(broker, commit, _BY_NAME, response)
    if not topics:
        return _answer(response, context.api_version)
    wait = Wait()
    _Commit(broker, request, commit, topics, response, context.api_version, wait).start()
    return wait


class _Commit:
    """One request on its way: first to the transaction coordinator, then to the group; or to both at once, if
    the coordinator lets it, and then it is answered when what both wrote is durable."""

    def __init__(
        self,
        broker: "Broker",
        request: TxnOffsetCommitRequest,
        commit: OffsetCommitRequest,
        topics: list[OffsetCommitRequestTopic],
        response: OffsetCommitResponse,
        version: int,
        wait: Wait,
    ) -> None:
        self._broker = broker
        self._request = request
        self._producer = Producer(request.producer_id, request.producer_epoch)
        self._commit = commit
        self._topics = topics
        self._response = response
        self._version = version
        self._wait = wait
        self._is_vouched_for = False
        """The coordinator has the group's partition in the transaction, on disk."""
        self._is_written = False
        self._written: OffsetCommitResponse | None = None
        """What is to be answered, once the offsets are durable."""

    def start(self) -> None:
        broker, request = self._broker, self._request
        if not request.group_id:
            self._refuse(ErrorCode.INVALID_GROUP_ID)
            return
        index = partition_for(request.group_id, broker.groups.partition_count)
        partition = broker.topics.partition(OFFSETS_TOPIC, index)
        if partition is None:
            self._refuse(ErrorCode.NOT_COORDINATOR)
            return
        is_added = self._version >= _ADDS_PARTITIONS_FROM
        try:
            is_open = broker.transactions.is_open(partition, self._producer)
        except ApiError as error:
            self._refuse(coordinator_error(error.code))
            return
        if is_open or not (is_added or broker.config.transaction_partition_verification_enable):
            self._vouched_for()
            return
        name: TopicPartitionKey = (OFFSETS_TOPIC, index)

        def told(outcomes: Outcomes) -> None:
            code = outcomes[name]
            if code:
                self._refuse(_told_to_producer(code, self._version))
            else:
                self._vouched_for()

        broker.transactions.add_or_verify(
            request.transactional_id,
            self._producer,
            [name],
            is_added=is_added,
            then=told,
            in_force=self._write,
        )

    def _vouched_for(self) -> None:
        self._is_vouched_for = True
        if self._is_written:
            self._go_on()
        else:
            self._write()

    def _write(self) -> None:
        self._is_written = True

        def told(response: OffsetCommitResponse) -> None:
            self._written = response
            self._go_on()

        try:
            runner = self._broker.groups.runner(self._request.group_id)
            step = runner.shard.commit_transactional_offsets(
                self._commit, self._topics, self._producer, self._response, Told(told), runner.now()
            )
            runner.perform(step)
        except ApiError as error:
            self._refuse(error.code)
        except Exception:
            log.exception("offsets could not be committed in a transaction: %.2000r", self._request)
            self._wait.complete(ApiError(ErrorCode.UNKNOWN_SERVER_ERROR))

    def _go_on(self) -> None:
        if self._is_vouched_for and self._written is not None:
            self._wait.complete(_answer(self._written, self._version))

    def _refuse(self, code: ErrorCode) -> None:
        answer = _answer(self._response, self._version)
        if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS and self._version < _LOADING_FROM:
            code = ErrorCode.COORDINATOR_NOT_AVAILABLE
        known = {topic.name: topic for topic in answer.topics}
        for topic in self._topics:
            told = known.get(topic.name)
            if told is None:
                told = TxnOffsetCommitResponseTopic(name=topic.name, partitions=[])
                answer.topics.append(told)
            results = {result.partition_index: result for result in told.partitions}
            for one in topic.partitions:
                result = results.get(one.partition_index)
                if result is None:
                    result = TxnOffsetCommitResponsePartition(partition_index=one.partition_index)
                    told.partitions.append(result)
                result.error_code = result.error_code or code
        self._wait.complete(answer)


def _as_commit(request: TxnOffsetCommitRequest) -> OffsetCommitRequest:
    """The same as an OffsetCommit, for all that the two have in common."""
    return OffsetCommitRequest(
        group_id=request.group_id,
        generation_id_or_member_epoch=request.generation_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        topics=[
            OffsetCommitRequestTopic(
                name=topic.name,
                partitions=[
                    OffsetCommitRequestPartition(
                        partition_index=partition.partition_index,
                        committed_offset=partition.committed_offset,
                        committed_leader_epoch=partition.committed_leader_epoch,
                        committed_metadata=partition.committed_metadata,
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


def _answer(response: OffsetCommitResponse, version: int) -> TxnOffsetCommitResponse:
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    TxnOffsetCommitResponsePartition(
                        partition_index=partition.partition_index, error_code=partition.error_code
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in response.topics
        ]
    )


def _told_to_producer(code: ErrorCode, version: int) -> ErrorCode:
    if code is ErrorCode.PRODUCER_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    if code is ErrorCode.TRANSACTION_ABORTABLE and version < _ABORTABLE_FROM:
        return ErrorCode.INVALID_TXN_STATE
    return code


def refuse(request: TxnOffsetCommitRequest, code: ErrorCode, message: str | None) -> TxnOffsetCommitResponse:
    """``code`` for every partition."""
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    TxnOffsetCommitResponsePartition(
                        partition_index=partition.partition_index, error_code=code
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
