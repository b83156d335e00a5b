"""Copiers of a simulation: members of a group that read what is committed, write it to another topic, and
commit how far they have read, all in one transaction (KIP-98, KIP-447). Whatever happens, the other topic
must have exactly what lies below the committed offsets, once and in order.
"""

from typing import TYPE_CHECKING

from odradek.core.errors import ErrorCode
from odradek.records.record import Record
from odradek.testing.simulation.client import TopicInfo
from odradek.testing.simulation.group import GroupMember
from odradek.testing.simulation.history import Entry, value_of
from odradek.testing.simulation.network import Disconnected
from odradek.testing.simulation.transactional_client import TransactionalClient
from odradek.testing.simulation.transactions import CommittedReader

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation

STABLE_TRIES = 10
LONG_MS = 3_000
"""Longer than a session, and than a transaction may be open."""


class Copier(GroupMember):
    """Copies each partition of ``source`` to the same partition of ``target``. Its generation fences it."""

    session_ms = 1_000
    rebalance_ms = 600
    is_stable_required = True

    def __init__(
        self, world: "Simulation", name: str, group: str, source: TopicInfo, target: TopicInfo
    ) -> None:
        super().__init__(world, name, group, source)
        self._target = target
        self._reader = CommittedReader(world, f"{name}-reader", source)
        self._producer = TransactionalClient(world, f"{name}-producer", name)

    async def run(self) -> None:
        await super().run()
        await self._producer.begin()  # ends what hangs

    async def _committed(self, partitions: list[int]) -> dict[int, int] | None:
        """While another's transaction is being ended nobody knows where to go on: that is worth waiting for,
        as a new generation would not help."""
        for _ in range(STABLE_TRIES):
            positions = await super()._committed(partitions)
            if positions is not None:
                return positions
            await self.back_off()
        return None

    async def _consume(self, partition: int, positions: dict[int, int]) -> bool:
        found = await self._reader.fetch(partition, positions[partition])
        if found is None:
            await self.back_off()
            return True
        position, visible = found
        if visible and not await self._copy(partition, [entry for _, entry in visible], position):
            return False
        positions[partition] = position
        return True

    async def _copy(self, partition: int, entries: list[Entry], position: int) -> bool:
        """Whether it is certain that they are copied; if not, only the committed offsets tell."""
        producer = self._producer
        if producer.must_begin:
            await producer.begin()
        producer.may_change_version()
        await self._think()
        if not await self._write(partition, entries, position):
            if producer.is_version_2 and self.rng.random() < 0.7:
                await producer.end(is_commit=False)
            else:
                producer.give_up()
            return False
        what = f"{entries[0]}..{entries[-1]} of {partition}, up to {position}"
        if self.rng.random() < 0.05:
            await self._be_fenced(what)
            return False
        await self._think()
        is_commit = self.rng.random() < 0.9
        code = await producer.end(is_commit=is_commit)
        self.note(f"{what}: {'commit' if is_commit else 'abort'} {ErrorCode(code).name}")
        if code or not is_commit:
            return False
        self.history.commit_acknowledged(self._group, self._topic.name, partition, position)
        self.history.count("copied", len(entries))
        return True

    async def _write(self, partition: int, entries: list[Entry], position: int) -> bool:
        """Whether records and offset are in the transaction."""
        producer, target = self._producer, self._target.name
        records = [
            Record(0, entry.timestamp, None, value_of(entry.producer, entry.sequence, 30))
            for entry in entries
        ]
        if not await producer.add(target, [partition]) or not await producer.send(target, partition, records):
            return False
        await self._think()
        self.history.commit_asked(self._group, self._topic.name, partition, position)
        code = await producer.commit_offsets(
            self._group, self._generation, self._member_id, self._topic.name, {partition: position}
        )
        if code:
            self.note(f"offset {position} of {partition}: {ErrorCode(code).name}")
        return code == 0

    async def _think(self) -> None:
        """Sometimes so long that the group takes it for lost, or the coordinator its transaction."""
        if self.rng.random() < 0.08:
            await self.loop.sleep(self.rng.random() * LONG_MS)

    async def _be_fenced(self, what: str) -> None:
        """Another takes the transactional id before the end: what was written must never be shown."""
        heir = TransactionalClient(self.world, self._producer.name, self.name)
        await heir.begin()
        code = await self._producer.end(is_commit=True)
        self.note(f"{what}: fenced, {ErrorCode(code).name}")
        if code == 0:
            self.history.problem(f"{self.name} is fenced, and has committed {what}")
        self._producer = heir

    async def check(self) -> None:
        """In the end: what was copied is what the committed offsets say, record by record."""
        every = list(range(self._topic.partitions))
        committed = None
        while committed is None:
            try:
                committed = await self._committed(every)
            except Disconnected:
                await self.back_off()
        copies = CommittedReader(self.world, f"{self.name}-checker", self._target)
        for partition in every:
            read = await self._reader.read_to_the_end(partition)
            wanted = [entry for offset, entry in read if offset < committed[partition]]
            found = [entry for _, entry in await copies.read_to_the_end(partition)]
            if found != wanted:
                same = 0
                while found[same : same + 1] == wanted[same : same + 1] != []:
                    same += 1
                self.history.problem(
                    f"partition {partition} was copied up to {committed[partition]}, {len(wanted)} records,"
                    f" there are {len(found)}; after {same} of them come {_some(found[same:])}, in place of"
                    f" {_some(wanted[same:])}"
                )


class LoneCopier(Copier):
    """Copies one partition that nobody else takes, so that its transactional id alone fences it, and needs
    nobody to go on when the broker is back: one that is down most of the time gets some work done, too."""

    def __init__(
        self, world: "Simulation", name: str, source: TopicInfo, target: TopicInfo, partition: int
    ) -> None:
        super().__init__(world, name, target.name, source, target)
        self._partition = partition

    async def _join(self) -> list[int]:
        return [self._partition]

    async def _work(self, assigned: list[int]) -> None:
        positions = await self._committed(assigned)
        while positions is not None and not self.world.is_ending:
            if not await self._consume(self._partition, positions):
                return
            if self.rng.random() < 0.3:
                return  # as after a restart of its own: only what is committed tells where to go on
            await self.loop.sleep(self.rng.random() * 100)


def _some(entries: list[Entry]) -> str:
    return ", ".join(map(str, entries[:3])) or "nothing"
