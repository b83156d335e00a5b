"""Batches built here are what Kafka's clients would have sent."""

from hypothesis import given
from hypothesis import strategies as st

from odradek.records.batch import check_crc, read_header
from odradek.records.builder import build_batch, build_plain, seal_batch
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


CONTENT = st.binary(max_size=80) | st.integers(500, 9_000).map(bytes)


@given(
    records=st.lists(st.tuples(CONTENT, st.none() | CONTENT), min_size=1, max_size=80),
    timestamp_ms=st.integers(0, 1 << 62),
    producer_id=st.integers(-1, 1 << 62),
    transactional=st.booleans(),
)
def test_plain_batches_are_what_the_general_way_makes(
    records: list[tuple[bytes, bytes | None]], timestamp_ms: int, producer_id: int, transactional: bool
) -> None:
    expected = build_batch(
        [Record(0, timestamp_ms, key, value) for key, value in records],
        producer_id=producer_id,
        producer_epoch=3,
        transactional=transactional,
    )
    assert build_plain(records, timestamp_ms, producer_id, 3, transactional=transactional) == expected
