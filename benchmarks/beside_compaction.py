"""What clients notice of a compaction: latencies at a fixed pace, in turn beside a whole pass and alone.

Two of them: until a produce request with acks=1 is answered, which waits for the event loop and for no disk,
and until a consumer has the record, which waits for a flush, too.

A round is a few passes over fresh topics, which go gently as there are clients (``storage/pacing.py``). Each
is watched from the moment when its process is there until the last of what it replaced is removed, and has a
window alone that lasts as long, in turn behind it and before the next. Of either kind the median of the
windows' p99 counts: one that the machine takes for something else says nothing of a pass. What a pass does
when nobody is there is measured once, before.
"""

import asyncio
import contextlib
import itertools
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks.admin import Admin, BrokerError
from benchmarks.brokers import Broker, process_tree
from benchmarks.generator import RecordTimes
from benchmarks.measure import RAMP_S, Bench, Metrics, Run
from odradek.client.admin import ResourceType, alter_configs
from odradek.client.client import Client
from odradek.protocol.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.records.builder import build_batch
from odradek.records.record import Record
from odradek.storage import names
from odradek.storage.pacing import QUIET_S

PASSES = 4
BATCHES = 60
"""About 54 MB, as a gentle pass takes its time."""
BATCHES_FOR_NOBODY = 1_500
BATCH_RECORDS = 900
VALUE_BYTES = 1_000
KEYS_SHARE = 0.15
"""Of all records: so many different keys there are."""
HOT_BYTES = 100
PATIENCE_S = 120.0
GONE_S = 4.0
"""After so long the disk has no more work with what was written, or removed, before."""
WATCH_S = 0.05
UNFINISHED = (names.CLEANED, names.SWAP, names.DELETED)
Window = tuple[int, int]
"""From when to when, by ``time.monotonic_ns``."""
Wait = Callable[[RecordTimes], int]
_numbers = itertools.count()


@contextlib.contextmanager
def prepared(bench: Bench, broker: Broker) -> Iterator[Run]:
    """Each run measures :data:`PASSES` passes, however long a window is to be."""
    asyncio.run(configure(broker.port, ResourceType.BROKER, "1", {"log.cleaner.backoff.ms": "0"}))
    with dirty_topic(broker, BATCHES_FOR_NOBODY) as topic:
        os.sync()
        time.sleep(QUIET_S + 1)
        quick_mb_s = megabytes(BATCHES_FOR_NOBODY) / whole_pass(broker, topic)[1]

    def run(_: float) -> Metrics:
        alone: list[Window] = []
        beside: list[Window] = []
        compacted_s = 0.0
        last_ns = 0
        with contextlib.ExitStack() as stack:
            topics = [stack.enter_context(dirty_topic(broker, BATCHES)) for _ in range(PASSES)]
            os.sync()  # no window is to bear what was written before it
            time.sleep(GONE_S)
            with bench.paced_times(broker, HOT_BYTES, 2 * PASSES * PATIENCE_S) as (times, measured):
                time.sleep(2 * RAMP_S)
                for number, topic in enumerate(topics):
                    if number % 2:
                        alone.append(quiet_window(broker, last_ns))
                    window, seconds = whole_pass(broker, topic)
                    beside.append(window)
                    compacted_s += seconds
                    last_ns = window[1] - window[0]
                    if not number % 2:
                        alone.append(quiet_window(broker, last_ns))
        return {
            "other_cores": measured[0].metrics["other_cores"],
            "seconds": measured[0].seconds,
            "compacted_mb_s": quick_mb_s,
            "gentle_mb_s": PASSES * megabytes(BATCHES) / compacted_s,
            **growth("", times, lambda record: record.end_to_end_ns, alone, beside),
            **growth("answer_", times, lambda record: record.answer_ns, alone, beside),
        }

    yield run


@contextlib.contextmanager
def dirty_topic(broker: Broker, batches: int) -> Iterator[str]:
    """A log in segments of 32 MiB, with keys that come again, not compacted yet."""
    name = f"dirty-{next(_numbers)}"
    with Admin(broker.port) as admin:
        admin.create_topic(name, 1, {"cleanup.policy": "delete", "segment.bytes": str(32 << 20)})
    asyncio.run(fill(broker.port, name, batches))
    try:
        yield name
    finally:
        with Admin(broker.port) as admin:
            admin.delete_topic(name)


async def fill(port: int, topic_name: str, batches: int) -> None:
    rng = random.Random(1)
    value = rng.randbytes(VALUE_BYTES)
    keys = int(batches * BATCH_RECORDS * KEYS_SHARE)
    async with Client(f"127.0.0.1:{port}") as client:
        connection = await client.any_broker()
        for _ in range(batches):
            now_ms = int(time.time() * 1000)
            records = [Record(0, now_ms, b"%d" % rng.randrange(keys), value) for _ in range(BATCH_RECORDS)]
            data = PartitionProduceData(index=0, records=memoryview(build_batch(records)))
            topic = TopicProduceData(name=topic_name, partition_data=[data])
            request = ProduceRequest(acks=1, timeout_ms=30_000, topic_data=[topic])
            response = await connection.call(request, ProduceResponse, cap=12)
            assert not response.responses[0].partition_responses[0].error_code


async def configure(port: int, kind: ResourceType, name: str, configs: dict[str, str | None]) -> None:
    async with Client(f"127.0.0.1:{port}") as client:
        await alter_configs(client, kind, name, configs)


def megabytes(batches: int) -> float:
    return batches * BATCH_RECORDS * VALUE_BYTES / 1e6


def whole_pass(broker: Broker, topic: str) -> tuple[Window, float]:
    """From when its process is there until all is removed, and how many seconds the process took."""
    asyncio.run(configure(broker.port, ResourceType.TOPIC, topic, {"cleanup.policy": "compact"}))
    watch_until(broker, lambda: is_compacting(broker))
    start_ns = time.monotonic_ns()
    watch_until(broker, lambda: not is_compacting(broker))
    seconds = (time.monotonic_ns() - start_ns) / 1e9
    time.sleep(WATCH_S)  # its last segment is put in place
    watch_until(broker, lambda: not is_tidying_up(broker, topic))
    return (start_ns, time.monotonic_ns()), seconds


def quiet_window(broker: Broker, length_ns: int) -> Window:
    """One with nobody beside the clients but this process, which watches the broker as it does in a pass."""
    start_ns = time.monotonic_ns()
    watch_until(broker, lambda: not is_compacting(broker) and time.monotonic_ns() >= start_ns + length_ns)
    return start_ns, time.monotonic_ns()


def growth(
    prefix: str, times: list[RecordTimes], wait: Wait, alone: list[Window], beside: list[Window]
) -> Metrics:
    """Medians of the windows' p99 of ``wait``; the spread is how far windows alone differ."""
    quiet_us = [p99_us(times, wait, window) for window in alone]
    busy_us = [p99_us(times, wait, window) for window in beside]
    usual_us, usual_busy_us = statistics.median(quiet_us), statistics.median(busy_us)
    return {
        f"alone_{prefix}p99_us": usual_us,
        f"{prefix}p99_us": usual_busy_us,
        f"{prefix}p99_growth": usual_busy_us / usual_us,
        f"alone_{prefix}p99_spread": max(quiet_us) / min(quiet_us),
    }


def p99_us(times: list[RecordTimes], wait: Wait, window: Window) -> float:
    """Of all records that were due in ``window``."""
    first_ns, last_ns = window
    waits_ns = sorted(wait(record) for record in times if first_ns <= record.due_ns < last_ns)
    return waits_ns[len(waits_ns) * 99 // 100] / 1e3


def is_compacting(broker: Broker) -> bool:
    return len(process_tree(broker.pid)) > 1


def is_tidying_up(broker: Broker, topic: str) -> bool:
    """Whether files of a pass are still to be put in place, or to be removed."""
    return any(name.endswith(UNFINISHED) for name in os.listdir(broker.data / f"{topic}-0"))


def watch_until(broker: Broker, is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_reached():
        if time.monotonic() > deadline:
            raise BrokerError(f"a pass of {broker.name} does not begin, or does not end")
        time.sleep(WATCH_S)
