"""Compaction against a simple model: the log as a list of records, and what must be left of it."""

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odradek.records.batch import BatchHeader, iterate_batches
from odradek.records.control import build_marker
from odradek.records.record import Record, read_records
from odradek.storage.config import LogConfig
from odradek.storage.log import COORDINATOR, Log
from odradek.storage.producers import Vouched
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock
from tests.support.disks import QuickDisk

from .compacting import clean
from .conftest import NOW_MS, T0, batch, crash, make_log

DAY_MS = 86_400_000
CONFIG = LogConfig(
    cleanup_policy=("compact",), segment_bytes=512, index_interval_bytes=100, delete_retention_ms=DAY_MS
)

keys = st.sampled_from([b"a", b"b", b"c", b"long key of more than sixteen bytes"])
records = st.lists(st.tuples(keys, st.none() | st.binary(min_size=1, max_size=40)), min_size=1, max_size=4)
plain = st.tuples(st.just("plain"), records, st.sampled_from([0, 0, 1, 2, 3, 4]))
idempotent = st.tuples(st.just("idempotent"), records, st.sampled_from([0, 4]))
transactional = st.tuples(
    st.just("transaction"), st.integers(0, 1), st.lists(records, max_size=3), st.booleans()
)
begun = st.tuples(st.just("begin"), st.integers(0, 1), records)
ended = st.tuples(st.just("end"), st.integers(0, 1), st.booleans())
rolled = st.tuples(st.just("roll"))
steps = st.lists(
    plain | plain | idempotent | transactional | begun | ended | rolled, min_size=12, max_size=50
)


class Writer:
    """Appends what Hypothesis drew, as a producer and two transactional producers would."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.sequences = {7: 0, 100: 0, 101: 0}
        self.open: set[int] = set()
        self.now_ms = NOW_MS

    def append(self, step: tuple) -> None:  # type: ignore[type-arg]
        self.now_ms += 1000
        match step:
            case ("plain", drawn, codec):
                self._data(drawn, compression=codec)
            case ("idempotent", drawn, codec):
                self._data(drawn, 7, compression=codec)
            case ("transaction", number, batches, commit):
                self._end(100 + number, True)
                for drawn in batches:
                    self._data(drawn, 100 + number, transactional=True)
                    self.open.add(100 + number)
                self._end(100 + number, commit)
            case ("begin", number, drawn):
                self._data(drawn, 100 + number, transactional=True)
                self.open.add(100 + number)
            case ("end", number, commit):
                self._end(100 + number, commit)
            case ("roll",):
                self.log.roll(self.now_ms)

    def _data(self, drawn: list[tuple[bytes, bytes | None]], producer_id: int = -1, **options: int) -> None:
        from odradek.records.builder import build_batch

        made = [Record(0, self.now_ms + number, key, value) for number, (key, value) in enumerate(drawn)]
        if producer_id >= 0:
            options |= {"producer_id": producer_id, "producer_epoch": 0}
            options["base_sequence"] = self.sequences[producer_id]
            self.sequences[producer_id] += len(drawn)
        data = memoryview(build_batch(made, **options))  # type: ignore[arg-type]
        self.log.append(data, self.now_ms, leader_epoch=0, vouched=Vouched.VERIFIED)

    def _end(self, producer_id: int, commit: bool) -> None:
        if producer_id in self.open:
            self.open.discard(producer_id)
            marker = memoryview(build_marker(producer_id, 0, commit, 0, self.now_ms))
            self.log.append(marker, self.now_ms, leader_epoch=0, origin=COORDINATOR)


def batches_of(log: Log) -> list[tuple[BatchHeader, list[Record]]]:
    """All batches of the log, read by offset as a consumer does."""
    found: list[tuple[BatchHeader, list[Record]]] = []
    offset = log.log_start_offset
    while True:
        result = log.read(offset, 4096, log.high_watermark)
        if not result.records:
            return found
        for position, header in iterate_batches(result.records):
            found.append((header, read_records(result.records[position : position + header.size])))
        assert result.next_offset > offset
        offset = result.next_offset


def committed_view(log: Log) -> list[Record]:
    """What a read_committed consumer gets, by Kafka's own rule: the list of aborted transactions."""
    stable = log.last_stable_offset
    aborted = sorted(log.aborted_transactions(log.log_start_offset, stable), key=lambda entry: entry[1])
    active: set[int] = set()
    view: list[Record] = []
    for header, found in batches_of(log):
        if header.base_offset >= stable:
            break
        while aborted and aborted[0][1] <= header.last_offset:
            active.add(aborted.pop(0)[0])
        if header.is_control:
            if found and found[0].key == b"\0\0\0\0":
                active.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in active):
            view += found
    return view


def latest(view: list[Record]) -> dict[bytes | None, bytes | None]:
    return {record.key: record.value for record in view}


def without_tombstones(view: list[Record]) -> dict[bytes | None, bytes | None]:
    return {key: value for key, value in latest(view).items() if value is not None}


def files(log: Log) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in Path(log.folder).iterdir()
        if path.suffix in (".log", ".txnindex") and path.stat().st_size
    }


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps, memory=st.sampled_from([1 << 20, 1 << 20, 500]))
def test_compaction_keeps_what_it_must(steps: list[tuple], memory: int) -> None:  # type: ignore[type-arg]
    folder = Path(tempfile.mkdtemp(prefix="odradek-compaction-"))
    store = LogStore.open(
        str(folder), QuickDisk(), FakeClock(NOW_MS), random.Random(1), config_of=lambda _: CONFIG
    )
    try:
        log = make_log(store, CONFIG)
        writer = Writer(log)
        for step in steps:
            writer.append(step)
        store.flush(writer.now_ms)
        store = _check(store, log, writer, folder, memory)
    finally:
        crash(store)
        shutil.rmtree(folder)


def _check(store: LogStore, log: Log, writer: Writer, folder: Path, memory: int) -> LogStore:
    now_ms = writer.now_ms
    before = committed_view(log)
    everything = {record.offset: record for _, found in batches_of(log) for record in found}
    offsets = (log.log_start_offset, log.log_end_offset, log.high_watermark, log.last_stable_offset)
    producers = {
        producer.producer_id: (producer.epoch, producer.last_sequence, producer.transaction_start)
        for producer in log.producers.by_id.values()
    }

    checkpoint = None
    result = clean(log, now_ms, checkpoint, memory)
    rounds = 0
    while result is not None and rounds < 60:
        assert checkpoint is None or result.next_dirty_offset > checkpoint, "each pass gets further"
        checkpoint = result.next_dirty_offset
        result = clean(log, now_ms, checkpoint, memory)
        rounds += 1
    after = committed_view(log)
    assert latest(after) == latest(before)
    assert {record.offset: record for record in after}.items() <= everything.items(), "offsets are kept"
    assert (
        log.log_start_offset, log.log_end_offset, log.high_watermark, log.last_stable_offset
    ) == offsets  # fmt: skip
    if checkpoint is not None and memory > 1000:
        clean_part = [record for record in after if record.offset < checkpoint]
        assert len({record.key for record in clean_part}) == len(clean_part), "one record for each key"
        for header, found in batches_of(log):
            if header.base_offset < checkpoint and header.is_transactional and not header.is_control:
                committed = {record.offset for record in before}
                assert all(record.offset in committed for record in found), "aborted records are gone"

    # further passes join segments that have shrunk, and then find nothing to do
    passes = 0
    previous: dict[str, bytes] = {}
    while files(log) != previous:
        previous = files(log)
        clean(log, now_ms, None)
        passes += 1
        assert passes < 8
    assert latest(committed_view(log)) == latest(before)

    # when the horizon has passed what deletes goes too, and what it deleted does not come back
    for number in range(3):
        clean(log, now_ms + (number + 1) * 2 * DAY_MS, None)
    gone = committed_view(log)
    assert without_tombstones(gone) == without_tombstones(before)

    # a crash, and all of it is read back: producers, transactions, records
    store.flush(now_ms)
    crash(store)
    store = LogStore.open(
        str(folder), QuickDisk(), FakeClock(NOW_MS), random.Random(1), config_of=lambda _: CONFIG
    )
    again = store.logs[T0]
    assert again.offline is None
    assert committed_view(again) == gone
    assert again.log_end_offset == offsets[1]
    known = {
        producer.producer_id: (producer.epoch, producer.last_sequence, producer.transaction_start)
        for producer in again.producers.by_id.values()
    }
    assert known == producers
    # and it goes on
    again.append(batch(b"v", key=b"new"), now_ms, leader_epoch=0)
    return store
