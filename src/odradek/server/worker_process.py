"""The child process of ``server/worker.py``: takes one job from standard input, answers on standard output.

The answer is a run of pickles: how many bytes were moved so far, now and then, each ``Part`` of the result
that is ready, and an ``Outcome`` at last.
"""

import contextlib
import os
import pickle
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from odradek.core.errors import DamageError
from odradek.server.flush_first import FlushSign
from odradek.storage.disk import SystemDisk
from odradek.storage.jobs import UNLIMITED_RATE, Job, JobFailedError, Outcome, Part, attempt
from odradek.storage.pacing import rest_s

PROGRESS_S = 0.25
WINDOW_S = 0.3
"""A job's rate is kept over so long: what it did not use up earlier, it may not use later."""
TURN_S = 0.02
"""So long it works at a stretch: whenever it wakes up, that is on a core that others may want just then."""
LONGEST_WORK_S = 0.1
"""A piece of work that took longer had to wait for others, for the most part."""
LOWEST_PRIORITY = 19
AUTOGROUP = "/proc/self/autogroup"
SLICE_NS = 100_000_000
"""The longest turn on a core that Linux grants. Since 6.12 whoever wakes up with a shorter one, as all have
by default (3 ms or less), gets the core at once. A turn of the same length is not broken off, whatever the
priorities, and its end is noticed by the next tick (every 4 ms, say)."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""``struct sched_attr``: size, policy, flags, nice, priority; runtime (the turn), deadline, period."""


class Pace:
    """The :class:`Meter` of a job: sleeps when it is too fast, or has worked enough for a while
    (``storage/pacing.py``), and tells ``show`` its progress."""

    def __init__(
        self,
        bytes_per_second: float,
        show: Callable[[int], None],
        on_part: Callable[[Any], None],
        every_s: float = PROGRESS_S,
        sign: FlushSign | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``clock`` gives seconds. Without ``sign`` it works all of its time, whoever is there."""
        self.hand_over = on_part
        self._clock = clock
        self._sleep = sleep
        self._sign = sign
        self._rate = bytes_per_second
        self._show = show
        self._every_s = every_s
        self._total = self._in_window = 0
        self._window_s = self._shown_s = self._resumed_s = clock()
        self._worked_s = 0.0

    def moved(self, count: int, /) -> None:
        self._total += count
        self._in_window += count
        now_s = self._clock()
        pause_s = self._pause_s(now_s)
        if pause_s > 0:
            self._sleep(pause_s)
            now_s = self._clock()
        self._resumed_s = now_s
        if now_s - self._window_s > WINDOW_S:
            self._window_s, self._in_window = now_s, 0
        if now_s - self._shown_s >= self._every_s:
            self._shown_s = now_s
            self._show(self._total)

    def _pause_s(self, now_s: float) -> float:
        """Until it is at its rate, and has rested from a turn of work that is over."""
        ahead_s = rest = 0.0
        if self._rate != UNLIMITED_RATE:
            ahead_s = self._in_window / self._rate - (now_s - self._window_s)
        self._worked_s += min(now_s - self._resumed_s, LONGEST_WORK_S)
        if self._sign is not None and self._worked_s >= TURN_S:
            rest = rest_s(self._worked_s, self._sign.share)
            self._worked_s = 0.0
        return max(ahead_s, rest)

    def give_way(self) -> None:
        if self._sign is not None:
            self._sign.give_way()


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job, is_urgent, sign_fd = pickle.load(sys.stdin.buffer)
    if not is_urgent:
        _step_back()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outcome = _outcome(job, answers, None if sign_fd is None else FlushSign(sign_fd))
    try:
        pickle.dump(outcome, answers)
        answers.flush()
    except BrokenPipeError:
        os._exit(1)  # the parent is gone: as above, only noticed here first


def _step_back() -> None:
    """Take what others leave over, and never their turn."""
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)  # not nice(): that adds to what the broker has
    if os.getsid(0) == os.getpid():
        # Linux shares cores out between sessions first, where nothing but a priority of theirs counts.
        with contextlib.suppress(OSError), open(AUTOGROUP, "wb", buffering=0) as autogroup:
            autogroup.write(b"%d" % LOWEST_PRIORITY)
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with contextlib.suppress(ImportError, AttributeError):
            _lengthen_turns()


def _lengthen_turns() -> None:
    """Where it can be: an older kernel takes no notice, and each processor has its number for the call."""
    import ctypes

    number = _SCHED_SETATTR.get(os.uname().machine)
    if number is not None:
        attributes = (_ATTRIBUTES.size, os.SCHED_BATCH, 0, LOWEST_PRIORITY, 0, SLICE_NS, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, ctypes.c_char_p(_ATTRIBUTES.pack(*attributes)), 0)


def _end_with_parent() -> None:
    """Nobody writes to our input any more: it ends when the parent lets go of it, or is killed."""
    with contextlib.suppress(OSError):
        os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _outcome(job: Job, answers: BinaryIO, sign: FlushSign | None) -> Outcome:
    def tell(message: int | Part) -> None:
        pickle.dump(message, answers)
        answers.flush()

    pace = Pace(job.bytes_per_second, tell, lambda part: tell(Part(part)), sign=sign)
    outcome = attempt(SystemDisk(), job, pace)
    if outcome.error is None or isinstance(outcome.error, DamageError | OSError | JobFailedError):
        return outcome
    error = outcome.error  # of a type that may not survive the way
    return Outcome(error=JobFailedError(f"a {job.kind} job failed: {type(error).__name__}: {error}"))
