"""Heavy work on files that the event loop must never pay for: what can be asked for, and what comes back.

A :class:`Job` is a value, the name of a function in :data:`KINDS` and its argument; :func:`perform` does it,
wherever that is: in a child process (``server/worker.py``), in a thread, or by hand (:class:`JobQueue`, for
tests and the simulator). Whoever wants work done holds a :class:`JobRunner` and is called back.

To add a kind, write ``work(disk, argument, meter) -> result`` somewhere in this room and name it in
``KINDS``. Argument and result travel between processes: plain values that can be pickled, paths instead of
open files. A child may be killed at any byte: it writes only files that nobody else looks at, and whoever
asked for them takes them over when the :class:`Outcome` says that they are whole. (``recover_job.py`` is the
exception, and says why it may be.)
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from odradek.core.errors import OdradekError
from odradek.storage.disk import Disk

UNLIMITED_RATE = float("inf")

KINDS: dict[str, str] = {
    "compact": "odradek.storage.compact_job:compact",
    "recover": "odradek.storage.recover_job:recover_all",
    "verify": "odradek.storage.verify:verify_all",
}
"""Kind of a job → "module:function", imported when it is first asked for."""


class JobStoppedError(OdradekError):
    """The job was cancelled, or its runner stopped."""


class JobFailedError(OdradekError):
    """The job failed for a reason of ours, or its process died; it may be tried again later."""


class Job(NamedTuple):
    """``size`` is about how many bytes it will read and write, for showing progress."""

    kind: str
    argument: Any
    size: int = 0
    bytes_per_second: float = UNLIMITED_RATE


class Part(NamedTuple):
    """A part of a job's result, on its way between processes."""

    value: Any


class Outcome(NamedTuple):
    """What became of a job: its result, or DamageError, OSError, JobStoppedError, JobFailedError."""

    result: Any = None
    error: Exception | None = None


class Meter(Protocol):
    """How a job tells that it goes on; each job calls it at least once per megabyte."""

    def moved(self, count: int, /) -> None:
        """``count`` more bytes were read or written. Keeps the job to its rate and to its share of time
        (``pacing.py``); raises JobStoppedError."""

    def give_way(self) -> None:
        """Called ahead of each piece of work for the disk: flushes, which clients wait for, go first."""

    def hand_over(self, part: Any, /) -> None:
        """A part of the result is ready, and may be used while the job goes on."""


def ignore_part(part: Any) -> None:
    """For jobs that hand nothing over."""


class Unmetered:
    """For whoever does a job by hand; ``on_part`` gets its parts."""

    def __init__(self, on_part: Callable[[Any], None] = ignore_part) -> None:
        self.hand_over = on_part

    def moved(self, count: int, /) -> None:
        pass

    def give_way(self) -> None:
        pass


class Submitted:
    """A job that waits or runs. ``bytes_moved`` tells how far it is, of ``job.size``."""

    __slots__ = ("bytes_moved", "is_cancelled", "job", "on_cancel")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.bytes_moved = 0
        self.is_cancelled = False
        self.on_cancel: Callable[[], None] = lambda: None

    def cancel(self) -> None:
        """End it soon; its outcome is a JobStoppedError, unless it is done already."""
        self.is_cancelled = True
        self.on_cancel()


class JobRunner(Protocol):
    """Does jobs somewhere else. ``on_part`` is called with each part that the job hands over, then ``done``
    once, both where state may be changed (in the loop), and neither when the runner has stopped."""

    def submit(
        self, job: Job, done: Callable[[Outcome], None], on_part: Callable[[Any], None] = ...
    ) -> Submitted: ...


class JobQueue:
    """A runner that does its jobs when :meth:`run_next` is called, right here."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._waiting: deque[tuple[Submitted, Callable[[Outcome], None], Callable[[Any], None]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(
        self, job: Job, done: Callable[[Outcome], None], on_part: Callable[[Any], None] = ignore_part
    ) -> Submitted:
        submitted = Submitted(job)
        self._waiting.append((submitted, done, on_part))
        return submitted

    def run_next(self) -> None:
        """Do the oldest job and call back; ``IndexError`` when there is none."""
        submitted, done, on_part = self._waiting.popleft()
        if submitted.is_cancelled:
            done(Outcome(error=JobStoppedError("cancelled")))
        else:
            done(attempt(self._disk, submitted.job, Unmetered(on_part)))


def perform(disk: Disk, job: Job, meter: Meter) -> Any:
    """Do a job right here; raises whatever is wrong."""
    module, _, function = KINDS[job.kind].partition(":")
    return getattr(import_module(module), function)(disk, job.argument, meter)


def attempt(disk: Disk, job: Job, meter: Meter) -> Outcome:
    """Like :func:`perform`, with errors as an outcome; a fault of ours comes with its traceback."""
    try:
        return Outcome(perform(disk, job, meter))
    except (OdradekError, OSError) as error:
        return Outcome(error=error)
    except Exception:
        return Outcome(error=JobFailedError(f"a {job.kind} job failed: {traceback.format_exc()}"))
