"""What compacting costs: one pass over a log in a single process, megabytes of log a second of CPU.

Run: ``python -m benchmarks.micro_compaction [MEGABYTES]`` (128 by default). Each record's key is written
three times, so two thirds of the log go. Reading twice (keys, then records) and writing are both in it.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator

from odradek.core.clock import SystemClock
from odradek.core.ids import TopicPartition, new_id
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage.compact_job import CleanedSegment, compact
from odradek.storage.compaction import measure_dirt, plan_compaction
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.jobs import Unmetered
from odradek.storage.store import LogStore

BATCH_BYTES = 16 * 1024
NOW_MS = int(time.time() * 1000)
CASES = (("100 B", 100, 0), ("1 KB", 1000, 0), ("1 KB, zstd", 1000, 4), ("16 KB", 16_000, 0))


def batches(record_bytes: int, codec: int, total_bytes: int) -> Iterator[bytearray]:
    """About ``total_bytes`` of records."""
    rng = random.Random(1)
    in_batch = max(BATCH_BYTES // record_bytes, 1)
    keys = max(total_bytes // record_bytes // 3, 1)
    half = rng.randbytes(record_bytes // 2) + bytes(record_bytes // 2)
    for _ in range(total_bytes // record_bytes // in_batch):
        records = [Record(0, NOW_MS, b"user-%012d" % rng.randrange(keys), half) for _ in range(in_batch)]
        yield build_batch(records, compression=codec)


def measure(title: str, record_bytes: int, codec: int, total_bytes: int) -> None:
    config = LogConfig(cleanup_policy=("compact",), flush_messages=1 << 62)
    with tempfile.TemporaryDirectory() as folder:
        store = LogStore.open(folder, SystemDisk(), SystemClock(), random.Random(1))
        log = store.create(TopicPartition("t", 0), new_id(random.Random(2)), config, NOW_MS)
        for batch in batches(record_bytes, codec, total_bytes):
            log.append(memoryview(batch), NOW_MS, leader_epoch=0)
        log.roll(NOW_MS)
        store.flush(NOW_MS)
        dirt = measure_dirt(log, None, NOW_MS)
        assert dirt is not None
        parts: list[CleanedSegment] = []
        started = time.process_time()
        plan = plan_compaction(dirt, NOW_MS, 128 << 20, 0.9)
        result = compact(SystemDisk(), plan, Unmetered(parts.append))
        took = time.process_time() - started
        store.close(NOW_MS)
    megabytes, thousands = result.bytes_read / took / 1e6, result.records_read / took / 1e3
    print(
        f"{title:12} {megabytes:8.1f} MB/s {thousands:9.1f} k records/s"
        f"   {result.bytes_read / 1e6:.0f} → {result.bytes_written / 1e6:.0f} MB, {result.keys} keys"
    )


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    for title, record_bytes, codec in CASES:
        measure(title, record_bytes, codec, megabytes * 1_000_000)


if __name__ == "__main__":
    main()
