"""The log against a model of it: a list of batches, and what was flushed."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from odradek.core.errors import ApiError
from odradek.records.batch import iterate_batches
from odradek.records.record import Record, read_records
from odradek.storage.config import LogConfig
from odradek.storage.gathering import NOT_GATHERED
from odradek.storage.log import Log
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock
from tests.support.disks import QuickDisk

from .conftest import NOW_MS, T0, append, batch, crash, make_log

CONFIG = LogConfig(segment_bytes=2048, index_interval_bytes=200, segment_ms=5000, retention_ms=-1)


class LogMachine(RuleBasedStateMachine):
    """``batches`` are lists of records as they are to be read; offsets are dense."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="odradek-model-"))
        self.now_ms = NOW_MS
        self.store = self._open()
        self.log: Log = make_log(self.store, CONFIG)
        self.batches: list[list[Record]] = []
        self.flushed = 0
        self.start = 0

    def teardown(self) -> None:
        crash(self.store)
        shutil.rmtree(self.folder)

    def _open(self) -> LogStore:
        clock = FakeClock(self.now_ms)
        return LogStore.open(str(self.folder), QuickDisk(), clock, Random(1), config_of=lambda _: CONFIG)

    @property
    def end(self) -> int:
        return self.batches[-1][-1].offset + 1 if self.batches else 0

    @property
    def records(self) -> list[Record]:
        return [record for records in self.batches for record in records]

    @rule(
        values=st.lists(st.binary(max_size=150), min_size=1, max_size=4),
        age_ms=st.integers(0, 3000),
        codec=st.sampled_from([0, 0, 0, 4]),
    )
    def append(self, values: list[bytes], age_ms: int, codec: int) -> None:
        timestamp = self.now_ms - age_ms
        result = append(self.log, *values, now_ms=self.now_ms, timestamp=timestamp, compression=codec)
        assert (result.base_offset, result.last_offset) == (self.end, self.end + len(values) - 1)
        first = self.end
        self.batches.append(
            [Record(first + number, timestamp, b"k", value) for number, value in enumerate(values)]
        )

    @rule(groups=st.lists(st.lists(st.binary(max_size=150), min_size=1, max_size=4), max_size=5))
    def gather(self, groups: list[list[bytes]]) -> None:
        """Several batches by one write; those that are not gathered are left out."""
        for values in groups:
            first = self.log.gathered_end_offset
            records = batch(*values, timestamp=self.now_ms)
            if self.log.gather(records, self.now_ms, 0) != NOT_GATHERED:
                self.batches.append(
                    [Record(first + number, self.now_ms, b"k", value) for number, value in enumerate(values)]
                )
        assert all(error is None for _, error in self.store.volume.write_gathered(self.now_ms))

    @rule(ms=st.integers(1, 3000))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @rule()
    def flush(self) -> None:
        self.store.flush(self.now_ms)
        self.flushed = self.end

    @rule()
    def roll(self) -> None:
        self.log.roll(self.now_ms)

    @rule(data=st.data(), max_bytes=st.integers(0, 3000))
    def read(self, data: st.DataObject, max_bytes: int) -> None:
        upper = data.draw(st.integers(self.start, self.end), "upper offset")
        offset = data.draw(st.integers(self.start, self.end), "offset")
        result = self.log.read(offset, max_bytes, upper)
        found: list[Record] = []
        for position, header in iterate_batches(result.records):
            found += read_records(result.records[position : position + header.size])
        expected = [records for records in self.batches if records[-1].offset >= offset]
        expected = [records for records in expected if records[-1].offset < upper]
        if offset >= upper or not expected:
            assert found == []
            return
        assert found
        count = 0
        while sum(len(records) for records in expected[:count]) < len(found):
            count += 1
        assert found == [record for records in expected[:count] for record in records]
        assert count == 1 or len(result.records) <= max_bytes
        assert result.first_offset == found[0].offset
        assert result.next_offset == found[-1].offset + 1

    @rule(data=st.data())
    def find_by_timestamp(self, data: st.DataObject) -> None:
        timestamp = data.draw(st.integers(NOW_MS - 4000, self.now_ms + 10))
        live = [record for record in self.records if record.offset >= self.start]
        expected = next((record for record in live if record.timestamp >= timestamp), None)
        found = self.log.find_offset_by_timestamp(timestamp, self.end)
        if expected is None:
            assert found is None
        else:
            assert found == (expected.timestamp, expected.offset, 0)

    @precondition(lambda self: self.flushed > self.start)
    @rule(data=st.data())
    def delete_records(self, data: st.DataObject) -> None:
        self.start = data.draw(st.integers(self.start + 1, self.flushed))
        self.log.advance_log_start(self.start)
        self.flush()

    @precondition(lambda self: self.end > self.start)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.batches)))
        offset = self.batches[number][0].offset if number < len(self.batches) else self.end
        if offset < self.start:
            return
        self.log.truncate_to(offset)
        del self.batches[number:]
        self.flushed = min(self.flushed, offset)

    @rule()
    def restart(self) -> None:
        self._restart(lambda: self.store.close(self.now_ms))
        assert self.store.was_clean

    @rule()
    def kill(self) -> None:
        self._restart(lambda: crash(self.store))

    def _restart(self, stop: Callable[[], None]) -> None:
        stop()
        self.store._lock = -1
        self.store = self._open()
        self.log = self.store.logs[T0]
        self.flushed = self.end

    @rule()
    def outside(self) -> None:
        for offset in (self.start - 1, self.end + 1):
            try:
                self.log.read(offset, 100, self.end)
            except ApiError:
                continue
            raise AssertionError(f"{offset} is outside")

    @invariant()
    def offsets_agree(self) -> None:
        assert self.log.offline is None
        assert self.log.log_end_offset == self.end
        assert self.log.flushed_offset == self.log.high_watermark == self.flushed
        assert self.log.log_start_offset == self.start


LogMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLogMachine = LogMachine.TestCase
