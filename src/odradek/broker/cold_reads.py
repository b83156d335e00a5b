"""Fetches of bytes that are not in memory: they wait for a thread that loads them, and nobody else does."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from odradek.broker.requests import Wait
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.fetch import FetchResponse
from odradek.storage.cold import ColdRange, load
from odradek.storage.disk import Disk
from odradek.storage.log import Log

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.fetch import Read

log = logging.getLogger("odradek.fetch")

_MOST_LOADS = 4
"""Index, place and bytes may be missing one after the other; who still finds something missing then competes
for the memory with others, and is served as it is."""

Loaded = Callable[[Sequence[OSError | None]], None]


class ColdRead(NamedTuple):
    """A range that a fetch needs of a log."""

    log: Log
    missing: ColdRange


class Loader(Protocol):
    """Brings ranges into memory."""

    def load(self, ranges: Sequence[ColdRange], loaded: Loaded) -> None:
        """Calls ``loaded`` where state may be changed (in the loop), with what went wrong for each range."""


class LoadAtOnce:
    """A :class:`Loader` that waits for the disk right here: for a broker without a server."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def load(self, ranges: Sequence[ColdRange], loaded: Loaded) -> None:
        loaded([attempt(self._disk, each) for each in ranges])


def attempt(disk: Disk, wanted: ColdRange) -> OSError | None:
    """Loads a range; in any thread. A file that is gone is no error: the log has moved on."""
    try:
        load(disk, wanted)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


class ColdFetch:
    """A fetch that waits for what it needs to be loaded, then runs again."""

    __slots__ = ("_broker", "_finish", "_loads", "_needed", "_read", "wait")

    def __init__(self, broker: "Broker", read: "Read", finish: Callable[[Wait], None]) -> None:
        """``finish`` is called when there is nothing more to load, and completes the wait."""
        self.wait = Wait()
        self._broker = broker
        self._read = read
        self._finish = finish
        self._loads = 0
        self._needed: list[ColdRead] = []
        self._load()

    def _load(self) -> None:
        self._loads += 1
        self._needed = self._read.cold
        self._broker.loader.load([each.missing for each in self._needed], self._loaded)

    def _loaded(self, errors: Sequence[OSError | None]) -> None:
        if self.wait.is_complete:
            return  # the connection is gone
        try:
            for each, error in zip(self._needed, errors, strict=True):
                if error is not None:
                    each.log.failed(error)
            self._read.run(cached_only=self._loads < _MOST_LOADS)
            if self._read.cold:
                self._load()
            else:
                self._finish(self.wait)
        except Exception:
            log.exception("a fetch of what was not in memory failed")
            self.wait.complete(FetchResponse(error_code=ErrorCode.UNKNOWN_SERVER_ERROR, responses=[]))
