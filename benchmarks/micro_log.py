"""CPU of the log alone: what an append and a read cost, and how much of that is the kernel's.

Run: ``python -m benchmarks.micro_log [FOLDER]`` (a temporary folder by default).
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from random import Random

from odradek.core.clock import SystemClock
from odradek.core.ids import TopicPartition, new_id
from odradek.records.builder import build_batch, seal_batch
from odradek.records.record import Record
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.log import Log
from odradek.storage.store import LogStore

ROUNDS = 5
UNSET_OFFSET = bytes(8)
NOW_MS = int(time.time() * 1000)


class NoWriteDisk(SystemDisk):
    """Takes every write without a system call."""

    __slots__ = ()

    @staticmethod
    def pwrite(fd: int, data: bytes | bytearray | memoryview, position: int, /) -> int:
        return len(data)


def best_us(action: Callable[[int], None], count: int) -> float:
    """The best of some rounds, microseconds of CPU per call."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        action(count)
        best = min(best, time.process_time() - start)
    return best / count * 1e6


def appending(log: Log, batch_bytes: int) -> Callable[[int], None]:
    """Appends one batch of that size again and again."""
    batch = memoryview(build_batch([Record(0, NOW_MS, None, bytes(batch_bytes - 70))]))

    def action(count: int) -> None:
        append = log.append
        for _ in range(count):
            batch[:8] = UNSET_OFFSET
            append(batch, NOW_MS, leader_epoch=0)

    return action


def append_idempotent_us(log: Log, count: int) -> float:
    """Microseconds per append of 100 B batches with ascending sequence numbers."""
    batches = []
    template = build_batch([Record(0, NOW_MS, None, bytes(30))], 0, 7, 0, 0)
    for sequence in range(count):
        batch = bytearray(template)
        batch[53:57] = sequence.to_bytes(4, "big")
        seal_batch(batch)
        batches.append(memoryview(batch))
    start = time.process_time()
    for view in batches:
        log.append(view, NOW_MS, leader_epoch=0)
    return (time.process_time() - start) / count * 1e6


def reading(log: Log, max_bytes: int) -> Callable[[int], None]:
    """Reads on and on, from the start again at the end."""
    end = log.log_end_offset

    def action(count: int) -> None:
        offset = 0
        read = log.read
        for _ in range(count):
            offset = read(offset, max_bytes, end).next_offset
            if offset == end:
                offset = 0

    return action


def read_tail_us(log: Log) -> float:
    """Microseconds per read of the last batch, for a reader that keeps up."""
    end = log.log_end_offset
    log.read(end - 2, 1, end)

    def action(count: int) -> None:
        read = log.read
        for _ in range(count):
            read(end - 1, 65536, end)

    return best_us(action, 50_000)


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="odradek-micro-")
    for name, disk in (("whole", SystemDisk()), ("without the write", NoWriteDisk())):
        store = LogStore.open(f"{folder}/{name.replace(' ', '-')}", disk, SystemClock(), Random(1))
        logs = {}
        for size, count in ((100, 20_000), (16 * 1024, 4_000), (64 * 1024, 1_000), (1 << 20, 60)):
            logs[size] = store.create(TopicPartition(f"t{size}", 0), new_id(Random(2)), LogConfig(), NOW_MS)
            print(f"append {size:>8} B, {name}: {best_us(appending(logs[size], size), count):8.2f} µs")
            store.flush(NOW_MS)
        log = store.create(TopicPartition("i", 0), new_id(Random(2)), LogConfig(), NOW_MS)
        print(f"append 100 B idempotent, {name}: {append_idempotent_us(log, 50_000):8.2f} µs")
        if name == "whole":
            print(f"read the last 100 B: {read_tail_us(logs[100]):8.2f} µs")
            print(f"read 64 KB of 100 B batches: {best_us(reading(logs[100], 65536), 500):8.2f} µs")
            print(f"read 64 KB of 16 KB batches: {best_us(reading(logs[16384], 65600), 5000):8.2f} µs")
            print(f"read 1 MB batches: {best_us(reading(logs[1 << 20], 1 << 20), 5000):8.2f} µs")
        store.close(NOW_MS, clean=False)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
