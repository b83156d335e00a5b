"""Idempotence: duplicates, order, epochs, wrap-around, expiry, and that restarts change nothing."""

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.records.control import build_marker
from odradek.storage.log import COORDINATOR, Log
from odradek.storage.producers import Producers, Vouched
from odradek.storage.store import LogStore

from .conftest import NOW_MS, T0, Opener, append, batch, crash

LAST = 2**31 - 1


def produce(
    log: Log, sequence: int, count: int = 1, epoch: int = 0, producer_id: int = 7
) -> tuple[int, bool]:
    """Base offset, and whether the batch was there already."""
    values = [b"%d" % (sequence + number) for number in range(count)]
    result = append(log, *values, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
    return result.base_offset, result.duplicate


def refused(log: Log, sequence: int, count: int = 1, epoch: int = 0) -> ErrorCode:
    end_offset = log.log_end_offset
    with pytest.raises(ApiError) as caught:
        produce(log, sequence, count, epoch)
    assert log.log_end_offset == end_offset
    return caught.value.code


def restarted(opener: Opener, store: LogStore, *, cleanly: bool) -> tuple[LogStore, Log]:
    if cleanly:
        store.close(NOW_MS)
        store._lock = -1
    else:
        crash(store)
    again = opener()
    assert again.was_clean == cleanly
    return again, again.logs[T0]


def test_the_last_five_batches_are_recognized(log: Log) -> None:
    for sequence in range(6):
        assert produce(log, sequence) == (sequence, False)
    for sequence in range(1, 6):
        assert produce(log, sequence) == (sequence, True)
    assert refused(log, 0) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(log, 6) == (6, False)


def test_a_duplicate_is_answered_with_what_was_written(log: Log) -> None:
    first = append(log, b"a", b"b", timestamp=123, producer_id=7, producer_epoch=0, base_sequence=0)
    again = append(log, b"a", b"b", timestamp=123, producer_id=7, producer_epoch=0, base_sequence=0)
    assert again == first._replace(log_append_time_ms=123, duplicate=True)


def test_only_the_very_same_range_is_a_duplicate(log: Log) -> None:
    produce(log, 0, 3)
    assert refused(log, 0, 2) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refused(log, 1, 2) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refused(log, 4) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(log, 3) == (3, False)


def test_an_unknown_producer_may_start_anywhere(log: Log) -> None:
    assert produce(log, 41) == (0, False)
    assert refused(log, 43) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_a_new_epoch_starts_at_zero_and_fences_the_old(log: Log) -> None:
    produce(log, 0, 5)
    assert refused(log, 5, epoch=1) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(log, 0, epoch=1) == (5, False)
    assert refused(log, 5, epoch=0) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert refused(log, 0, 5, epoch=0) == ErrorCode.INVALID_PRODUCER_EPOCH


def test_sequences_wrap(log: Log) -> None:
    assert produce(log, LAST - 1, 2) == (0, False)
    assert produce(log, 0, 2) == (2, False)
    assert append(log, *[b"v"] * 4, producer_id=8, producer_epoch=0, base_sequence=LAST - 1).base_offset == 4
    assert append(log, b"v", producer_id=8, producer_epoch=0, base_sequence=2).base_offset == 8
    assert append(log, *[b"v"] * 4, producer_id=8, producer_epoch=0, base_sequence=LAST - 1).duplicate


@pytest.mark.parametrize("cleanly", [True, False])
def test_a_restart_changes_nothing(opener: Opener, store: LogStore, log: Log, cleanly: bool) -> None:
    for sequence in range(60):
        produce(log, sequence)
        produce(log, sequence * 2, 2, producer_id=8)
    assert len(log.segments) > 1
    store.flush(NOW_MS)
    store, log = restarted(opener, store, cleanly=cleanly)
    assert produce(log, 59) == (59 * 3, True)
    assert produce(log, 118, 2, producer_id=8) == (59 * 3 + 1, True)
    assert refused(log, 61) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(log, 60) == (180, False)


def test_after_a_crash_all_five_batches_are_known_again(opener: Opener, store: LogStore, log: Log) -> None:
    for sequence in range(6):
        produce(log, sequence)
    _, log = restarted(opener, store, cleanly=False)
    assert [produce(log, sequence) for sequence in range(1, 6)] == [
        (sequence, True) for sequence in range(1, 6)
    ]


@pytest.mark.parametrize("cleanly", [True, False])
def test_a_bad_snapshot_is_made_up_for_by_the_log(
    opener: Opener, store: LogStore, log: Log, cleanly: bool
) -> None:
    for sequence in range(60):
        produce(log, sequence)
    if cleanly:
        store.close(NOW_MS)
        store._lock = -1
    else:
        crash(store)
    for offset in log.snapshots:
        with open(f"{log.folder}/{offset:020d}.snapshot", "r+b") as file:
            file.seek(12)
            file.write(b"!")
    log = opener().logs[T0]
    assert produce(log, 59) == (59, True)
    assert produce(log, 60) == (60, False)


def test_quiet_producers_are_forgotten(log: Log, store: LogStore) -> None:
    produce(log, 5)
    store.volume.producer_expiration_ms = 1000
    assert store.expire_producers(NOW_MS + 999) == 0
    assert store.expire_producers(NOW_MS + 1000) == 1
    assert produce(log, 77) == (1, False)


def test_a_producer_of_old_records_is_not_forgotten_while_it_writes(log: Log, store: LogStore) -> None:
    store.volume.producer_expiration_ms = 1000
    append(log, b"a", timestamp=5, producer_id=7, producer_epoch=0, base_sequence=0)
    assert store.expire_producers(NOW_MS + 999) == 0
    assert append(log, b"a", timestamp=5, producer_id=7, producer_epoch=0, base_sequence=0).duplicate


# Transactions: the state is kept and rebuilt; who may write is decided by the transaction coordinator.


def write(log: Log, producer_id: int, sequence: int, epoch: int = 0) -> int:
    records = batch(
        b"t", producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, transactional=True
    )
    return log.append(records, NOW_MS, leader_epoch=0, vouched=Vouched.VERIFIED).base_offset


def end(log: Log, producer_id: int, *, commit: bool, epoch: int = 0, coordinator_epoch: int = 0) -> int:
    marker = build_marker(producer_id, epoch, commit, coordinator_epoch, NOW_MS)
    return log.append(memoryview(marker), NOW_MS, leader_epoch=0, origin=COORDINATOR).base_offset


def test_the_last_stable_offset_waits_for_the_oldest_transaction(log: Log, store: LogStore) -> None:
    assert write(log, 1, 0) == 0
    assert write(log, 2, 0) == 1
    append(log, b"plain")
    store.flush(NOW_MS)
    assert (log.high_watermark, log.last_stable_offset) == (3, 0)
    end(log, 1, commit=True)
    assert log.last_stable_offset == 0, "the marker is not committed yet"
    store.flush(NOW_MS)
    assert log.last_stable_offset == 1
    end(log, 2, commit=False)
    store.flush(NOW_MS)
    assert log.last_stable_offset == log.high_watermark == 5
    assert log.aborted_transactions(0, 5) == [(2, 1)]
    assert log.aborted_transactions(0, 1) == []
    assert log.aborted_transactions(5, 9) == []


@pytest.mark.parametrize("cleanly", [True, False])
def test_transactions_survive_a_restart(opener: Opener, store: LogStore, log: Log, cleanly: bool) -> None:
    for number in range(80):
        write(log, 1, number)
        write(log, 2, number)
        if number % 5 == 4:
            end(log, 1, commit=number % 2 == 0)
        if number % 8 == 7:
            end(log, 2, commit=False)
    store.flush(NOW_MS)
    assert len(log.segments) > 2
    expected = (log.last_stable_offset, log.aborted_transactions(0, 1000), log.producers.open)
    store, log = restarted(opener, store, cleanly=cleanly)
    assert (log.last_stable_offset, log.aborted_transactions(0, 1000), log.producers.open) == expected
    write(log, 1, 80)
    end(log, 1, commit=False)
    store.flush(NOW_MS)
    assert len(log.aborted_transactions(0, 1000)) == len(expected[1]) + 1


@pytest.mark.parametrize("cleanly", [True, False])
def test_whom_a_marker_of_its_own_epoch_has_ended(
    opener: Opener, store: LogStore, log: Log, cleanly: bool
) -> None:
    write(log, 1, 0, epoch=3)
    write(log, 2, 0, epoch=3)
    write(log, 3, 0, epoch=3)
    end(log, 1, commit=True, epoch=4)
    end(log, 2, commit=True, epoch=3)
    end(log, 4, commit=False, epoch=1)
    assert list(log.producers.ended_ones()) == [(1, 4), (4, 1)]
    store.flush(NOW_MS)
    store, log = restarted(opener, store, cleanly=cleanly)
    assert sorted(log.producers.ended_ones()) == [(1, 4), (4, 1)]
    write(log, 1, 0, epoch=4)
    assert list(log.producers.ended_ones()) == [(4, 1)]


def test_what_is_fenced(log: Log) -> None:
    write(log, 1, 0, epoch=3)
    with pytest.raises(ApiError) as caught:
        end(log, 1, commit=True, epoch=2)
    assert caught.value.code == ErrorCode.INVALID_PRODUCER_EPOCH
    end(log, 1, commit=True, epoch=3, coordinator_epoch=5)
    with pytest.raises(ApiError) as caught:
        end(log, 1, commit=True, epoch=3, coordinator_epoch=4)
    assert caught.value.code == ErrorCode.TRANSACTION_COORDINATOR_FENCED


def test_plain_writes_inside_a_transaction_and_transactional_ones_outside(log: Log) -> None:
    write(log, 1, 0)
    with pytest.raises(ApiError) as caught:
        produce(log, 1, producer_id=1)
    assert caught.value.code == ErrorCode.INVALID_TXN_STATE
    records = batch(b"t", producer_id=2, producer_epoch=0, base_sequence=0, transactional=True)
    for vouched, code in (
        (Vouched.NOTHING, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (Vouched.ONGOING, ErrorCode.INVALID_TXN_STATE),
    ):
        with pytest.raises(ApiError) as caught:
            log.append(records, NOW_MS, leader_epoch=0, vouched=vouched)
        assert caught.value.code == code
    log.append(
        batch(b"t", producer_id=1, producer_epoch=0, base_sequence=1, transactional=True),
        NOW_MS,
        leader_epoch=0,
        vouched=Vouched.ONGOING,
    )


def test_an_open_transaction_vouches_for_its_own_epoch_only(log: Log) -> None:
    write(log, 1, 0, epoch=3)
    records = batch(b"t", producer_id=1, producer_epoch=4, base_sequence=0, transactional=True)
    with pytest.raises(ApiError) as caught:
        log.append(records, NOW_MS, leader_epoch=0, vouched=Vouched.ONGOING)
    assert caught.value.code == ErrorCode.INVALID_TXN_STATE


def test_a_producer_that_nobody_knows_begins_with_sequence_0_when_it_adds_partitions(log: Log) -> None:
    records = batch(b"t", producer_id=1, producer_epoch=0, base_sequence=3, transactional=True)
    with pytest.raises(ApiError) as caught:
        log.append(records, NOW_MS, leader_epoch=0, vouched=Vouched.ADDED)
    assert caught.value.code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    log.append(records, NOW_MS, leader_epoch=0, vouched=Vouched.VERIFIED)


def test_from_version_2_on_a_marker_has_an_epoch_above_that_of_the_records(log: Log) -> None:
    write(log, 1, 0, epoch=3)
    with pytest.raises(ApiError) as caught:
        log.producers.check_end(1, 3, 2)
    assert caught.value.code == ErrorCode.INVALID_PRODUCER_EPOCH
    log.producers.check_end(1, 3, 1)
    log.producers.check_end(1, 4, 2)
    end(log, 1, commit=True, epoch=4)
    log.producers.check_end(1, 4, 2)
    log.producers.check_end(99, 0, 2)


def test_a_control_batch_without_a_marker(log: Log) -> None:
    records = batch(b"v", producer_id=1, producer_epoch=0, transactional=True, control=True)
    with pytest.raises(ApiError) as caught:
        log.append(records, NOW_MS, leader_epoch=0, origin=COORDINATOR)
    assert caught.value.code == ErrorCode.INVALID_RECORD


def test_nothing_is_unstable_in_an_empty_state() -> None:
    assert Producers(T0).first_unstable_offset(10) is None
