"""A transactional producer that talks to the harness, answer by answer."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.add_offsets_to_txn import AddOffsetsToTxnRequest
from odradek.protocol.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
)
from odradek.protocol.generated.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from odradek.protocol.generated.describe_transactions import DescribeTransactionsRequest, TransactionState
from odradek.protocol.generated.end_txn import EndTxnRequest
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest
from odradek.protocol.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.protocol.generated.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from odradek.records.batch import iterate_batches
from odradek.records.record import read_records

from .harness import Harness, Pending, batch

TOPIC = "t"


def producer_beside_a_group(folder: Path) -> "TransactionalProducer":
    """One that has begun, a topic of two partitions, and the coordinator of a group ``g``."""
    harness = Harness(folder, transaction_state_log_num_partitions="1", offsets_topic_num_partitions="1")
    create_topic(harness, 2)
    harness.call(FindCoordinatorRequest(coordinator_keys=["g"]), 6)
    producer = TransactionalProducer(harness)
    producer.init()
    return producer


class TransactionalProducer:
    """One producer; ``producer_id`` and ``epoch`` are what it was last told. Requests are flushed until they
    are answered, unless they are sent with ``send_…``."""

    def __init__(self, harness: Harness, transactional_id: str = "x", timeout_ms: int = 60_000) -> None:
        self.harness = harness
        self.transactional_id = transactional_id
        self.timeout_ms = timeout_ms
        self.producer_id = self.epoch = -1
        harness.call(FindCoordinatorRequest(coordinator_keys=[transactional_id], key_type=1), 6)

    def flush_all_but_states(self) -> None:
        """One flush, of which the disk refuses what is the transaction coordinator's."""
        broker = self.harness.broker
        states = broker.topics.partition("__transaction_state", 0)
        flush = broker.begin_flush()
        assert states is not None
        assert flush is not None
        assert flush.ticket is not None
        flush.run()
        for item in flush.ticket.items:
            if item.log is states.log:
                item.error = OSError(errno.EIO, "a test")
        broker.finish_flush(flush)

    def init(self, version: int = 5, **fields: Any) -> int:
        """InitProducerId → its error code."""
        request = InitProducerIdRequest(
            **{
                "transactional_id": self.transactional_id,
                "transaction_timeout_ms": self.timeout_ms,
                **fields,
            }
        )
        response = self.harness.call(request, version)
        self._believe(response)
        return int(response.error_code)

    def _believe(self, response: Any) -> None:
        if not response.error_code and response.producer_id >= 0:
            self.producer_id, self.epoch = response.producer_id, response.producer_epoch

    def add(self, *indexes: int, version: int = 3, **fields: Any) -> list[int]:
        """AddPartitionsToTxn → the error codes of the partitions."""
        response = self.harness.call(self.add_request(*indexes, **fields), version)
        (topic,) = response.results_by_topic_v3_and_below
        return [partition.partition_error_code for partition in topic.results_by_partition]

    def add_request(self, *indexes: int, **fields: Any) -> AddPartitionsToTxnRequest:
        return AddPartitionsToTxnRequest(
            **{
                "v3_and_below_transactional_id": self.transactional_id,
                "v3_and_below_producer_id": self.producer_id,
                "v3_and_below_producer_epoch": self.epoch,
                "v3_and_below_topics": [AddPartitionsToTxnTopic(name=TOPIC, partitions=list(indexes))],
                **fields,
            }
        )

    def produce_request(
        self, sequence: int, *values: bytes, partition: int = 0, acks: int = -1, **fields: Any
    ) -> ProduceRequest:
        transactional_id = fields.pop("transactional_id", self.transactional_id)
        settings = {
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "base_sequence": sequence,
            "transactional": True,
        }
        records = batch(*(values or (b"v",)), **{**settings, **fields})
        data = PartitionProduceData(index=partition, records=memoryview(bytearray(records)))
        return ProduceRequest(
            transactional_id=transactional_id,
            acks=acks,
            timeout_ms=1_000,
            topic_data=[TopicProduceData(name=TOPIC, partition_data=[data])],
        )

    def send_produce(self, sequence: int, *values: bytes, version: int = 12, **fields: Any) -> Pending:
        return self.harness.send(self.produce_request(sequence, *values, **fields), version)

    def produce(self, sequence: int, *values: bytes, version: int = 12, **fields: Any) -> tuple[int, int]:
        """Produce → error code and base offset."""
        return produced(self.harness.call(self.produce_request(sequence, *values, **fields), version))

    def end_request(self, committed: bool, **fields: Any) -> EndTxnRequest:
        return EndTxnRequest(
            **{
                "transactional_id": self.transactional_id,
                "producer_id": self.producer_id,
                "producer_epoch": self.epoch,
                "committed": committed,
                **fields,
            }
        )

    def end(self, committed: bool = True, version: int = 5, **fields: Any) -> int:
        """EndTxn, and its markers → its error code."""
        response = self.harness.call(self.end_request(committed, **fields), version)
        if version >= 5:
            self._believe(response)
        self.harness.flush()
        return int(response.error_code)

    def add_offsets(self, group_id: str = "g", version: int = 4, **fields: Any) -> int:
        request = AddOffsetsToTxnRequest(
            **{
                "transactional_id": self.transactional_id,
                "producer_id": self.producer_id,
                "producer_epoch": self.epoch,
                "group_id": group_id,
                **fields,
            }
        )
        return int(self.harness.call(request, version).error_code)

    def commit_offset(self, offset: int, version: int = 5, **fields: Any) -> int:
        """TxnOffsetCommit of partition 0 for group g → its error code."""
        return committed(self.harness.call(self.offset_request(offset, **fields), version))

    def send_offset(self, offset: int) -> Pending:
        return self.harness.send(self.offset_request(offset), 5)

    def offset_request(self, offset: int, **fields: Any) -> TxnOffsetCommitRequest:
        partition = TxnOffsetCommitRequestPartition(
            partition_index=fields.pop("partition", 0),
            committed_offset=offset,
            committed_leader_epoch=-1,
            committed_metadata="",
        )
        return TxnOffsetCommitRequest(
            **{
                "transactional_id": self.transactional_id,
                "group_id": "g",
                "producer_id": self.producer_id,
                "producer_epoch": self.epoch,
                "topics": [TxnOffsetCommitRequestTopic(name=TOPIC, partitions=[partition])],
                **fields,
            }
        )

    def describe(self) -> TransactionState:
        (state,) = self.harness.call(
            DescribeTransactionsRequest(transactional_ids=[self.transactional_id])
        ).transaction_states
        assert isinstance(state, TransactionState)
        return state

    @property
    def state(self) -> str:
        """What the coordinator has in memory, be it durable or not."""
        shard = self.harness.broker.transactions.runner(self.transactional_id).shard
        return shard.transactions[self.transactional_id].state.value


def produced(response: Any) -> tuple[int, int]:
    (topic,) = response.responses
    (partition,) = topic.partition_responses
    return partition.error_code, partition.base_offset


def committed(response: Any) -> int:
    (topic,) = response.topics
    (partition,) = topic.partitions
    return int(partition.error_code)


def create_topic(harness: Harness, partitions: int = 1, **configs: str) -> None:
    """The topic that all here write to; ``configs`` with underscores for dots."""
    entries = [
        CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()
    ]
    topic = CreatableTopic(name=TOPIC, num_partitions=partitions, replication_factor=1, configs=entries)
    harness.call(CreateTopicsRequest(topics=[topic], timeout_ms=1_000))


def fetch(harness: Harness, partition: int = 0, committed: bool = True, offset: int = 0) -> Any:
    """What one partition answers to a Fetch from its start, or from ``offset``."""
    request = FetchRequest(
        max_wait_ms=0,
        min_bytes=1,
        max_bytes=50_000_000,
        isolation_level=int(committed),
        session_epoch=-1,
        topics=[
            FetchTopic(
                topic=TOPIC,
                partitions=[
                    FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=50_000_000)
                ],
            )
        ],
    )
    return harness.call(request, 12).responses[0].partitions[0]


def read(harness: Harness, partition: int = 0) -> list[bytes]:
    """The values that a read_committed consumer makes of a partition, fetch by fetch as clients do."""
    values: list[bytes] = []
    offset = 0
    while True:
        data = fetch(harness, partition, offset=offset)
        if data.error_code:
            raise ApiError(ErrorCode(data.error_code))
        batches = list(iterate_batches(memoryview(bytes(data.records))))
        if not batches:
            return values
        values += _visible(memoryview(bytes(data.records)), data.aborted_transactions or ())
        offset = batches[-1][1].next_offset


def _visible(records: memoryview, aborted_transactions: Any) -> Iterator[bytes]:
    aborted = sorted((one.first_offset, one.producer_id) for one in aborted_transactions)
    skipped: set[int] = set()
    for position, header in iterate_batches(records):
        while aborted and aborted[0][0] <= header.last_offset:
            skipped.add(aborted.pop(0)[1])
        if header.is_control:
            skipped.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in skipped):
            for record in read_records(records[position : position + header.size]):
                yield bytes(record.value or b"")


def committed_offset(harness: Harness, *, stable: bool = False) -> tuple[int, int]:
    """Error code and offset that group g has for partition 0."""
    wanted = OffsetFetchRequestGroup(
        group_id="g", topics=[OffsetFetchRequestTopics(name=TOPIC, partition_indexes=[0])]
    )
    response = harness.call(OffsetFetchRequest(groups=[wanted], require_stable=stable), 9)
    partition = response.groups[0].topics[0].partitions[0]
    return partition.error_code, partition.committed_offset
