"""Commits that come together go into one batch; what becomes of one is not what becomes of another."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from odradek.broker.gathered import Gathered
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.offset_commit import OffsetCommitResponse
from odradek.records.batch import iterate_batches
from odradek.storage.log import Log

from .group_client import commit_request, committed, with_groups
from .harness import Harness, Pending


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = with_groups(Harness(tmp_path, offsets_topic_num_partitions="1"))
    assert harness.call(commit_request(1), 8)
    return harness


def offsets_log(harness: Harness) -> Log:
    return harness.broker.topics.by_name["__consumer_offsets"].partitions[0].log


def batch_sizes(log: Log, start: int) -> list[int]:
    """How many records each batch from ``start`` on has."""
    read = log.read(start, 1 << 20, log.log_end_offset)
    return [header.record_count for _, header in iterate_batches(memoryview(read.records))]


def send_together(harness: Harness, *offsets: int) -> list[Pending]:
    """What a connection does with requests that come with one read."""
    broker = harness.broker
    handle, broker.handle = broker.handle, broker.handle_gathering  # type: ignore[method-assign]
    try:
        return [harness.send(commit_request(offset), 8) for offset in offsets]
    finally:
        broker.handle = handle  # type: ignore[method-assign]


def code(pending: Pending) -> int:
    response = pending.response()
    assert isinstance(response, OffsetCommitResponse)
    return response.topics[0].partitions[0].error_code


def test_commits_that_come_together_are_one_batch(harness: Harness) -> None:
    log = offsets_log(harness)
    start = log.log_end_offset
    pending = send_together(harness, 5, 6, 7)
    assert log.log_end_offset == start
    assert harness.broker.gathered.is_pending
    harness.broker.gathered.write()
    assert not harness.broker.gathered.is_pending
    assert not any(each.is_answered for each in pending), "nothing is durable yet"
    harness.flush()
    assert [code(each) for each in pending] == [0, 0, 0]
    assert batch_sizes(log, start) == [3]
    assert committed(harness) == {"t-0": 7}
    harness.restart()
    assert committed(harness) == {"t-0": 7}


def test_anything_else_finds_them_written(harness: Harness) -> None:
    pending = send_together(harness, 8)
    assert committed(harness) == {"t-0": 8}
    assert code(pending[0]) == 0


def test_too_much_for_one_batch_is_written_one_by_one(harness: Harness) -> None:
    log = offsets_log(harness)
    start = log.log_end_offset
    log.config = replace(log.config, max_message_bytes=150)
    pending = send_together(harness, 5, 6)
    harness.broker.gathered.write()
    harness.flush()
    assert [code(each) for each in pending] == [0, 0]
    assert batch_sizes(log, start) == [1, 1]


def test_a_full_disk_refuses_each_of_them(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    log = offsets_log(harness)

    def full(fd: int, data: object, position: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log, "_pwrite", full)
    pending = send_together(harness, 5, 6)
    harness.broker.gathered.write()
    harness.flush()
    assert [code(each) for each in pending] == [ErrorCode.NOT_COORDINATOR] * 2
    monkeypatch.undo()
    assert committed(harness) == {"t-0": 1}


def test_a_fault_of_ours_is_answered_and_harms_no_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    end = offsets_log(harness).log_end_offset
    pending = send_together(harness, 5, 6)
    (independent,) = harness.broker.gathered._steps.values()

    def broken(base_offset: int) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(independent[0].step.write, "apply", broken)
    harness.broker.gathered.write()
    harness.flush()
    assert [code(each) for each in pending] == [ErrorCode.UNKNOWN_SERVER_ERROR, 0]
    assert "a step of __consumer_offsets-0 failed" in caplog.text
    assert committed(harness) == {"t-0": 6}
    known = harness.broker.groups.runner("g").shard.offsets.get("g", "t", 0)
    assert known is not None
    assert known.record_offset == end + 1


def test_with_nothing_gathered_nothing_is_written(harness: Harness) -> None:
    end = offsets_log(harness).log_end_offset
    Gathered(harness.broker).write()
    assert offsets_log(harness).log_end_offset == end
