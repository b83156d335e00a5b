"""Batches built here are what Kafka's clients would have sent."""

from odradek.records.batch import check_crc, read_header
from odradek.records.builder import build_batch, seal_batch
from odradek.records.record import Record


def test_known_bytes() -> None:
    """Laid out by hand from FORMAT.md: one record, key "k", value "v", timestamp 1; the CRC is left out."""
    expected = (
        "0000000000000000" "0000003a" "ffffffff" "02" "f19a56f6" "0000" "00000000" "0000000000000001"
        "0000000000000001" "ffffffffffffffff" "ffff" "ffffffff" "00000001" "10000000026b027600"
    )  # fmt: skip
    batch = build_batch([Record(0, 1, b"k", b"v")])
    assert batch.hex()[:34] == expected[:34]
    assert batch.hex()[42:] == expected[42:]


def test_an_empty_batch_can_be_built() -> None:
    header = read_header(build_batch([], 5))
    assert (header.record_count, header.last_offset) == (0, 5)


def test_sealing_after_a_change() -> None:
    batch = build_batch([Record(0, 1, b"k", b"v")])
    batch[30] ^= 1
    seal_batch(batch)
    check_crc(batch, 0, read_header(batch))
