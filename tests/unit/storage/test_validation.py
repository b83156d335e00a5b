"""Each fault of a produced batch gets the code that Kafka 4.3.0 was seen to give.

The table was checked against a broker of that version, record for record; what differs on purpose is named in
docs/decisions/0002-log.md.
"""

import struct
from collections.abc import Callable

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.records.batch import read_header
from odradek.records.builder import build_batch, seal_batch
from odradek.records.control import build_marker
from odradek.records.record import Record, read_records
from odradek.storage.config import LogConfig
from odradek.storage.log import COORDINATOR
from odradek.storage.store import LogStore
from odradek.storage.validation import RecordError, RecordsRefusedError

from .conftest import NOW_MS, make_log, read_all

PLAIN = LogConfig()
COMPACTED = LogConfig(cleanup_policy=("compact",))
STAMPED = LogConfig(message_timestamp_type="LogAppendTime")
BEFORE = LogConfig(message_timestamp_before_max_ms=1000)
NARROW = LogConfig(max_message_bytes=200)
UNCOMPRESSED = LogConfig(compression_type="uncompressed", max_message_bytes=200)
SHORT = LogConfig(segment_bytes=1 << 20, max_message_bytes=5_000_000)


def record(timestamp: int = NOW_MS, key: bytes | None = b"k", value: bytes = b"v") -> Record:
    return Record(0, timestamp, key, value)


def make(
    *records: Record, fields: tuple[tuple[int, str, int], ...] = (), sealed: bool = True, **options: int
) -> bytearray:
    """A batch with single header fields overwritten."""
    built = build_batch(records or (record(),), **options)  # type: ignore[arg-type]
    for position, kind, value in fields:
        struct.pack_into(kind, built, position, value)
    if sealed:
        seal_batch(built)
    return built


def unsealed(position: int, kind: str, value: int) -> bytearray:
    return make(fields=((position, kind, value),), sealed=False)


INVALID, CORRUPT = ErrorCode.INVALID_RECORD, ErrorCode.CORRUPT_MESSAGE
LARGE, TIMESTAMP = ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.INVALID_TIMESTAMP
LIST = ErrorCode.RECORD_LIST_TOO_LARGE
BIG = record(value=bytes(300))
CRC_7 = ((17, ">I", 7),)

REFUSED: dict[str, tuple[LogConfig, Callable[[], bytes | bytearray], ErrorCode]] = {
    "nothing": (PLAIN, lambda: b"", INVALID),
    "five bytes": (PLAIN, lambda: b"12345", INVALID),
    "a header's beginning": (PLAIN, lambda: make()[:16], INVALID),
    "one byte too few": (PLAIN, lambda: make()[:-1], INVALID),
    "length 13": (PLAIN, lambda: unsealed(8, ">i", 13), CORRUPT),
    "length -1": (PLAIN, lambda: unsealed(8, ">i", -1), CORRUPT),
    "length below the header's": (PLAIN, lambda: unsealed(8, ">i", 48), CORRUPT),
    "length of an empty batch": (PLAIN, lambda: unsealed(8, ">i", 49), CORRUPT),
    "length of a gigabyte": (PLAIN, lambda: unsealed(8, ">i", 10**9), INVALID),
    "zeros behind": (PLAIN, lambda: make() + bytes(30), CORRUPT),
    "two batches": (PLAIN, lambda: make() + make(), INVALID),
    "magic 0": (PLAIN, lambda: unsealed(16, ">b", 0), INVALID),
    "magic 1": (PLAIN, lambda: unsealed(16, ">b", 1), INVALID),
    "magic 3": (PLAIN, lambda: unsealed(16, ">b", 3), CORRUPT),
    "magic -1": (PLAIN, lambda: unsealed(16, ">b", -1), CORRUPT),
    "wrong CRC": (PLAIN, lambda: unsealed(17, ">I", 7), CORRUPT),
    "base offset 5": (PLAIN, lambda: make(fields=((0, ">q", 5),)), INVALID),
    "count 0": (PLAIN, lambda: make(fields=((57, ">i", 0),)), INVALID),
    "count -1": (PLAIN, lambda: make(fields=((57, ">i", -1),)), INVALID),
    "count above the offsets": (PLAIN, lambda: make(fields=((57, ">i", 2),)), INVALID),
    "last offset delta -1": (PLAIN, lambda: make(fields=((23, ">i", -1),)), INVALID),
    "count 0 and delta -1": (PLAIN, lambda: make(fields=((57, ">i", 0), (23, ">i", -1))), INVALID),
    "a marker": (PLAIN, lambda: build_marker(5, 0, True, 0, NOW_MS), INVALID),
    "a control batch": (PLAIN, lambda: make(control=True), INVALID),
    "an id without a sequence": (PLAIN, lambda: make(producer_id=9, producer_epoch=0), INVALID),
    "from the future": (PLAIN, lambda: make(record(), record(NOW_MS + 3_600_001)), TIMESTAMP),
    "no timestamp, but stamped": (PLAIN, lambda: make(timestamp_type=1), TIMESTAMP),
    "stamped by the producer": (STAMPED, lambda: make(timestamp_type=1, log_append_time=NOW_MS), TIMESTAMP),
    "from the past": (BEFORE, lambda: make(record(NOW_MS - 1001), record()), TIMESTAMP),
    "from the past, in the middle": (BEFORE, lambda: make(record(), record(5), record()), TIMESTAMP),
    "no key": (COMPACTED, lambda: make(record(), record(key=None)), INVALID),
    "no key and from the future": (COMPACTED, lambda: make(record(key=None), record(NOW_MS * 2)), TIMESTAMP),
    "records that do not fill the batch": (COMPACTED, lambda: make(fields=((61, ">b", 0),)), INVALID),
    "garbage for gzip": (COMPACTED, lambda: make(fields=((21, ">h", 1),)), INVALID),
    "too large": (NARROW, lambda: make(BIG), LARGE),
    "too large and corrupt": (NARROW, lambda: make(BIG, fields=CRC_7, sealed=False), LARGE),
    "too large once uncompressed": (UNCOMPRESSED, lambda: make(BIG, compression=1), LARGE),
    "larger than a segment": (SHORT, lambda: make(record(value=bytes(1 << 20))), LIST),
}  # fmt: skip

ACCEPTED: dict[str, tuple[LogConfig, Callable[[], bytes | bytearray]]] = {
    "plain": (PLAIN, make),
    "five bytes behind": (PLAIN, lambda: make() + bytes(5)),
    "half a batch behind": (PLAIN, lambda: make() + make()[:40]),
    "unknown attribute bits": (PLAIN, lambda: make(fields=((21, ">h", 0x1280),))),
    "delete horizon bit": (PLAIN, lambda: make(fields=((21, ">h", 0x40),))),
    "no timestamp": (PLAIN, lambda: make(record(-1))),
    "timestamp 0": (PLAIN, lambda: make(record(0))),
    "just not too far in the future": (PLAIN, lambda: make(record(NOW_MS + 3_600_000))),
    "just not too far in the past": (BEFORE, lambda: make(record(NOW_MS - 1000))),
    "no timestamp where the past is refused": (BEFORE, lambda: make(record(-1))),
    "from the future where it does not matter": (STAMPED, lambda: make(record(NOW_MS * 2))),
    "stamped by the producer, in time": (PLAIN, lambda: make(timestamp_type=1, log_append_time=NOW_MS)),
    "negative producer id": (PLAIN, lambda: make(producer_id=-5, base_sequence=0)),
    "producer epoch -1": (PLAIN, lambda: make(producer_id=9, base_sequence=0)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, store: LogStore) -> None:
    config, produced, code = REFUSED[name]
    log = make_log(store, config)
    with pytest.raises(ApiError) as caught:
        log.append(memoryview(bytearray(produced())), NOW_MS, leader_epoch=0)
    assert caught.value.code == code
    assert log.log_end_offset == 0
    assert log.size == 0


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str, store: LogStore) -> None:
    config, produced = ACCEPTED[name]
    log = make_log(store, config)
    assert log.append(memoryview(bytearray(produced())), NOW_MS, leader_epoch=0).base_offset == 0
    store.flush(NOW_MS)
    assert len(read_all(log)) == 1


def test_single_records_are_named(store: LogStore) -> None:
    log = make_log(store, COMPACTED)
    records = [record(), record(key=None), record(), record(key=None)]
    with pytest.raises(RecordsRefusedError) as caught:
        log.append(memoryview(make(*records)), NOW_MS, leader_epoch=0)
    message = "Compacted topic cannot accept message without key in topic partition t-0"
    assert caught.value.record_errors == [RecordError(1, message), RecordError(3, message)]
    assert "2 record errors" in str(caught.value)


def test_a_max_timestamp_that_lies_ahead_of_the_records_is_put_right(store: LogStore) -> None:
    log = make_log(store, PLAIN)
    lying = make(fields=((35, ">q", NOW_MS * 2),))
    log.append(memoryview(lying), NOW_MS, leader_epoch=0)
    assert read_header(lying).max_timestamp == NOW_MS
    store.flush(NOW_MS)
    assert [found.timestamp for found in read_all(log)] == [NOW_MS]


@pytest.mark.parametrize("target", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("source", range(5))
def test_recompression(store: LogStore, source: int, target: str) -> None:
    log = make_log(store, LogConfig(compression_type=target))
    records = [Record(0, NOW_MS + number, b"k", b"value" * 100, (("h", b"x"),)) for number in range(5)]
    produced = build_batch(records, 0, 7, 0, 0, source)
    assert log.append(memoryview(produced), NOW_MS, leader_epoch=3).last_offset == 4
    store.flush(NOW_MS)
    (kept,) = [log.read(0, 1 << 20, 5).records]
    header = read_header(kept)
    assert header.compression == ["uncompressed", "gzip", "snappy", "lz4", "zstd"].index(target)
    assert (header.producer_id, header.base_sequence, header.partition_leader_epoch) == (7, 0, 3)
    assert read_records(kept) == [found._replace(offset=number) for number, found in enumerate(records)]
    if header.compression == source:
        assert bytes(kept) == bytes(produced)


def test_a_bomb_is_refused_where_it_would_be_opened(store: LogStore) -> None:
    log = make_log(store, LogConfig(compression_type="uncompressed", max_message_bytes=1 << 30))
    bomb = make(fields=((21, ">h", 4),))
    bomb[61:] = build_batch([record(value=bytes(200 << 20))], compression=4)[61:]
    bomb[8:12] = (len(bomb) - 12).to_bytes(4, "big")
    seal_batch(bomb)
    with pytest.raises(ApiError, match="decompresses to more than") as caught:
        log.append(memoryview(bomb), NOW_MS, leader_epoch=0)
    assert caught.value.code == INVALID


def test_coordinators_are_not_bound_by_the_rules_for_clients(store: LogStore) -> None:
    log = make_log(store, PLAIN)
    records = make(fields=((0, ">q", 5),))
    assert log.append(memoryview(records), NOW_MS, leader_epoch=0, origin=COORDINATOR).base_offset == 0
