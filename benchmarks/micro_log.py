"""CPU of the log alone: what one append and one read cost in Python, and how much of it is the system call.

Run: ``python -m benchmarks.micro_log [FOLDER]`` (a temporary folder by default).
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable

from odradek.core.clock import SystemClock
from odradek.core.ids import TopicPartition, new_id
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.log import Log
from odradek.storage.store import LogStore

ROUNDS = 5
RESET = bytes(8)


class NoWriteDisk(SystemDisk):
    """Takes every write without making the system call, to tell our share from the kernel's."""

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


def appending(log: Log, value_bytes: int, producer_id: int) -> Callable[[int], None]:
    now_ms = int(time.time() * 1000)
    batch = build_batch([Record(0, now_ms, None, bytes(value_bytes))])
    idempotent = build_batch(
        [Record(0, now_ms, None, bytes(value_bytes))],
        producer_id=producer_id,
        producer_epoch=0,
        base_sequence=0,
    )
    sequence = 0

    def plain(count: int) -> None:
        view = memoryview(batch)
        for _ in range(count):
            view[:8] = RESET
            log.append(view, now_ms, leader_epoch=0)

    def in_sequence(count: int) -> None:
        nonlocal sequence
        batches = []
        for number in range(count):
            built = bytearray(idempotent)
            built[53:57] = (sequence + number).to_bytes(4, "big")
            batches.append(_sealed(built))
        sequence += count
        for built in batches:
            log.append(memoryview(built), now_ms, leader_epoch=0)

    return in_sequence if producer_id >= 0 else plain


def _sealed(batch: bytearray) -> bytearray:
    from odradek.records.builder import seal_batch

    seal_batch(batch)
    return batch


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="odradek-micro-")
    for name, disk in (("with write", SystemDisk()), ("without write", NoWriteDisk())):
        store = LogStore.open(f"{folder}/{name.split()[0]}", disk, SystemClock(), random.Random(1))
        now_ms = int(time.time() * 1000)
        for number, (value_bytes, count) in enumerate(((100, 20_000), (16 * 1024, 4_000), (1024 * 1024, 60))):
            log = store.create(TopicPartition(f"t{number}", 0), new_id(random.Random(2)), LogConfig(), now_ms)
            cost = best_us(appending(log, value_bytes - 70, -1), count)
            print(f"{name}: append {value_bytes:>8} B {cost:8.2f} µs", flush=True)
            store.flush(now_ms)
        log = store.create(TopicPartition("i", 0), new_id(random.Random(2)), LogConfig(), now_ms)
        print(
            f"{name}: append idempotent 100 B {best_us(appending(log, 30, 7), 20_000):8.2f} µs, loop included"
        )
        if name == "with write":
            reading(store)
        store.close(now_ms, clean=False)


def reading(store: LogStore) -> None:
    log = store.logs[TopicPartition("t0", 0)]
    end = log.log_end_offset

    def tail(count: int) -> None:
        for _ in range(count):
            log.read(end - 1, 65536, end)

    def forward(count: int) -> None:
        offset = 0
        for _ in range(count):
            offset = log.read(offset, 65536, end).next_offset % end

    log.read(end - 2, 130, end)
    print(f"read 100 B at the tail {best_us(tail, 50_000):8.2f} µs")
    print(f"read 64 KB of 100 B batches, one after the other {best_us(forward, 100):8.2f} µs")
    log = store.logs[TopicPartition("t1", 0)]
    end = log.log_end_offset
    print(f"read 64 KB of 16 KB batches, one after the other {best_us(forward, 5_000):8.2f} µs")


if __name__ == "__main__":
    main()
