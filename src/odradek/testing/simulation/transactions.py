"""Transactional producers of a simulation, and readers to whom only what was committed may ever be shown."""

from typing import TYPE_CHECKING, Any

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
)
from odradek.protocol.generated.end_txn import EndTxnRequest
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic, PartitionData
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.records.batch import iterate_batches
from odradek.records.builder import build_batch
from odradek.records.control import read_marker
from odradek.records.record import Record, read_records
from odradek.testing.simulation.client import Client, TopicInfo
from odradek.testing.simulation.consumer import EARLIEST, LATEST, Consumer
from odradek.testing.simulation.history import Entry, parse_value, value_of
from odradek.testing.simulation.network import Disconnected

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation

TIMEOUT_MS = 2_000
TRIES = 5
NEVER, ASKED, COMMITTED = "never", "asked", "committed"
"""Whether a transaction may be visible: no commit was asked for, it was, it was acknowledged."""


class TransactionRecord:
    """What a transaction has written: records by partition."""

    __slots__ = ("counts", "outcome")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.outcome = NEVER


class TransactionalProducer(Client):
    """One transaction after the other over the partitions of one topic, as clients of either version of
    transactions do it; sometimes one becomes a client of the other version, as after an upgrade."""

    def __init__(self, world: "Simulation", name: str, topic: TopicInfo) -> None:
        super().__init__(world, name)
        self._topic = topic
        self._producer_id = self._epoch = -1
        self._sequences: dict[int, int] = {}
        self._number = 0
        self._is_version_2 = self.rng.random() < 0.6

    async def run(self) -> None:
        while not self.world.is_ending:
            if self._producer_id < 0:
                await self._begin()
            await self._transaction()
            await self.loop.sleep(self.rng.random() * 300)
        await self._begin()  # ends what hangs

    async def _settled(self, request: Any, version: int, code_of: Any) -> int:
        """The error code that a request is answered with in the end, retrying what may be retried."""
        while True:
            try:
                code: int = code_of(await self.call(request, version))
            except Disconnected:
                continue
            if code == 0 or not (self.is_retriable(code) or code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION):
                return code
            await self.back_off()

    async def _begin(self) -> None:
        find = FindCoordinatorRequest(key_type=1, coordinator_keys=[self.name])
        request = InitProducerIdRequest(transactional_id=self.name, transaction_timeout_ms=TIMEOUT_MS)
        while True:
            try:
                await self.call(find, 4)
                answer = await self.call(request, 4)
                if answer.error_code == 0:
                    break
            except Disconnected:
                pass
            await self.back_off()
        self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch
        self._sequences.clear()

    async def _transaction(self) -> None:
        self._number += 1
        if self.rng.random() < 0.1:
            self._is_version_2 = not self._is_version_2
        name = f"{self.name}.{self._number}"
        record = self.world.transactions[name] = TransactionRecord()
        every = range(self._topic.partitions)
        partitions = self.rng.sample(every, self.rng.randint(1, len(every)))
        is_whole = await self._write(name, record, partitions)
        if not is_whole and not (self._is_version_2 and self.rng.random() < 0.7):
            self._producer_id = -1
            return
        is_commit = is_whole and self.rng.random() < 0.7
        record.outcome = ASKED if is_commit else NEVER
        request = EndTxnRequest(
            transactional_id=self.name,
            producer_id=self._producer_id,
            producer_epoch=self._epoch,
            committed=is_commit,
        )
        code = await self._settled(request, 5 if self._is_version_2 else 4, self._take_end)
        self.note(f"{name} {'commit' if is_commit else 'abort'}: {ErrorCode(code).name}")
        if code:
            self._producer_id = -1
        elif is_commit:
            record.outcome = COMMITTED
            self.history.count("transactions")

    def _take_end(self, answer: Any) -> int:
        """The error code of an EndTxn; with version 5 comes who the producer is from now on."""
        if answer.error_code == 0 and self._is_version_2:
            self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch
            self._sequences.clear()
        return int(answer.error_code)

    async def _write(self, name: str, record: TransactionRecord, partitions: list[int]) -> bool:
        """Whether all of it was acknowledged."""
        if not self._is_version_2 and not await self._add(partitions):
            return False
        for _ in range(self.rng.randint(1, 4)):
            partition = self.rng.choice(partitions)
            if not await self._produce(name, record, partition):
                return False
            if self.rng.random() < 0.2:
                await self.loop.sleep(self.rng.random() * 500)
        return True

    async def _add(self, partitions: list[int]) -> bool:
        add = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.name,
            v3_and_below_producer_id=self._producer_id,
            v3_and_below_producer_epoch=self._epoch,
            v3_and_below_topics=[AddPartitionsToTxnTopic(name=self._topic.name, partitions=partitions)],
        )
        return await self._settled(add, 3, _first_code) == 0

    async def _produce(self, name: str, record: TransactionRecord, partition: int) -> bool:
        first, count = record.counts.get(partition, 0), self.rng.randint(1, 3)
        now_ms = self.loop.now_ms()
        records = [Record(0, now_ms, None, value_of(name, first + number, 30)) for number in range(count)]
        sequence = self._sequences.get(partition, 0)
        for _ in range(TRIES):
            data = build_batch(
                records,
                producer_id=self._producer_id,
                producer_epoch=self._epoch,
                base_sequence=sequence,
                transactional=True,
            )
            topics = [
                TopicProduceData(
                    name=self._topic.name,
                    partition_data=[PartitionProduceData(index=partition, records=memoryview(data))],
                )
            ]
            request = ProduceRequest(
                transactional_id=self.name, acks=-1, timeout_ms=TIMEOUT_MS, topic_data=topics
            )
            try:
                answer = await self.call(request, 12 if self._is_version_2 else 11)
                code = answer.responses[0].partition_responses[0].error_code
            except Disconnected:
                continue
            if code == 0:
                self._sequences[partition] = sequence + count
                record.counts[partition] = first + count
                return True
            if not self.is_retriable(code):
                self.note(f"{name} at {partition}: {ErrorCode(code).name}")
                return False
            await self.back_off()
        return False


def _first_code(answer: Any) -> int:
    codes = [
        partition.partition_error_code
        for topic in answer.results_by_topic_v3_and_below
        for partition in topic.results_by_partition
    ]
    return next((code for code in codes if code and code != ErrorCode.OPERATION_NOT_ATTEMPTED), 0)


class CommittedReader(Consumer):
    """Reads partitions of the topic with read_committed, as clients do, over and over."""

    async def run(self) -> None:
        topic = self.world.transactional_topic
        assert topic is not None
        while not self.world.is_ending:
            partition = self.rng.randrange(topic.partitions)
            await self.read(topic, partition)
            await self.loop.sleep(self.rng.random() * 500)

    async def read(self, topic: TopicInfo, partition: int) -> tuple[int, list[Entry]]:
        """(where it ended, what is visible) from the start to the last stable offset."""
        position, visible, aborted = 0, list[Entry](), dict[int, None]()
        while True:
            wanted = FetchPartition(partition=partition, fetch_offset=position, partition_max_bytes=3_000)
            request = FetchRequest(
                max_wait_ms=0,
                isolation_level=1,
                topics=[FetchTopic(topic_id=topic.topic_id, partitions=[wanted])],
            )
            try:
                data = (await self.call(request, 13)).responses[0].partitions[0]
            except Disconnected:
                if self.world.is_ending:
                    continue
                return position, visible
            if data.error_code:
                await self.back_off()
                continue
            if not data.records:
                return position, visible
            position = self._take_committed(topic, partition, position, data, aborted, visible)

    def _take_committed(
        self,
        topic: TopicInfo,
        partition: int,
        position: int,
        data: PartitionData,
        aborted: dict[int, None],
        visible: list[Entry],
    ) -> int:
        coming = sorted((entry.first_offset, entry.producer_id) for entry in data.aborted_transactions or ())
        view = memoryview(data.records or b"")
        for start, header in iterate_batches(view):
            while coming and coming[0][0] <= header.last_offset:
                aborted[coming.pop(0)[1]] = None
            records = read_records(view[start : start + header.size])
            if header.is_control:
                marker = read_marker(records[0])
                if marker is not None and not marker.commit:
                    aborted.pop(header.producer_id, None)
            elif header.producer_id not in aborted:
                for record in records:
                    if record.offset >= position:
                        entry = parse_value(bytes(record.value or b""), record.timestamp)
                        visible.append(entry)
                        self._check(entry)
                        self.history.record_read((topic.topic_id, partition), record.offset, entry)
            position = header.last_offset + 1
        return position

    def _check(self, entry: Entry) -> None:
        if self.world.transactions[entry.producer].outcome == NEVER:
            self.history.problem(f"{entry} is shown, and was never committed")

    async def check(self) -> None:
        """In the end: transactions are there as a whole or not at all, and those acknowledged are."""
        topic = self.world.transactional_topic
        assert topic is not None
        counts: dict[str, dict[int, int]] = {}
        for partition in range(topic.partitions):
            end = None
            while end is None:
                try:
                    end = await self.offset_of(topic, partition, LATEST)
                    await self.offset_of(topic, partition, EARLIEST)
                except Disconnected:
                    await self.back_off()
            position, visible = await self.read(topic, partition)
            while position < end:
                await self.back_off()
                position, visible = await self.read(topic, partition)
            log = list(enumerate(visible))
            self.history.check_order((topic.topic_id, partition), log)
            for entry in visible:
                in_partitions = counts.setdefault(entry.producer, {})
                in_partitions[partition] = in_partitions.get(partition, 0) + 1
        for name, record in self.world.transactions.items():
            found = counts.get(name, {})
            if found != record.counts and (found or record.outcome == COMMITTED):
                self.history.problem(
                    f"transaction {name} ({record.outcome}) wrote {record.counts}, {found} is visible"
                )
