"""Transactional producers of a simulation, and readers to whom only what was committed may ever be shown."""

from typing import TYPE_CHECKING

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic, PartitionData
from odradek.records.batch import iterate_batches
from odradek.records.control import read_marker
from odradek.records.record import Record, read_records
from odradek.testing.simulation.client import TopicInfo
from odradek.testing.simulation.consumer import LATEST, Consumer
from odradek.testing.simulation.history import Entry, parse_value, value_of
from odradek.testing.simulation.network import Disconnected
from odradek.testing.simulation.transactional_client import TransactionalClient

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation

NEVER, ASKED, COMMITTED = "never", "asked", "committed"
"""Whether a transaction may be visible: no commit was asked for, it was, it was acknowledged."""
Visible = list[tuple[int, Entry]]
"""What read_committed shows, by offset."""


class TransactionRecord:
    """What a transaction has written: records by partition."""

    __slots__ = ("counts", "outcome")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.outcome = NEVER


class TransactionalProducer(TransactionalClient):
    """One transaction after the other over the partitions of one topic."""

    def __init__(self, world: "Simulation", name: str, topic: TopicInfo) -> None:
        super().__init__(world, name, name)
        self._topic = topic
        self._number = 0

    async def run(self) -> None:
        while not self.world.is_ending:
            if self.must_begin:
                await self.begin()
            await self._transaction()
            await self.loop.sleep(self.rng.random() * 300)
        await self.begin()  # ends what hangs

    async def _transaction(self) -> None:
        self._number += 1
        self.may_change_version()
        name = f"{self.name}.{self._number}"
        record = self.world.transactions[name] = TransactionRecord()
        every = range(self._topic.partitions)
        partitions = self.rng.sample(every, self.rng.randint(1, len(every)))
        is_whole = await self._write(name, record, partitions)
        if not is_whole and not (self.is_version_2 and self.rng.random() < 0.7):
            self.give_up()
            return
        is_commit = is_whole and self.rng.random() < 0.7
        record.outcome = ASKED if is_commit else NEVER
        code = await self.end(is_commit=is_commit)
        self.note(f"{name} {'commit' if is_commit else 'abort'}: {ErrorCode(code).name}")
        if is_commit and code == 0:
            record.outcome = COMMITTED
            self.history.count("transactions")

    async def _write(self, name: str, record: TransactionRecord, partitions: list[int]) -> bool:
        """Whether all of it was acknowledged."""
        if not await self.add(self._topic.name, partitions):
            return False
        for _ in range(self.rng.randint(1, 4)):
            partition = self.rng.choice(partitions)
            first, count = record.counts.get(partition, 0), self.rng.randint(1, 3)
            now_ms = self.loop.now_ms()
            values = [value_of(name, first + number, 30) for number in range(count)]
            if not await self.send(
                self._topic.name, partition, [Record(0, now_ms, None, value) for value in values]
            ):
                return False
            record.counts[partition] = first + count
            if self.rng.random() < 0.2:
                await self.loop.sleep(self.rng.random() * 500)
        return True


class CommittedReader(Consumer):
    """Reads partitions of a topic with read_committed, as clients do, over and over."""

    def __init__(self, world: "Simulation", name: str, topic: TopicInfo) -> None:
        super().__init__(world, name)
        self._topic = topic

    async def run(self) -> None:
        while not self.world.is_ending:
            await self.read(self.rng.randrange(self._topic.partitions))
            await self.loop.sleep(self.rng.random() * 500)

    async def read(self, partition: int) -> tuple[int, Visible]:
        """(where it ended, what is visible) from the start to the last stable offset, or to where the broker
        could not be asked any more."""
        position, visible = 0, Visible()
        while True:
            found = await self.fetch(partition, position)
            if found is None and self.world.is_ending:
                await self.back_off()
                continue
            if found is None or found[0] == position:
                return position, visible
            position = found[0]
            visible += found[1]

    async def fetch(self, partition: int, position: int) -> tuple[int, Visible] | None:
        """(where to go on, what is visible) behind ``position``; None when the broker could not be asked."""
        wanted = FetchPartition(partition=partition, fetch_offset=position, partition_max_bytes=3_000)
        request = FetchRequest(
            max_wait_ms=0,
            isolation_level=1,
            topics=[FetchTopic(topic_id=self._topic.topic_id, partitions=[wanted])],
        )
        try:
            data = (await self.call(request, 13)).responses[0].partitions[0]
        except Disconnected:
            return None
        if data.error_code:
            await self.back_off()
            return None
        return self._take_committed(partition, position, data)

    def _take_committed(self, partition: int, position: int, data: PartitionData) -> tuple[int, Visible]:
        coming = sorted((entry.first_offset, entry.producer_id) for entry in data.aborted_transactions or ())
        aborted: dict[int, None] = {}
        visible: Visible = []
        view = memoryview(data.records or b"")
        next_offset = position
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
                        visible.append((record.offset, entry))
                        self._check(entry)
                        key = self._topic.topic_id, partition
                        self.history.record_read(key, record.offset, entry)
            next_offset = header.last_offset + 1
        return next_offset, visible

    def _check(self, entry: Entry) -> None:
        if self.world.transactions[entry.producer].outcome == NEVER:
            self.history.problem(f"{entry} is shown, and was never committed")

    async def read_to_the_end(self, partition: int) -> Visible:
        """In the end: all that is visible, once no transaction is open any more."""
        end = None
        while end is None:
            try:
                end = await self.offset_of(self._topic, partition, LATEST)
            except Disconnected:
                await self.back_off()
        position, visible = await self.read(partition)
        while position < end:
            await self.back_off()
            position, visible = await self.read(partition)
        return visible

    async def check(self) -> None:
        """In the end: transactions are there as a whole or not at all, and those acknowledged are."""
        counts: dict[str, dict[int, int]] = {}
        for partition in range(self._topic.partitions):
            visible = await self.read_to_the_end(partition)
            self.history.check_order((self._topic.topic_id, partition), visible)
            for _, entry in visible:
                in_partitions = counts.setdefault(entry.producer, {})
                in_partitions[partition] = in_partitions.get(partition, 0) + 1
        for name, record in self.world.transactions.items():
            found = counts.get(name, {})
            if found != record.counts and (found or record.outcome == COMMITTED):
                self.history.problem(
                    f"transaction {name} ({record.outcome}) wrote {record.counts}, {found} is visible"
                )
