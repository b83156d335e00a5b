"""Why groups rebalanced, across restarts: it is written down every few seconds and at a clean stop, and the
groups get it back when they are loaded.

The file is ``odradek-rebalances`` in the data folder, as Kafka's records of groups have no room for it;
storage/FORMAT.md has the layout. It explains and decides nothing: one that cannot be believed is dropped.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping

from odradek.broker.maintenance import Chore
from odradek.coordinator.consumer_draft import Group
from odradek.coordinator.rebalances import Cause, Rebalance, Rebalances
from odradek.core.clock import Clock
from odradek.records.crc import crc32c
from odradek.storage import names
from odradek.storage.disk import Disk
from odradek.storage.volume import Volume

log = logging.getLogger("odradek.groups")

WRITE_MS = 10_000
"""How much of it a crash may take."""

Causes = dict[str, list[Rebalance]]
"""By group, oldest first."""


class RebalanceHistory:
    """Keeps the causes of rebalances of all groups of a broker; reads its file when it is made."""

    def __init__(self, volume: Volume, clock: Clock) -> None:
        self._volume = volume
        self._clock = clock
        self._path = f"{volume.folder}/{names.REBALANCES}"
        self._written = read_history(volume.disk, self._path)
        """What the file says; None when that cannot be believed, and it must be replaced."""
        self._not_loaded = dict(self._written or {})
        """Of the groups of partitions that nobody has loaded."""
        self._due_ms = clock.monotonic_ms() + WRITE_MS

    def give_back(self, groups: Mapping[str, Group], is_there: Callable[[str], bool]) -> None:
        """A partition is loaded: its ``groups`` get back what is kept of them. ``is_there`` tells of a group
        id whether it belongs to that partition; what is kept of groups that are gone is forgotten."""
        for group_id in [group_id for group_id in self._not_loaded if is_there(group_id)]:
            causes = self._not_loaded.pop(group_id)
            if group_id in groups:
                groups[group_id].rebalances = Rebalances(causes)

    def keep(self, groups: Mapping[str, Group]) -> None:
        """A partition with these groups is unloaded, and may be loaded again."""
        self._not_loaded |= _causes(groups)

    def forget(self) -> None:
        """The topic of the groups is gone, and they with it."""
        self._not_loaded.clear()

    def chores(self, loaded: Iterable[Mapping[str, Group]]) -> list[Chore]:
        """Called about once a second with the groups of each loaded partition: what should run in some
        thread."""
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + WRITE_MS
        return self._writes(loaded)

    def write(self, loaded: Iterable[Mapping[str, Group]]) -> None:
        """Writes it right here, if there is something new. Never raises."""
        for write in self._writes(loaded):
            try:
                write()
            except OSError as error:
                log.warning("why groups rebalanced is not kept: %s", error)

    def _writes(self, loaded: Iterable[Mapping[str, Group]]) -> list[Chore]:
        causes = dict(self._not_loaded)
        for groups in loaded:
            causes |= _causes(groups)
        if causes == self._written:
            return []
        replace = self._volume.checkpoint_write(self._path, lambda: encode_history(causes))

        def write() -> None:
            replace()
            self._written = causes

        return [write]


def _causes(groups: Mapping[str, Group]) -> Causes:
    found = {group_id: group.rebalances.all() for group_id, group in groups.items()}
    return {group_id: causes for group_id, causes in found.items() if causes}


def encode_history(causes: Causes) -> bytes:
    lines = [
        json.dumps([group_id, [(one.wall_ms, one.epoch, one.cause.name, *one[3:]) for one in found]])
        for group_id, found in causes.items()
    ]
    text = "\n".join(lines).encode()
    return b"0\n%d\n%b" % (crc32c(text), text)


def read_history(disk: Disk, path: str) -> Causes | None:
    """What the file says, nothing when there is none; None for one that cannot be believed."""
    if not disk.exists(path):
        return {}
    try:
        return decode_history(disk.read_file(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is of no use (%s): why groups rebalanced before this start is not known", path, error)
        return None


def decode_history(content: bytes) -> Causes:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` for anything else than :func:`encode_history`
    makes."""
    version, crc, text = content.split(b"\n", 2)
    if version != b"0":
        raise ValueError(f"version {version!r} is unknown")
    if crc != b"%d" % crc32c(text):
        raise ValueError("its checksum is wrong")
    causes = {}
    for line in text.splitlines():
        group_id, rows = json.loads(line)
        causes[group_id] = [Rebalance(ms, epoch, Cause[name], *rest) for ms, epoch, name, *rest in rows]
    return causes
