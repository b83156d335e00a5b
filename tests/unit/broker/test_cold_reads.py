"""A fetch of bytes that are not in memory waits by itself, and is answered as any other once they are."""

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from odradek.broker.cold_reads import LoadAtOnce, Loaded, attempt
from odradek.broker.requests import Wait
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.storage.cold import ColdRange
from tests.unit.broker.harness import Harness, batch
from tests.unit.broker.test_fetch import base_offsets, fetch, fill, partitions
from tests.unit.storage.test_cold import ForgetfulDisk

BATCHES = [batch(b"%02d" % number * 30_000) for number in range(60)]


class HeldLoader:
    """Keeps what it is asked for until the test says how it went."""

    def __init__(self, disk: ForgetfulDisk) -> None:
        self.disk = disk
        self.asked: list[tuple[Sequence[ColdRange], Loaded]] = []

    def load(self, ranges: Sequence[ColdRange], loaded: Loaded) -> None:
        self.asked.append((ranges, loaded))

    def finish(self, error: OSError | None = None) -> None:
        ranges, loaded = self.asked.pop(0)
        loaded([error or attempt(self.disk, each) for each in ranges])


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """Sealed segments of which nothing is in memory, in partition 0."""
    harness = Harness(tmp_path, ForgetfulDisk(), num_partitions="2", log_segment_bytes="1048576")
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    fill(harness, *BATCHES)
    log = harness.broker.topics.by_name["t"].partitions[0].log
    for segment in log.segments[:-1]:
        segment.close()
    log._places.clear()
    assert len(log.segments) > 1
    return harness


@pytest.fixture
def loader(harness: Harness) -> HeldLoader:
    disk = harness.disk
    assert isinstance(disk, ForgetfulDisk)
    harness.broker.loader = loader = HeldLoader(disk)
    return loader


def test_it_is_answered_when_everything_is_loaded(harness: Harness, loader: HeldLoader) -> None:
    pending = harness.send(fetch(0, each=250_000), 12)
    rounds = 0
    while loader.asked:
        assert not pending.is_answered
        rounds += 1
        loader.finish()
    assert rounds >= 2, "the index, then the bytes"
    (data,) = partitions(pending.response())
    assert base_offsets(data) == [0, 1, 2, 3]


def test_others_do_not_notice(harness: Harness, loader: HeldLoader) -> None:
    pending = harness.send(fetch(0), 12)
    end = len(BATCHES)
    (data,) = partitions(harness.call(fetch(end - 1), 12))
    assert base_offsets(data) == [end - 1]
    assert not pending.is_answered


def test_the_whole_log_can_be_read_so(harness: Harness) -> None:
    offset = 0
    while offset < len(BATCHES):
        (data,) = partitions(harness.call(fetch(offset, each=200_000), 12))
        assert base_offsets(data)[0] == offset
        offset = base_offsets(data)[-1] + 1


def test_the_same_request_over_again_waits_too(harness: Harness, loader: HeldLoader) -> None:
    """The short way for repeated fetches knows only what is in memory."""
    for _ in range(10):
        assert partitions(harness.call(fetch(len(BATCHES) - 1), 12))
    pending = harness.send(fetch(0), 12)
    assert not pending.is_answered
    assert loader.asked


def test_when_memory_is_short_it_is_answered_all_the_same(harness: Harness, loader: HeldLoader) -> None:
    loader.disk.reads_are_kept = False
    pending = harness.send(fetch(0), 12)
    for _ in range(10):
        if loader.asked:
            loader.finish()
    assert base_offsets(partitions(pending.response())[0])[0] == 0


def test_a_segment_that_is_gone_meanwhile(harness: Harness, loader: HeldLoader) -> None:
    pending = harness.send(fetch(0), 12)
    log = harness.broker.topics.by_name["t"].partitions[0].log
    log.advance_log_start(log.active.base_offset)
    log.delete_segments_before(log.log_start_offset)
    while loader.asked:
        loader.finish()
    assert partitions(pending.response())[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_disk_that_fails_takes_the_partition_offline(harness: Harness, loader: HeldLoader) -> None:
    pending = harness.send(fetch(0, 0), 12)
    loader.finish(OSError(errno.EIO, "I/O error", "some.log"))
    first, second = partitions(pending.response())
    assert first.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert second.error_code == ErrorCode.NONE


def test_it_parks_when_there_is_too_little(harness: Harness, loader: HeldLoader) -> None:
    pending = harness.send(fetch(0, min_bytes=50_000_000, max_wait_ms=500), 12)
    while loader.asked:
        loader.finish()
    assert not pending.is_answered
    harness.advance(501)
    assert base_offsets(partitions(pending.response())[0])[0] == 0


def test_nothing_is_done_for_a_connection_that_is_gone(harness: Harness, loader: HeldLoader) -> None:
    answer = harness.send(fetch(0), 12)._answer
    assert isinstance(answer, Wait)
    answer.abandon()
    loader.finish()
    assert not loader.asked


def test_without_a_server_it_is_loaded_at_once(harness: Harness) -> None:
    assert isinstance(harness.broker.loader, LoadAtOnce)
    assert harness.send(fetch(0), 12).is_answered
