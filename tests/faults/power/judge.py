"""What a broker owes its clients at a moment of a trace, and whether one that opens what is left keeps it."""

import asyncio
import logging
from collections import Counter
from pathlib import Path

from odradek.app import Node, new_event_loop
from odradek.client.client import Client
from odradek.client.fetcher import Fetcher
from odradek.client.group_offsets import fetch_offsets
from odradek.client.offsets import EARLIEST, LATEST, Isolation, list_offsets
from odradek.client.producer import Producer
from odradek.client.transactions import init_producer
from odradek.core.config.broker import broker_config
from odradek.core.ids import TopicPartition
from odradek.records.record import Record
from odradek.storage.recovering import AT_ONCE_BYTES
from tests.faults.checker import Entry, value_of
from tests.faults.power.recorder import Told
from tests.faults.power.workload import (
    COMPACTED,
    COPIERS,
    EXACT,
    GROUP,
    PLAIN,
    SETTINGS,
    TRANSACTIONAL_ID,
    TXN_RECORDS,
)

TIMEOUT_S = 60.0
CLIENT_TIMEOUT_MS = 30_000
Problems = list[str]


class Promises:
    """Folds what was told; see ``workload.py`` for the words."""

    def __init__(self) -> None:
        self.known: dict[TopicPartition, dict[int, Entry]] = {}
        """Acknowledged or read."""
        self.keys: dict[bytes, dict[int, int]] = {}
        """Acknowledged to the compacted topic: key → offset → sequence."""
        self.topics: set[str] = set()
        self.deleted: set[str] = set()
        self.commits_asked: dict[tuple[str, int], int] = {}
        self.commits: dict[tuple[str, int], int] = {}
        self.trims_asked: dict[int, int] = {}
        self.trims: dict[int, int] = {}
        self.transactions: dict[int, str] = {}
        """Number → the last word about it."""

    def take(self, event: Told) -> None:
        match event.what, event.content:
            case (("acked" | "read"), (topic, partition, offset, producer, sequence)):
                entry = Entry(offset, producer, sequence)
                self.known.setdefault(TopicPartition(topic, partition), {}).setdefault(offset, entry)
            case "kept", (key, offset, sequence):
                self.keys.setdefault(key, {})[offset] = sequence
            case "commit-asked", (group, partition, offset):
                self.commits_asked[group, partition] = offset
            case "committed", (group, partition, offset):
                self.commits[group, partition] = offset
            case "trim-asked", (partition, offset):
                self.trims_asked[partition] = offset
            case "trimmed", (partition, offset):
                self.trims[partition] = offset
            case (("commit-txn" | "committed-txn" | "abort-txn"), (number,)):
                self.transactions[number] = event.what
            case "created", (topic,):
                self.topics.add(topic)
            case "delete-asked", (topic,):
                self.topics.discard(topic)
            case "deleted", (topic,):
                self.deleted.add(topic)
            case _:
                raise AssertionError(event)


def judge(folder: Path, promises: Promises, *, in_background: bool = False) -> Problems:
    """Open a broker on ``folder`` and hold what it has against the promises; what is wrong.

    ``in_background`` it recovers its logs while it is asked already.
    """
    problems: Problems = []
    watch = _ErrorWatch(problems)
    logging.getLogger("odradek").addHandler(watch)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_judge(folder, promises, problems, 0 if in_background else AT_ONCE_BYTES))
    except TimeoutError:
        problems.append(f"no end after {TIMEOUT_S} s")
    except Exception as error:
        problems.append(f"the broker cannot be used: {error!r}")
    finally:
        logging.getLogger("odradek").removeHandler(watch)
    return problems


class _ErrorWatch(logging.Handler):
    def __init__(self, problems: Problems) -> None:
        super().__init__(logging.ERROR)
        self._problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        self._problems.append(f"logged: {record.getMessage()}")


async def _judge(folder: Path, promises: Promises, problems: Problems, at_once_bytes: int) -> None:
    overrides = {
        "listeners": "PLAINTEXT://127.0.0.1:0",
        "log.dirs": folder,
        "offsets.topic.num.partitions": 1,
    }
    settings = {key: str(value).lower() for key, value in SETTINGS.items()}
    config = broker_config(settings | {key: str(value) for key, value in overrides.items()})
    async with asyncio.timeout(TIMEOUT_S):
        node = await Node.start(config, uses_processes=False, at_once_bytes=at_once_bytes)
        try:
            async with Client(node.bootstrap_servers, timeout_ms=CLIENT_TIMEOUT_MS) as client:
                await _Judge(client, promises, problems).everything()
            for log in node.server.broker.store.logs.values():
                if log.offline is not None and not log.is_recovering:
                    problems.append(f"offline: {log.offline}")
        finally:
            await node.kill()


class _Judge:
    def __init__(self, client: Client, promises: Promises, problems: Problems) -> None:
        self._client = client
        self._promises = promises
        self._problems = problems

    async def everything(self) -> None:
        there = set((await self._client.cluster()).topics)
        for topic in sorted(self._promises.topics - there):
            self._problems.append(f"topic {topic} is lost")
        for topic in sorted(self._promises.deleted & there):
            self._problems.append(f"topic {topic} was deleted and is there")
        if self._problems:
            return
        for partition in self._promises.known:
            if partition.topic in self._promises.topics & there:
                await self._plain(partition)
        if COMPACTED in there:
            await self._compacted()
        if EXACT in there:
            await self._transactions()
        await self._commits()
        if PLAIN in there:
            await self._goes_on()

    async def _plain(self, partition: TopicPartition) -> None:
        start, records = await self._records(partition)
        log = {record.offset: Entry.parse(record.offset, record.value or b"") for record in records}
        is_trimmed = partition.topic == PLAIN
        least = self._promises.trims.get(partition.partition, 0) if is_trimmed else 0
        most = self._promises.trims_asked.get(partition.partition, 0) if is_trimmed else 0
        if not least <= start <= most:
            self._problems.append(f"{partition} begins at {start}, not between {least} and {most}")
        for offset, entry in self._promises.known[partition].items():
            if offset >= start and log.get(offset) != entry:
                self._problems.append(f"{partition}: {entry} was told, {log.get(offset)} is there")
        self._ascend(partition, records, log)
        for (producer, sequence), count in Counter((e.producer, e.sequence) for e in log.values()).items():
            if count > 1:
                self._problems.append(f"{partition}: {producer}:{sequence} is there {count} times")

    def _ascend(self, partition: TopicPartition, records: list[Record], log: dict[int, Entry]) -> None:
        last: dict[str, int] = {}
        before = -1
        for record in records:
            entry = log[record.offset]
            if record.offset <= before or entry.sequence < last.get(entry.producer, -1):
                self._problems.append(f"{partition}: {entry} is out of order")
            before, last[entry.producer] = record.offset, entry.sequence

    async def _compacted(self) -> None:
        partition = TopicPartition(COMPACTED, 0)
        _, records = await self._records(partition)
        log = {record.offset: Entry.parse(record.offset, record.value or b"") for record in records}
        self._ascend(partition, records, log)
        newest = {record.key: record.offset for record in records}
        for key, known in self._promises.keys.items():
            for offset, sequence in known.items():
                found = log.get(offset)
                if found is None and newest.get(key, -1) <= offset:
                    self._problems.append(f"{partition}: {key!r} at {offset} is lost, none newer is there")
                elif found is not None and found.sequence != sequence:
                    self._problems.append(f"{partition}: {found} instead of {sequence} at {offset}")

    async def _transactions(self) -> None:
        if self._promises.transactions:
            # whatever was decided is carried out before this returns, what was open is aborted
            await init_producer(self._client, TRANSACTIONAL_ID, 60_000)
        counts = []
        for number in (0, 1):
            partition = TopicPartition(EXACT, number)
            _, records = await self._records(partition, Isolation.READ_COMMITTED)
            sequences = [Entry.parse(record.offset, record.value or b"").sequence for record in records]
            if sequences != sorted(set(sequences)):
                self._problems.append(f"{partition}: out of order or twice: {sequences}")
            counts.append(Counter(sequence // TXN_RECORDS for sequence in sequences))
        for transaction in {*counts[0], *counts[1]} | self._promises.transactions.keys():
            found = [count[transaction] for count in counts]
            word = self._promises.transactions.get(transaction)
            whole, nothing = found == [TXN_RECORDS] * 2, found == [0, 0]
            if not {"committed-txn": whole, "commit-txn": whole or nothing}.get(word or "", nothing):
                self._problems.append(f"transaction {transaction} ({word}): {found} records are there")

    async def _commits(self) -> None:
        for group in (GROUP, COPIERS):
            found = await fetch_offsets(self._client, group)
            for number in (0, 1):
                committed = found.get(TopicPartition(PLAIN, number))
                offset = committed.offset if committed is not None else 0
                least = self._promises.commits.get((group, number), 0)
                most = self._promises.commits_asked.get((group, number), 0)
                if not least <= offset <= most:
                    self._problems.append(
                        f"{group} is committed up to {offset} of partition {number}, not {least} to {most}"
                    )

    async def _goes_on(self) -> None:
        """It takes records, behind all others."""
        partition = TopicPartition(PLAIN, 0)
        before = (await list_offsets(self._client, {partition: LATEST}))[partition].offset
        producer = Producer(self._client, PLAIN)
        await producer.start()
        await producer.send(value_of("after", 0), partition=0)
        await producer.flush()
        after = (await list_offsets(self._client, {partition: LATEST}))[partition].offset
        if after != before + 1:
            self._problems.append(f"{partition} ended at {before}, and at {after} after one record more")

    async def _records(
        self, partition: TopicPartition, isolation: Isolation = Isolation.READ_UNCOMMITTED
    ) -> tuple[int, list[Record]]:
        """Log start, and all that is there."""
        start = (await list_offsets(self._client, {partition: EARLIEST}))[partition].offset
        end = (await list_offsets(self._client, {partition: LATEST}, isolation))[partition].offset
        fetcher = Fetcher(self._client, {partition: start}, isolation=isolation)
        records: list[Record] = []
        while fetcher.positions[partition] < end:
            for fetched in await fetcher.poll(100):
                records += fetched.records
        fetcher.close()
        return start, records
