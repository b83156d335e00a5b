"""Producer snapshots: Kafka's bytes, and refusing what is not."""

import pytest

from odradek.storage.producers import KeptBatch, Producer
from odradek.storage.snapshots import SnapshotError, decode_snapshot, encode_snapshot


def producers() -> dict[int, Producer]:
    one, two = Producer(5, 1, 3, 77, 40), Producer(6)
    one.add(KeptBatch(9, 44, 2, 77))
    return {5: one, 6: two}


def test_round_trip() -> None:
    one, two = decode_snapshot(encode_snapshot(producers()))
    assert (one.producer_id, one.epoch, one.coordinator_epoch, one.transaction_start) == (5, 1, 3, 40)
    assert one.batches == [KeptBatch(9, 44, 2, 77)]
    assert (one.last_sequence, one.last_timestamp) == (9, 77)
    assert (two.producer_id, two.epoch, two.batches, two.last_sequence) == (6, -1, [], -1)


def test_the_layout() -> None:
    content = encode_snapshot(producers())
    assert len(content) == 10 + 2 * 46
    assert content[:2] == b"\0\1"
    assert content[6:10] == b"\0\0\0\2"


def test_every_change_is_noticed() -> None:
    content = encode_snapshot(producers())
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        with pytest.raises(SnapshotError):
            decode_snapshot(bytes(damaged))
        with pytest.raises(SnapshotError):
            decode_snapshot(content[:position])
