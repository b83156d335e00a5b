"""Runs jobs (``storage/jobs.py``) in child processes, so that they cost the event loop nothing.

One process per job, started afresh: never a fork of this one, which has threads and mapped files. It gets the
job through its standard input and answers through its output; when that input closes, because this process
ended, however it ended, the child ends at once. A thread per running job does the waiting.
"""

import asyncio
import errno
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from odradek.server.flush_first import FlushSign
from odradek.server.worker_process import Pace
from odradek.storage.disk import PASSING, Disk, SystemDisk
from odradek.storage.jobs import (
    Job,
    JobFailedError,
    JobStoppedError,
    Outcome,
    Part,
    Submitted,
    attempt,
    ignore_part,
)

log = logging.getLogger("odradek.worker")

MAIN = ["-c", "from odradek.server import worker_process\nworker_process.main()\n"]
"""Not ``-m``: the child's ``Part`` would be one of its ``__main__``, which is another module here."""
STOP_S = 5.0
"""How long :meth:`Worker.stop` waits for a job in a thread; processes are killed and take no time."""

Done = Callable[[Outcome], None]
OnPart = Callable[[Any], None]


class Worker:
    """A :class:`JobRunner` with up to ``limit`` jobs at a time, in order.

    ``is_urgent`` gives its processes the broker's own priority; else they get only what it leaves over.
    Without ``in_processes`` jobs run in threads of this process, for brokers inside a test. ``after`` follows
    each call back. The processes get the descriptors ``inherited``: a lock among them is held until the last
    of them has ended, also when this process is killed. By ``sign`` they see whom to give way to.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: int = 1,
        *,
        is_urgent: bool = False,
        in_processes: bool = True,
        inherited: tuple[int, ...] = (),
        sign: FlushSign | None = None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.limit = limit
        self._loop = loop
        self._after = after
        self._is_urgent = is_urgent
        self._inherited = inherited
        self._sign = sign
        self._in_processes = in_processes and bool(sys.executable)
        self._waiting: deque[tuple[Submitted, Done, OnPart]] = deque()
        self._running: dict[Submitted, threading.Thread] = {}
        self.is_stopped = False

    def submit(self, job: Job, done: Done, on_part: OnPart = ignore_part) -> Submitted:
        """Do ``job``; ``on_part`` and ``done`` are called in the loop."""
        submitted = Submitted(job)
        self._waiting.append((submitted, done, on_part))
        self._start_next()
        return submitted

    def stop(self) -> None:
        """End what runs and forget what waits; nobody is called back any more. Blocks for a moment."""
        self.is_stopped = True
        self._waiting.clear()
        running = list(self._running.items())
        for submitted, _ in running:
            submitted.cancel()
        for _, thread in running:
            thread.join(STOP_S)

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < self.limit and not self.is_stopped:
            submitted, done, on_part = self._waiting.popleft()
            thread = threading.Thread(
                target=self._run,
                args=(submitted, done, on_part),
                name=f"odradek-{submitted.job.kind}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError as error:  # it passes, as the want of a process does
                outcome = Outcome(error=OSError(errno.EAGAIN, str(error)))
                self._loop.call_soon(self._ended, submitted, done, outcome)
            else:
                self._running[submitted] = thread

    def _run(self, submitted: Submitted, done: Done, on_part: OnPart) -> None:
        def hand_over(part: Any) -> None:
            if not self.is_stopped:
                self._loop.call_soon_threadsafe(self._take, on_part, part)

        try:
            if submitted.is_cancelled:
                outcome = Outcome(error=JobStoppedError("cancelled"))
            elif self._in_processes:
                outcome = self._run_in_process(submitted, hand_over)
            else:
                outcome = _run_in_thread(SystemDisk(), submitted, hand_over)
        except Exception as error:
            # Ours, and whoever waits for the job must not wait for ever.
            log.exception("a %s job could not be run", submitted.job.kind)
            outcome = Outcome(error=JobFailedError(f"{type(error).__name__}: {error}"))
        if not self.is_stopped:
            self._loop.call_soon_threadsafe(self._ended, submitted, done, outcome)

    def _run_in_process(self, submitted: Submitted, hand_over: OnPart) -> Outcome:
        inherited = self._inherited if self._sign is None else (*self._inherited, self._sign.fd)
        command = [sys.executable, "-P", *MAIN]
        # The child finds modules where this process did, and never a stray one in the working directory.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,
                pass_fds=inherited,
            )
        except OSError as error:
            if error.errno in PASSING:
                return Outcome(error=error)
            return Outcome(error=JobFailedError(f"no process for a {submitted.job.kind} job: {error}"))
        submitted.on_cancel = process.kill
        if submitted.is_cancelled:
            process.kill()
        with process:  # closes the pipes and waits
            try:
                outcome = self._converse(process, submitted, hand_over)
            except (OSError, EOFError, pickle.UnpicklingError):
                outcome = None
            finally:
                process.kill()
        if outcome is not None:
            return outcome
        if submitted.is_cancelled:
            return Outcome(error=JobStoppedError("cancelled"))
        kind, code = submitted.job.kind, process.returncode
        return Outcome(error=JobFailedError(f"the process of a {kind} job ended early (exit code {code})"))

    def _converse(
        self, process: subprocess.Popen[bytes], submitted: Submitted, hand_over: OnPart
    ) -> Outcome | None:
        assert process.stdin is not None
        assert process.stdout is not None
        sign_fd = None if self._sign is None else self._sign.fd
        pickle.dump((submitted.job, self._is_urgent, sign_fd), process.stdin)
        process.stdin.flush()
        while True:
            message = pickle.load(process.stdout)  # from a process of ours
            if isinstance(message, Outcome):
                return message
            if isinstance(message, Part):
                hand_over(message.value)
            else:
                submitted.bytes_moved = message

    def _take(self, on_part: OnPart, part: Any) -> None:
        if not self.is_stopped:
            try:
                on_part(part)
            except Exception:
                log.exception("a part of a job's result could not be used")
            self._after()

    def _ended(self, submitted: Submitted, done: Done, outcome: Outcome) -> None:
        self._running.pop(submitted, None)
        if self.is_stopped:
            return
        if isinstance(outcome.error, JobFailedError):
            log.error("%s", outcome.error)
        try:
            done(outcome)
        except Exception:
            log.exception("the end of a %s job failed", submitted.job.kind)
        self._start_next()
        self._after()


def _run_in_thread(disk: Disk, submitted: Submitted, hand_over: OnPart) -> Outcome:
    def moved(total: int) -> None:
        submitted.bytes_moved = total
        if submitted.is_cancelled:
            raise JobStoppedError("cancelled")

    return attempt(disk, submitted.job, Pace(submitted.job.bytes_per_second, moved, hand_over, every_s=0.0))
