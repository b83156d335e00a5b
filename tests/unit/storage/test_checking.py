"""A transaction index that tells otherwise than the log is believed by nobody."""

import struct
from pathlib import Path

import pytest

from odradek.core.errors import ApiError, DamageError, ErrorCode
from odradek.records.control import build_marker
from odradek.storage.checking import transactions_of
from odradek.storage.config import LogConfig
from odradek.storage.log import COORDINATOR, Log
from odradek.storage.producers import Vouched

from .compacting import clean
from .conftest import NOW_MS, Opener, batch, make_log, values_of

CONFIG = LogConfig(
    cleanup_policy=("compact",),
    segment_bytes=1 << 20,
    index_interval_bytes=100,
    min_cleanable_dirty_ratio=0.01,
)
PRODUCER, OTHER = 7, 8


def transact(log: Log, producer_id: int, sequence: int, commit: bool, key: bytes) -> None:
    """A transaction of one record."""
    value = b"%d:%d" % (producer_id, sequence)
    data = batch(
        value, key=key, producer_id=producer_id, producer_epoch=0, base_sequence=sequence, transactional=True
    )
    log.append(data, NOW_MS, leader_epoch=0, vouched=Vouched.VERIFIED)
    marker = memoryview(build_marker(producer_id, 0, commit, 0, NOW_MS))
    log.append(marker, NOW_MS, leader_epoch=0, origin=COORDINATOR)


def flush(log: Log) -> None:
    while (ticket := log.volume.begin_flush(NOW_MS)) is not None:
        ticket.run()
        log.volume.finish_flush(ticket)


@pytest.fixture
def log(opener: Opener) -> Log:
    """One sealed segment: an aborted transaction at 0 and 1, a committed one at 2 and 3, and again."""
    log = make_log(opener(config=CONFIG), CONFIG)
    for number in range(2):
        transact(log, PRODUCER, number, False, b"a")
        transact(log, OTHER, number, True, b"b")
    log.roll(NOW_MS)
    flush(log)
    return log


def rewrite(log: Log, number: int, **fields: int) -> None:
    """Change one entry of the sealed segment's index, and have it forgotten."""
    segment = log.segments[0]
    path = Path(segment.path(".txnindex"))
    content = bytearray(path.read_bytes())
    names = ("version", "producer_id", "first_offset", "last_offset", "last_stable_offset")
    entry = dict(zip(names, struct.unpack_from(">hqqqq", content, 34 * number), strict=True))
    struct.pack_into(">hqqqq", content, 34 * number, *(entry | fields).values())
    path.write_bytes(content)
    segment.close()


def test_good_entries_are_looked_at_once(log: Log) -> None:
    log.segments[0].close()
    index = transactions_of(log.segments, 0)
    assert index.is_checked
    assert log.aborted_transactions(0, 8) == [(PRODUCER, 0), (PRODUCER, 4)]
    assert transactions_of(log.segments, 0) is index


@pytest.mark.parametrize(
    ("number", "fields", "why"),
    [
        (0, {"producer_id": OTHER}, "no marker of this producer"),
        (0, {"last_offset": 3}, "no marker of this producer"),
        (0, {"last_offset": 2}, "no marker of this producer"),
        (1, {"last_offset": 1000}, "another segment"),
        (1, {"first_offset": 5}, "no batch of this producer"),
        (1, {"first_offset": 2}, "no batch of this producer"),
        (1, {"first_offset": 0}, "stable already"),
    ],
)
def test_damage_is_served_to_nobody(log: Log, number: int, fields: dict[str, int], why: str) -> None:
    rewrite(log, number, **fields)
    with pytest.raises(ApiError) as caught:
        log.aborted_transactions(0, 8)
    assert caught.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert isinstance(log.offline, DamageError)
    assert why in log.offline.reason


@pytest.mark.parametrize(
    "fields", [{"producer_id": 9}, {"producer_id": OTHER}, {"first_offset": 6, "last_offset": 7}]
)
def test_compaction_takes_no_aborted_record_for_a_committed_one(log: Log, fields: dict[str, int]) -> None:
    rewrite(log, 1, **fields)
    with pytest.raises(DamageError, match="the transaction index takes for"):
        clean(log)


def test_a_transaction_aborted_long_ago_hides_nothing_of_its_producers_next(log: Log) -> None:
    assert clean(log) is not None
    dirty_from = log.log_end_offset
    for sequence in range(2, 5):
        transact(log, PRODUCER, sequence, True, b"a")
    log.roll(NOW_MS)
    flush(log)
    result = clean(log, checkpoint=dirty_from)
    assert result is not None
    assert result.keys == 1
    assert [value for value in values_of(log) if value and value.startswith(b"7:")] == [b"7:4"]
