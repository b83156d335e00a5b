"""Producers of a simulation: idempotent, up to five batches in flight, sending again whatever is in doubt."""

from collections import deque
from typing import TYPE_CHECKING, Any

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.init_producer_id import InitProducerIdRequest
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.testing.simulation.client import Client, TopicInfo
from odradek.testing.simulation.history import Entry, value_of
from odradek.testing.simulation.loop import Future
from odradek.testing.simulation.network import Disconnected

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation

IN_FLIGHT = 5
_MAY_BE_WRITTEN = frozenset(
    {
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,  # while it is recovered nobody looks whether it is there already
    }
)
"""Refusals of a batch that may be in the log all the same, so that the next one may be accepted."""


class _Batch:
    __slots__ = ("answer", "entries", "records", "sequence")

    def __init__(self, sequence: int, entries: list[Entry], records: list[Record]) -> None:
        self.sequence = sequence
        self.entries = entries
        self.records = records
        self.answer: Future[Any] | None = None


class Producer(Client):
    """Writes to one partition after the other, and begins as a new producer when it must."""

    def __init__(self, world: "Simulation", name: str, acks: int) -> None:
        super().__init__(world, name)
        self._acks = acks
        self._producer_id = -1
        self._epoch = -1
        self._incarnation = 0
        self._sequences: dict[tuple[bytes, int], int] = {}
        self._window: deque[_Batch] = deque()

    async def run(self) -> None:
        while not self.world.is_ending:
            topic = self.some_topic()
            if topic is None:
                await self.back_off()
                continue
            if self._producer_id < 0:
                await self._begin()
            await self._stream(topic, self.rng.randrange(topic.partitions), self.rng.randint(1, 30))
            await self.loop.sleep(self.rng.random() * 300)

    async def _begin(self) -> None:
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
        response = await self.granted((request, 4))
        self._incarnation += 1
        self._producer_id, self._epoch = response.producer_id, response.producer_epoch
        if self._producer_id in self.world.producer_ids:
            self.history.problem(f"producer id {self._producer_id} is given twice")
        self.world.producer_ids[self._producer_id] = None
        self._sequences.clear()

    async def _stream(self, topic: TopicInfo, partition: int, count: int) -> None:
        window = self._window
        window.clear()
        while (count or window) and topic.is_alive and self._producer_id >= 0:
            while count and len(window) < IN_FLIGHT and not self.world.is_ending:
                window.append(self._new_batch(topic, partition))
                count -= 1
            if not window:
                return
            connection = await self.connection()
            for batch in window:
                batch.answer = connection.send(self._request(topic, partition, batch), 13)
                if self.rng.random() < 0.3:
                    await self.loop.sleep(self.rng.random() * 2)
            if not await self._collect(topic, partition):
                await self.back_off()

    def _new_batch(self, topic: TopicInfo, partition: int) -> _Batch:
        key = (topic.topic_id, partition)
        first = self._sequences.get(key, 0)
        name = f"{self.name}.{self._incarnation}"
        now_ms = self.loop.now_ms()
        count = self.rng.randint(1, 4)
        size = self.rng.choice((12, 40, 400))
        entries = [Entry(name, first + number, now_ms) for number in range(count)]
        records = [Record(0, now_ms, None, value_of(name, entry.sequence, size)) for entry in entries]
        self._sequences[key] = first + count
        return _Batch(first, entries, records)

    def _request(self, topic: TopicInfo, partition: int, batch: _Batch) -> ProduceRequest:
        # Built anew each time: the broker patches the bytes that it is given.
        data = build_batch(
            batch.records,
            producer_id=self._producer_id,
            producer_epoch=self._epoch,
            base_sequence=batch.sequence,
        )
        partitions = [PartitionProduceData(index=partition, records=memoryview(data))]
        topics = [TopicProduceData(topic_id=topic.topic_id, partition_data=partitions)]
        return ProduceRequest(acks=self._acks, timeout_ms=2_000, topic_data=topics)

    async def _collect(self, topic: TopicInfo, partition: int) -> bool:
        """Take in what the window was answered; whether all of it is settled."""
        refused: int | None = None
        for batch in list(self._window):
            assert batch.answer is not None
            try:
                answer = (await batch.answer).responses[0].partition_responses[0]
            except Disconnected:
                return False
            code = answer.error_code
            if code == 0:
                if refused is not None and refused not in _MAY_BE_WRITTEN and topic.is_alive:
                    self.history.problem(
                        f"{batch.entries[0]} of {topic.name}-{partition} was accepted, though what came "
                        f"before it was refused with {ErrorCode(refused).name}"
                    )
                self._settled(topic, partition, batch, answer.base_offset)
                continue
            self.note(f"{topic.name}-{partition} {batch.entries[0]} refused: {ErrorCode(code).name}")
            is_first = refused is None
            refused = code if refused is None else refused
            if self.is_retriable(code) or (code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER and not is_first):
                continue
            if code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER and self._may_be_forgotten(topic):
                self._producer_id = -1
            else:
                self.unexpected(topic, f"{batch.entries[0]} at partition {partition}", code)
            self._window.clear()
            return False
        return refused is None

    def _may_be_forgotten(self, topic: TopicInfo) -> bool:
        """Whether a power cut may have taken records that were acknowledged to this producer."""
        return self.history.power_cuts > 0 and (self._acks == 1 or not topic.is_strict)

    def _settled(self, topic: TopicInfo, partition: int, batch: _Batch, base_offset: int) -> None:
        self.note(f"{topic.name}-{partition} {batch.entries[0]} +{len(batch.entries)} at {base_offset}")
        if batch in self._window:
            self._window.remove(batch)
        if self._acks == -1:
            for number, entry in enumerate(batch.entries):
                self.history.record_acknowledged((topic.topic_id, partition), base_offset + number, entry)
