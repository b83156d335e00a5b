"""Bits that flip while the broker is down, in records that were flushed for good.

Their partition may go offline, as docs/damage.md says; nothing wrong may be served, no other partition may
notice, and once the bits are back, as from a backup, all that was promised is there. Which seeds have it is
drawn apart from all else, so that the others stay the runs that they were. A bit may flip in anything that
was noted as flushed, whatever became of the note, but for what a power cut may have taken of it.
"""

import contextlib
import random
from typing import TYPE_CHECKING

from odradek.core.ids import TopicPartition
from odradek.records.batch import CRC_START, iterate_batches
from odradek.records.errors import CorruptBatchError
from odradek.storage import names
from odradek.storage.flush_journal import ASIDE, NOTHING_TOLD, decode_facts
from odradek.testing.simulation.disk import File, Folder
from odradek.testing.simulation.node import FOLDER

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation

SHARE = 0.2
"""So many of the seeds have it."""


class Rot:
    """``partitions`` are those of which a bit has flipped."""

    def __init__(self, world: "Simulation") -> None:
        self._world = world
        self._rng = random.Random(f"flipped {world.seed}")
        self._flips: list[tuple[str, int, int]] = []
        self.is_there = self._rng.random() < SHARE
        self.partitions: set[str] = set()
        self._noted: dict[TopicPartition, int] = {}
        """Up to where partitions were flushed when last all of that was noted."""

    def look(self) -> None:
        """A flush has ended: what it made durable is to be told from what is torn from now on."""
        broker = self._world.node.broker
        if broker is not None and broker.store.volume.journal.is_whole:
            for partition, log in broker.store.logs.items():
                if log.offline is None:
                    self._noted[partition] = log.flushed_offset

    def power_was_cut(self) -> None:
        self._noted.clear()

    def strike(self) -> None:
        """The broker is killed, and comes back to one bit that is another one."""
        world = self._world
        if world.node.is_up:
            world.node.crash(cuts_power=False)
        places = self._places()
        if not places:
            return
        partition, path, start, end = self._rng.choice(places)
        flip = path, self._rng.randrange(start, end), self._rng.randrange(8)
        world.trace.note("chaos", f"flips a bit of {path} at {flip[1]}")
        world.node.volume.flip_bit(*flip)
        self._flips.append(flip)
        self.partitions.add(str(partition))

    def heal(self) -> None:
        """Put the bits back."""
        for flip in self._flips:
            self._world.node.volume.flip_bit(*flip)
        self._flips.clear()

    def _places(self) -> list[tuple[TopicPartition, str, int, int]]:
        """Batches that the next start knows to have been flushed: which bytes the CRC of each covers."""
        volume = self._world.node.volume
        path = f"{FOLDER}/{names.FLUSHED_OFFSETS}"
        journal = volume.find(path) or volume.find(path + ASIDE)
        facts = decode_facts(bytes(journal.durable)) if isinstance(journal, File) else NOTHING_TOLD
        places = []
        for topic in self._world.kept_topics:
            for number in range(topic.partitions):
                partition = TopicPartition(topic.name, number)
                folder = f"{FOLDER}/{names.folder_name(partition)}"
                told = facts.of((topic.topic_id, number)).offset
                flushed = max(told, self._noted.get(partition, 0))
                found = volume.find(folder)
                for name, file in found.names.items() if isinstance(found, Folder) else ():
                    if name.endswith(names.LOG) and isinstance(file, File):
                        batches = _batches(bytes(file.durable), flushed)
                        places += [(partition, f"{folder}/{name}", *batch) for batch in batches]
        return places


def _batches(content: bytes, flushed_offset: int) -> list[tuple[int, int]]:
    """From where to where the CRC covers each batch below an offset."""
    found = []
    with contextlib.suppress(CorruptBatchError):  # what is not on disk yet
        for position, header in iterate_batches(content):
            if header.next_offset <= flushed_offset:
                found.append((position + CRC_START, position + header.size))
    return found
