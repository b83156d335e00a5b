"""Consumers of a simulation: each reads partitions from some place on and hands on what it has seen."""

from typing import Any

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.protocol.generated.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from odradek.records.batch import CRC_START, iterate_batches
from odradek.records.crc import crc32c
from odradek.records.record import read_records
from odradek.testing.simulation.client import Client, TopicInfo
from odradek.testing.simulation.history import Entry, parse_value
from odradek.testing.simulation.network import Disconnected

EARLIEST, LATEST = -2, -1


class Consumer(Client):
    """Reads one partition after the other."""

    async def run(self) -> None:
        while not self.world.is_ending:
            topic = self.some_topic()
            if topic is None:
                await self.back_off()
                continue
            partition = self.rng.randrange(topic.partitions)
            position = 0
            for _ in range(self.rng.randint(1, 20)):
                if not topic.is_alive or self.world.is_ending:
                    break
                position, _ = await self.poll(topic, partition, position)
                await self.loop.sleep(self.rng.random() * 100)

    async def poll(
        self, topic: TopicInfo, partition: int, position: int, max_wait_ms: int | None = None
    ) -> tuple[int, list[tuple[int, Entry]] | None]:
        """(where to go on, what was found); None when the broker could not be asked."""
        if max_wait_ms is None:
            max_wait_ms = self.rng.choice((0, 50, 500))
        size = self.rng.choice((1, 500, 5_000, 1 << 20))
        wanted = FetchPartition(partition=partition, fetch_offset=position, partition_max_bytes=size)
        request = FetchRequest(
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            max_bytes=self.rng.choice((1_000, 1 << 20)),
            isolation_level=self.rng.randrange(2),
            topics=[FetchTopic(topic_id=topic.topic_id, partitions=[wanted])],
        )
        try:
            response = await self.call(request, 13)
            data = response.responses[0].partitions[0]
            if data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
                return await self._find_position(topic, partition, position), None
        except Disconnected:
            return position, None
        if data.error_code:
            if not self.is_retriable(data.error_code):
                self.unexpected(topic, f"a fetch from {position} of {partition}", data.error_code)
            await self.back_off()
            return position, None
        return self._take(topic, partition, position, data.records or b"")

    def _take(
        self, topic: TopicInfo, partition: int, position: int, records: Any
    ) -> tuple[int, list[tuple[int, Entry]]]:
        view = memoryview(records)
        found: list[tuple[int, Entry]] = []
        where = f"{topic.name}-{partition}"
        next_offset = position
        for start, header in iterate_batches(view):
            batch = view[start : start + header.size]
            if crc32c(batch[CRC_START:]) != header.crc:
                self.history.problem(f"{where}: damaged bytes are served at offset {header.base_offset}")
                return next_offset, found
            is_first = next_offset == position
            if header.base_offset > next_offset or (header.base_offset < next_offset and not is_first):
                self.history.problem(
                    f"{where}: a fetch from {position} gives {header.base_offset} after {next_offset}"
                )
            for record in read_records(batch):
                if record.offset >= position and not header.is_control:
                    entry = parse_value(bytes(record.value or b""), record.timestamp)
                    found.append((record.offset, entry))
                    self.history.record_read((topic.topic_id, partition), record.offset, entry)
            next_offset = header.last_offset + 1
        if found:
            self.note(f"{where} read {found[0][0]}..{found[-1][0]}")
        return next_offset, found

    async def _find_position(self, topic: TopicInfo, partition: int, position: int) -> int:
        """After OFFSET_OUT_OF_RANGE: where to go on, which must have a reason. May raise Disconnected."""
        start = await self.offset_of(topic, partition, EARLIEST)
        end = await self.offset_of(topic, partition, LATEST)
        if start is None or end is None or not topic.is_alive:
            return position
        if position < start:
            self.history.read_from((topic.topic_id, partition), position, start, self.loop.now_ms())
            return start
        if position > end and (topic.is_strict or not self.history.power_cuts):
            self.history.problem(
                f"{topic.name}-{partition}: {self.name} has read up to {position}, the log ends at {end}"
            )
        return min(position, end)

    async def offset_of(self, topic: TopicInfo, partition: int, timestamp: int) -> int | None:
        """Where the log begins or ends; None when the broker does not say. May raise Disconnected."""
        wanted = ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
        request = ListOffsetsRequest(
            replica_id=-1, topics=[ListOffsetsTopic(name=topic.name, partitions=[wanted])]
        )
        answer = (await self.call(request, 7)).topics[0].partitions[0]
        if answer.error_code:
            await self.back_off()
            return None
        offset: int = answer.offset
        return offset
