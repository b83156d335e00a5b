"""Keeps a virtual machine's host from taking back free memory while the bench runs.

With free page reporting (a feature of virtio-balloon) the guest hands blocks of free memory back to
the host two seconds after they became free, and the next use of each page costs a fault in the
host: writing into the page cache then runs at some 0.3 GB/s instead of 4, for every broker alike,
and hides what differs between them. Only whole blocks of 2 MiB are reported. So one page in each is
held here, and the rest stays with the guest.
"""

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 2 << 20
MOST_BYTES = 32 << 30
_BALLOON = "0x0005"
_REPORTING_BIT = 5


def host_takes_back_free_memory() -> bool:
    for device in Path("/sys/bus/virtio/devices").glob("*"):
        with contextlib.suppress(OSError):
            is_balloon = (device / "device").read_text().strip() == _BALLOON
            if is_balloon and (device / "features").read_text()[_REPORTING_BIT] == "1":
                return True
    return False


@contextlib.contextmanager
def kept_from_the_host() -> Iterator[None]:
    """Touches most of the available memory once, then gives back all but a page of each block."""
    size = min(MOST_BYTES, _available_bytes() * 85 // 100) // BLOCK_BYTES * BLOCK_BYTES
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1
        for block in range(0, size, BLOCK_BYTES):
            memory.madvise(mmap.MADV_DONTNEED, block + mmap.PAGESIZE, BLOCK_BYTES - mmap.PAGESIZE)
        yield


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
