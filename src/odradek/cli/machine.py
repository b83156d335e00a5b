"""What ``odradek doctor`` asks the machine itself: flush times, open files, the clock."""

import contextlib
import ctypes
import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple

FLUSHES = 20
_PAGE = bytes(4096)
_CLOCK_UNSYNCHRONIZED = 5
"""``TIME_ERROR`` of adjtimex(2)."""
_LARGER_THAN_TIMEX_BYTES = 512


class FlushTimes(NamedTuple):
    """Seconds that appending a page and flushing it took."""

    median: float
    slowest: float


class OpenFiles(NamedTuple):
    """Descriptors of a process: how many it has and how many it may have."""

    open: int
    limit: int


def broker_pid(folder: Path) -> int | None:
    """The process that holds a data folder, when it runs on this machine."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / ".lock").read_text().strip())
        os.kill(pid, 0)
        return pid
    return None


def flush_times(folder: Path) -> FlushTimes | None:
    """Measured on a file of our own in ``folder``; None when we may not write there."""
    path = folder / f".doctor-{os.getpid()}.tmp"
    took = []
    try:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        try:
            for _ in range(FLUSHES):
                started = time.perf_counter()
                os.write(fd, _PAGE)
                os.fsync(fd)
                took.append(time.perf_counter() - started)
        finally:
            os.close(fd)
            os.unlink(path)
    except OSError:
        return None
    return FlushTimes(statistics.median(took), max(took))


def open_files(pid: int) -> OpenFiles | None:
    """None where the system does not tell, or not us."""
    try:
        count = len(os.listdir(f"/proc/{pid}/fd"))
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            if line.startswith("Max open files"):
                soft = line.split()[3]
                return OpenFiles(count, 1 << 62 if soft == "unlimited" else int(soft))
    except (OSError, ValueError, IndexError):
        pass
    return None


def is_clock_synchronized() -> bool | None:
    """Whether something keeps this machine's clock right (NTP); None where that cannot be told."""
    call = getattr(ctypes.CDLL(None), "adjtimex", None)
    if call is None:
        return None
    state: int = call(ctypes.create_string_buffer(_LARGER_THAN_TIMEX_BYTES))
    return None if state < 0 else state != _CLOCK_UNSYNCHRONIZED
