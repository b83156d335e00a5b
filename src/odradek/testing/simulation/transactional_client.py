"""What those share who write in transactions in a simulation: one transactional id, as clients of either
version of transactions use it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.add_offsets_to_txn import AddOffsetsToTxnRequest
from odradek.protocol.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
)
from odradek.protocol.generated.end_txn import EndTxnRequest
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.protocol.generated.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.testing.simulation.client import Client
from odradek.testing.simulation.network import Disconnected

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation

TIMEOUT_MS = 2_000
TRIES = 5
GIVES_UP = 0.4
"""How often one is not there any more to ask again for an end whose answer is lost."""


class TransactionalClient(Client):
    """One who uses ``transactional_id``. No call raises; what could not be done is told by its error code, or
    by False, and then :meth:`begin` is all that may follow."""

    def __init__(self, world: "Simulation", name: str, transactional_id: str) -> None:
        super().__init__(world, name)
        self._transactional_id = transactional_id
        self._producer_id = self._epoch = -1
        self._sequences: dict[tuple[str, int], int] = {}
        self.is_version_2 = self.rng.random() < 0.6

    async def _settled(
        self, request: Any, version: int, code_of: Callable[[Any], int], gives_up: float = 0
    ) -> int:
        """The error code that a request is answered with in the end, retrying what may be retried; with a
        probability of ``gives_up`` NETWORK_EXCEPTION when the connection is lost."""
        while True:
            try:
                code = code_of(await self.call(request, version))
            except Disconnected:
                if gives_up and self.rng.random() < gives_up:
                    return ErrorCode.NETWORK_EXCEPTION
                continue
            if code == 0 or not (self.is_retriable(code) or code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION):
                return code
            await self.back_off()

    @property
    def must_begin(self) -> bool:
        return self._producer_id < 0

    def give_up(self) -> None:
        """Leaves whatever is open to the next :meth:`begin`, or to its timeout."""
        self._producer_id = -1

    async def begin(self) -> None:
        """As a client that starts: what is open is aborted, who used the id before is fenced."""
        find = FindCoordinatorRequest(key_type=1, coordinator_keys=[self._transactional_id])
        request = InitProducerIdRequest(
            transactional_id=self._transactional_id, transaction_timeout_ms=TIMEOUT_MS
        )
        answer = await self.granted((find, 4), (request, 4))
        self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch
        self._sequences.clear()

    def may_change_version(self) -> None:
        """Sometimes it becomes a client of the other version, as after an upgrade."""
        if self.rng.random() < 0.1:
            self.is_version_2 = not self.is_version_2

    async def add(self, topic: str, partitions: list[int]) -> bool:
        """Says what the transaction will write to; version 2 need not."""
        if self.is_version_2:
            return True
        add = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self._transactional_id,
            v3_and_below_producer_id=self._producer_id,
            v3_and_below_producer_epoch=self._epoch,
            v3_and_below_topics=[AddPartitionsToTxnTopic(name=topic, partitions=partitions)],
        )
        return await self._settled(add, 3, _first_code) == 0

    async def send(self, topic: str, partition: int, records: list[Record]) -> bool:
        """One batch with acks=all; whether it was acknowledged."""
        sequence = self._sequences.get((topic, partition), 0)
        for _ in range(TRIES):
            data = build_batch(
                records,
                producer_id=self._producer_id,
                producer_epoch=self._epoch,
                base_sequence=sequence,
                transactional=True,
            )
            written = PartitionProduceData(index=partition, records=memoryview(data))
            request = ProduceRequest(
                transactional_id=self._transactional_id,
                acks=-1,
                timeout_ms=TIMEOUT_MS,
                topic_data=[TopicProduceData(name=topic, partition_data=[written])],
            )
            try:
                answer = await self.call(request, 12 if self.is_version_2 else 11)
                code = answer.responses[0].partition_responses[0].error_code
            except Disconnected:
                continue
            if code == 0:
                self._sequences[topic, partition] = sequence + len(records)
                return True
            if not self.is_retriable(code):
                self.note(f"writes to {topic}-{partition}: {ErrorCode(code).name}")
                return False
            await self.back_off()
        return False

    async def commit_offsets(
        self, group: str, generation: int, member_id: str, topic: str, offsets: Mapping[int, int]
    ) -> int:
        """The group's offsets become part of the transaction; the error code."""
        if not self.is_version_2:
            add = AddOffsetsToTxnRequest(
                transactional_id=self._transactional_id,
                producer_id=self._producer_id,
                producer_epoch=self._epoch,
                group_id=group,
            )
            code = await self._settled(add, 3, lambda answer: int(answer.error_code))
            if code:
                return code
        partitions = [
            TxnOffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
            for partition, offset in offsets.items()
        ]
        commit = TxnOffsetCommitRequest(
            transactional_id=self._transactional_id,
            group_id=group,
            producer_id=self._producer_id,
            producer_epoch=self._epoch,
            generation_id=generation,
            member_id=member_id,
            topics=[TxnOffsetCommitRequestTopic(name=topic, partitions=partitions)],
        )
        return await self._settled(
            commit,
            5 if self.is_version_2 else 3,
            lambda answer: int(answer.topics[0].partitions[0].error_code),
        )

    async def end(self, *, is_commit: bool) -> int:
        """Commits or aborts; the error code. NETWORK_EXCEPTION: it may have ended so, or not."""
        request = EndTxnRequest(
            transactional_id=self._transactional_id,
            producer_id=self._producer_id,
            producer_epoch=self._epoch,
            committed=is_commit,
        )
        version = 5 if self.is_version_2 else 4
        code = await self._settled(request, version, self._take_end, GIVES_UP)
        if code:
            self.give_up()
        return code

    def _take_end(self, answer: Any) -> int:
        """The error code of an EndTxn; with version 5 comes who the producer is from now on."""
        if answer.error_code == 0 and self.is_version_2:
            self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch
            self._sequences.clear()
        return int(answer.error_code)


def _first_code(answer: Any) -> int:
    codes = [
        partition.partition_error_code
        for topic in answer.results_by_topic_v3_and_below
        for partition in topic.results_by_partition
    ]
    return next((code for code in codes if code and code != ErrorCode.OPERATION_NOT_ATTEMPTED), 0)
